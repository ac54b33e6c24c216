# law:  However autograd is driven, each row's gradient is the sum of its tokens' upstream gradients.
# case: Case(num_embeddings=1, embedding_dim=2, shape=(), route='checkpointed_with_one_twice')
# got:  -499 -665, expected -665 -499 (2 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.utils.checkpoint

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan).as_strided((1, 2), (2, 1), 8).copy_(torch.tensor([[1, -2]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).copy_(torch.tensor([-665, -499]))


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def layer_of(call):
    """The module that is called, or a module around a function that is."""
    if isinstance(call, torch.nn.Module):
        return call
    layer = torch.nn.Module()
    layer.forward = call
    return layer


def segmented(leaf, call, indices, upstream):
    """A chain in two parts, of which the first is computed again: the lookup, twice reversed, by one module or by two."""
    calls = []

    def counted(tokens):
        calls.append(1)
        return call(tokens)

    class Reversed(torch.nn.Module):
        def forward(self, rows):
            return rows.flip(-1)

    back = Reversed()
    chain = torch.nn.Sequential(layer_of(counted), back, back, torch.nn.Identity())
    value = torch.utils.checkpoint.checkpoint_sequential(chain, 2, indices, use_reentrant=False)
    value.backward(upstream)
    return {"weight_grad": leaf.grad}


def checkpointed_with_one_twice(leaf, call, indices, upstream):
    return segmented(leaf, call, indices, upstream)


def backward(weight, indices, upstream, flags):
    leaf, call = functional(weight, **flags)
    leaf.requires_grad_()
    leaf.grad = None

    seen = checkpointed_with_one_twice(leaf, call, indices, upstream)
    return seen


seen = backward(weight=weight, indices=indices, upstream=upstream, flags={})
got, expected, wrong = seen["weight_grad"][0, 0], -665.0, -499.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
