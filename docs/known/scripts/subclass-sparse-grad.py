# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1,), sparse=True, route='autograd_grad')
# got:  raised NotImplementedError: Cannot access storage of SparseTensorImpl
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[-665]]))


class Plain(torch.Tensor):
    """A subclass that changes nothing: every function passes through the default __torch_function__."""


def subclass(**arguments):
    """The table is a subclass of Tensor with the default __torch_function__; the result is made plain again."""

    def built(weight, **flags):
        learns = weight.is_leaf and weight.requires_grad
        table = weight.detach().as_subclass(Plain).requires_grad_() if learns else weight.as_subclass(Plain)
        leaf, call = functional(table, **flags)

        def plain(*given):
            found = call(*given)
            if isinstance(leaf, Plain) and not isinstance(found, Plain):
                raise AssertionError(f"a call with a table of a subclass gives a {type(found).__name__}")
            return found.as_subclass(torch.Tensor)

        return leaf, plain

    return backward(build=built, **arguments)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def fresh(leaf, call, indices):
    pass


def autograd_grad(leaf, call, indices, upstream, rebuild):
    value = call(indices)
    (grad,) = torch.autograd.grad(value, leaf, upstream)
    own = grad.is_sparse or grad.numel() == 0 or grad.data_ptr() != upstream.data_ptr()
    return {"value": value, "weight_grad": grad, "grad_left_alone": leaf.grad is None, "separate": own}


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


try:
    seen = subclass(weight=weight, indices=indices, upstream=upstream, history=fresh, route=autograd_grad, flags={'sparse': True})
except Exception as error:
    if type(error).__name__ != 'NotImplementedError' or 'Cannot access storage of SparseTensorImpl' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
