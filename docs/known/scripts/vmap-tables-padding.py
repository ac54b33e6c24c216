# law:  dW = one_hot(i)ᵀ dY: each row's gradient is the sum of its tokens' upstream gradients.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1,), padding_idx=0)
# got:  dW[0], the padding row, = [-665.], expected [0.]: as if the gradient of token 0 had arrived once, not
# never
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

    return backward(build=handed(around), **arguments)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


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


def backward_call(leaf, call, indices, upstream, rebuild):
    value = call(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


seen = vmap_tables_and_indices(weight=weight, indices=indices, upstream=upstream, history=fresh, route=backward_call, flags={'padding_idx': 0})
got, expected, wrong = seen["weight_grad"][0, 0], 0.0, -665.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
