# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: AffineCase(bias=True, made='fused_without_a_scale')
# got:  raised TypeError: unsupported operand type(s) for *: 'NoneType' and 'Tensor'
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.nn.utils.fusion

torch.set_num_threads(1)
x = torch.full((22,), torch.nan).as_strided((2, 3), (3, 1), 8).copy_(torch.tensor([[-1, -1, -3], [2, 3, -1]]))
weight = torch.full((22,), torch.nan).as_strided((2, 3), (3, 1), 8).copy_(torch.tensor([[-1, 3, 1], [1, -2, 3]]))
upstream = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[2, 3], [-1, -2]]))
bias = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).copy_(torch.tensor([-2, 2]))


def fused_without_a_scale(weight):
    norm = torch.nn.BatchNorm1d(weight.shape[0], affine=False, dtype=weight.dtype)
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    return torch.nn.utils.fusion.fuse_linear_bn_eval(layer.eval(), norm.eval()).train()


def module(layer, x):
    return layer(x)  # type: ignore[no-any-return]


def nothing():
    pass


def affine(x, weight, upstream, bias=None):
    import contextlib

    layer = fused_without_a_scale(weight)
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
                value = module(layer, x)
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
    if type(error).__name__ != 'TypeError' or "unsupported operand type(s) for *: 'NoneType' and 'Tensor'" not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
