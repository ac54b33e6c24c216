# run_decompositions() turns the bags of a 2-D batch into an operator without a derivative if the table is frozen and
# per_sample_weights require grad, but are not contiguous.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bag = torch.nn.EmbeddingBag.from_pretrained(torch.tensor([[1.0], [2.0]]), mode="sum")
weights = torch.ones(2, 2).t().requires_grad_()
inputs = torch.tensor([[0, 1], [1, 1]]), None, weights
program = torch.export.export(bag, inputs).run_decompositions()
expected, wrong = [[1.0, 2.0], [2.0, 2.0]], "Autograd not support dtype: Long"
try:
    program.module()(*inputs).sum().backward()
    got = weights.grad.tolist()
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
