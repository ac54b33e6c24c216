# law:  The gradient of a row that n tokens send ones is n, rounded once to the table's dtype: it is added up in a format that counts them, on the CPU as by a graphics card or a compiler.
# case: Accumulation(call='selected', index_dtype='int32')
# got:  256, expected 300
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
tokens = torch.full((316,), 1515870810, dtype=torch.int32).as_strided((300,), (1,), 8).fill_(0)
weight = torch.full((17,), torch.nan, dtype=torch.bfloat16).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))


def selected(tokens, weight):
    return weight.index_select(0, tokens)


def accumulated(tokens, weight ):
    leaf = weight.detach().requires_grad_()
    value = selected(tokens, leaf)
    gradient = torch.autograd.grad(value, leaf, torch.ones_like(value))[0]
    return {"gradient": gradient}


seen = accumulated(tokens=tokens, weight=weight)
got, expected, wrong = seen["gradient"][0, 0], 300.0, 256.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
