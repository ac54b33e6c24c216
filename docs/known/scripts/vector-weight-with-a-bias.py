# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: AffineCase(outputs=1, bias=True, call='vector')
# got:  raised RuntimeError: mat2 must be a matrix, got 1-D tensor
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
x = torch.full((22,), torch.nan).as_strided((2, 3), (3, 1), 8).copy_(torch.tensor([[-1, -1, -3], [2, 3, -1]]))
weight = torch.full((19,), torch.nan).as_strided((1, 3), (3, 1), 8).copy_(torch.tensor([[-1, 3, 1]]))
upstream = torch.full((18,), torch.nan).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[2], [3]]))
bias = torch.full((17,), torch.nan).as_strided((1,), (1,), 8).copy_(torch.tensor([-2]))


def plain(weight, bias):
    return torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=weight.dtype)


def vector(x, weight, bias):
    """A weight without an axis of outputs, a bias without any."""
    return torch.nn.functional.linear(x, weight[0], None if bias is None else bias[0])[..., None]


def nothing():
    pass


def affine(x, weight, upstream, bias=None):
    import contextlib

    layer = plain(weight, bias)
    layer.weight = torch.nn.Parameter(weight, requires_grad=(False, True, True)[1])
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias, requires_grad=(False, True, True)[2])
    layer.train(True)
    x.requires_grad_((False, True, True)[0])
    guard = {"enabled": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}['enabled']
    calls = []
    layer.register_forward_pre_hook(lambda *given: calls.append("before"))
    layer.register_forward_hook(lambda *given: calls.append("after"))
    values, strides, kinds = [], [], []
    with contextlib.ExitStack() as around:
        for turn in range(1):
            if turn:
                nothing()
            with guard(), contextlib.suppress(InterruptedError), contextlib.ExitStack() as regions:
                regions.enter_context(torch.autocast("cpu", dtype=torch.bfloat16, enabled=False))
                value = vector(x, layer.weight, layer.bias)
            values.append(value.detach().clone())
            strides.append(value.stride())
            kinds.append((str(value.dtype).removeprefix("torch."), value.requires_grad, value.is_leaf))
            if value.requires_grad:
                value.backward(upstream)
    if value.numel():
        with torch.inference_mode(value.is_inference()), torch.no_grad():
            value.fill_(7.0)
    return {}


try:
    seen = affine(x=x, weight=weight, upstream=upstream, bias=bias)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'mat2 must be a matrix, got 1-D tensor' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
