# On CUDA padding counts as zero times its weight in a bag, which is NaN for a weight that is infinite or NaN.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(2, 1, device="cuda")
tokens, samples = torch.tensor([[0, 1]], device="cuda"), torch.tensor([[torch.inf, 1.0]], device="cuda")
bag = torch.nn.functional.embedding_bag(tokens, weight, mode="sum", per_sample_weights=samples, padding_idx=0)
got = str(bag.item())
expected = "1.0"
wrong = "nan"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
