# On CUDA the gradient of float16 per_sample_weights rounds each product to float16, where it may be infinite.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.full((1, 2), 1000.0, dtype=torch.float16, device="cuda")
samples = torch.ones(1, 1, dtype=torch.float16, device="cuda", requires_grad=True)
tokens = torch.zeros(1, 1, dtype=torch.int64, device="cuda")
bag = torch.nn.functional.embedding_bag(tokens, weight, mode="sum", per_sample_weights=samples)
bag.backward(torch.tensor([[1000.0, -1000.0]], dtype=torch.float16, device="cuda"))
got = str(samples.grad.item())
expected = "0.0"
wrong = "nan"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
