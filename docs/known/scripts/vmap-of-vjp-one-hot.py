# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1,), entry='linear', route='batched')
# got:  raised RuntimeError: vmap: It looks like you're either (1) calling .item() on a Tensor or (2) attempting
# to use a Tensor in some data-dependent control flow or (3) encountering this
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[-665]]))


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


def jvp(**arguments):
    """The primal output of torch.func.jvp by the table."""

    def around(function, table, given):
        return torch.func.jvp(lambda one: function(one, *given), (table,), (torch.ones_like(table),))[0]  # type: ignore[no-any-return]

    return backward(build=handed(around), **arguments)


def linear(weight):
    one_hot = torch.nn.functional.one_hot
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.linear(one_hot(indices.long(), rows).to(weight.dtype), weight.T)


def fresh(leaf, call, indices):
    pass


def backward(build, history, route, weight, indices, upstream, flags):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_()
    held = history(leaf, call, indices)
    leaf.grad = None

    def rebuild(table):
        # A layer that is built draws its first weights, which is not the lookup's doing.
        drawn = torch.get_rng_state()
        again = build(table, **flags)[1]
        torch.set_rng_state(drawn)
        return again

    seen = route(leaf, call, indices, upstream, rebuild)
    return {"held": held is None or held(), **seen}


def batched(leaf, call, indices, upstream, rebuild):
    value = torch.vmap(call)(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


try:
    seen = jvp(weight=weight, indices=indices, upstream=upstream, history=fresh, route=batched, flags={})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or "It looks like you're either (1) calling .item() on a Tensor or (2) attempting to" not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
