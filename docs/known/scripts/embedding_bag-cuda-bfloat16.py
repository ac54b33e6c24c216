# On CUDA bfloat16 has no gradient of the largest of a bag, and none of per_sample_weights.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

wrong = "not implemented"
expected = "[1.0]"
weight = torch.ones(1, 1, device="cuda", dtype=torch.bfloat16, requires_grad=True)
try:
    torch.nn.functional.embedding_bag(torch.zeros(1, 1, dtype=torch.int64, device="cuda"), weight, mode="max").backward()
    got = str(weight.grad[0].tolist())
except NotImplementedError as error:
    got = wrong if wrong in str(error) else str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
