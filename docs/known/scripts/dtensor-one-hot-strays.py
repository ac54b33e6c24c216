# law:  An index outside [0, num_embeddings) is refused and nothing is written.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1,), stray='V', entry='linear')
# got:  accepted, expected IndexError or RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.distributed.device_mesh

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([1]))


def alone():
    """The process group of this one process, made once."""
    if not torch.distributed.is_initialized():
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)


def handed(around):
    """Each call is ``around(function, table, given)`` with ``function(table, *given)``."""

    def built(weight, **flags):
        leaf, call = linear(weight, **flags)

        def function(table, *given):
            if not isinstance(call, torch.nn.Module):
                return linear(table, **flags)[1](*given)
            ((name, _),) = call.named_parameters()
            return torch.func.functional_call(call, {name: table}, given)  # type: ignore[no-any-return]

        return leaf, lambda *given: around(function, leaf, given)

    return built

Tensor = torch.Tensor

def placed(build, placement, *axis):
    """The table is a distributed tensor on a mesh of one process; the result is taken together."""
    from torch.distributed import tensor as distributed

    alone()
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    place = getattr(distributed, placement)(*axis)

    def around(function, table, given):
        spread = distributed.DTensor.from_local(table, mesh, [place])
        copies = [
            distributed.DTensor.from_local(g, mesh, [distributed.Replicate()]) if isinstance(g, Tensor) else g
            for g in given
        ]
        return function(spread, *copies).full_tensor()  # type: ignore[attr-defined, no-any-return]

    return handed(around)


def dtensor_replicate(**arguments):
    """The table is a DTensor on one process, Replicate()."""
    return forward(build=placed(linear, "Replicate"), **arguments)


def linear(weight):
    one_hot = torch.nn.functional.one_hot
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.linear(one_hot(indices.long(), rows).to(weight.dtype), weight.T)


def fresh(leaf, call, indices):
    pass


def forward(build, history, weight, indices, flags, requires_grad):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_(requires_grad)
    held = history(leaf, call, indices)
    value = call(indices)
    return {"held": held is None or held()}


try:
    seen = dtensor_replicate(weight=weight, indices=indices, history=fresh, flags={}, requires_grad=True)
except (IndexError, RuntimeError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected IndexError or RuntimeError")
sys.exit(1)
