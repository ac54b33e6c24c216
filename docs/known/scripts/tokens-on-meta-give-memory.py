# law:  Of a tensor that has elements and one on meta, which has none, comes nothing that has: a call with both is refused, or its value and gradient lie on meta.
# case: Apart(on_meta=('input',))
# got:  'cpu', expected 'meta'
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
input = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).copy_(torch.tensor([0, 1]))
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).fill_(1)


def lookup(flags, input, weight):
    return torch.nn.functional.embedding(input, weight, padding_idx=flags["padding_idx"])


def apart(flags, **given ):
    placed = {name: tensor.to("meta") if name in ('input',) else tensor for name, tensor in given.items()}
    upstream = placed.pop("upstream", None)
    if upstream is not None:
        placed["weight"].requires_grad_()
    value = lookup(flags, **placed)
    seen = {"value": value.detach()}
    if upstream is not None:
        torch.autograd.grad(value, placed["weight"], upstream)[0]
    return seen


try:
    seen = apart(input=input, weight=weight, flags={'padding_idx': None})
except Exception as error:
    print("raised, as it should:", repr(error))
got, expected, wrong = str(seen["value"].device).removeprefix("torch."), 'meta', 'cpu'
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
