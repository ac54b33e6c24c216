# law:  An index outside [0, num_embeddings) is refused and nothing is written.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1,), stray='V')
# got:  accepted, expected IndexError or RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([1]))


def handed(around):
    """Each call is ``around(function, table, given)`` with ``function(table, *given)``."""

    def built(weight, **flags):
        leaf, call = functional(weight, **flags)

        def function(table, *given):
            if not isinstance(call, torch.nn.Module):
                return functional(table, **flags)[1](*given)
            ((name, _),) = call.named_parameters()
            return torch.func.functional_call(call, {name: table}, given)  # type: ignore[no-any-return]

        return leaf, lambda *given: around(function, leaf, given)

    return built


def vmap_tables_and_indices(**arguments):
    """torch.vmap over a stack of three tables and one of indices: NaN around the table, zeros around its indices."""

    def around(function, table, given):
        other, zero = torch.full_like(table, float("nan")), torch.zeros_like(given[0])
        tables, indices = torch.stack((other, table, other)), torch.stack((zero, given[0], zero))
        return torch.vmap(function)(tables, indices)[1].contiguous()

    return forward(build=handed(around), **arguments)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def fresh(leaf, call, indices):
    pass


def forward(build, history, weight, indices, flags, requires_grad):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_(requires_grad)
    held = history(leaf, call, indices)
    value = call(indices)
    return {"held": held is None or held()}


try:
    seen = vmap_tables_and_indices(weight=weight, indices=indices, history=fresh, flags={}, requires_grad=True)
except (IndexError, RuntimeError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected IndexError or RuntimeError")
sys.exit(1)
