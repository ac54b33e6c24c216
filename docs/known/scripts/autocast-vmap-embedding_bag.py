# vmap of embedding_bag concatenates the bags, and under autocast to bfloat16 a concatenation of float16 raises.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bag = torch.nn.EmbeddingBag.from_pretrained(torch.tensor([[1.0], [2.0]], dtype=torch.float16), mode="sum")
expected = [[[3.0]], [[4.0]]]
wrong = "Unexpected floating ScalarType in at::autocast::prioritize"
try:
    with torch.autocast("cpu", torch.bfloat16):
        got = torch.vmap(bag)(torch.tensor([[[0, 1]], [[1, 1]]])).tolist()
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
