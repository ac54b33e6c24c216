# law:  Every call of a linear layer gives xAᵀ + b with the weight and bias of that moment; NaN and infinity spread as they do.
# case: AffineCase(between='doubled', times=2, grad_mode='no_grad', autocast='on', together=True)
# got:  -5 -8 6 -7, expected -10 -16 12 -14 (4 of 4 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
x = torch.full((22,), torch.nan).as_strided((2, 3), (3, 1), 8).copy_(torch.tensor([[-1, -1, -3], [2, 3, -1]]))
weight = torch.full((22,), torch.nan).as_strided((2, 3), (3, 1), 8).copy_(torch.tensor([[-1, 3, 1], [1, -2, 3]]))
upstream = torch.full((20,), torch.nan, dtype=torch.bfloat16).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[2, 3], [-1, -2]]))


def plain(weight):
    return torch.nn.Linear(weight.shape[1], weight.shape[0], False, dtype=weight.dtype)


def module(layer, x):
    return layer(x)  # type: ignore[no-any-return]


def doubled(layer):
    with torch.no_grad():
        layer.weight.mul_(2)
        if layer.bias is not None:
            layer.bias.mul_(2)


def affine(x, weight, upstream):
    import contextlib

    layer = plain(weight)
    layer.weight = torch.nn.Parameter(weight, requires_grad=(False, True, True)[1])
    layer.train(True)
    x.requires_grad_((False, True, True)[0])
    guard = {"enabled": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}['no_grad']
    calls = []
    layer.register_forward_pre_hook(lambda *given: calls.append("before"))
    layer.register_forward_hook(lambda *given: calls.append("after"))
    values, strides, kinds = [], [], []
    with contextlib.ExitStack() as around:
        around.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
        for turn in range(2):
            if turn:
                doubled(layer)
            with guard(), contextlib.suppress(InterruptedError), contextlib.ExitStack() as regions:
                regions.enter_context(torch.autocast("cpu", dtype=torch.bfloat16, enabled=True))
                value = module(layer, x)
            values.append(value.detach().clone())
            strides.append(value.stride())
            kinds.append((str(value.dtype).removeprefix("torch."), value.requires_grad, value.is_leaf))
            if value.requires_grad:
                value.backward(upstream)
    if value.numel():
        with torch.inference_mode(value.is_inference()), torch.no_grad():
            value.fill_(7.0)
    return {"values": torch.stack(values)}


seen = affine(x=x, weight=weight, upstream=upstream)
got, expected, wrong = seen["values"][1][0, 0], -10.0, -5.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
