# The gradient of nn.EmbeddingBag is added token by token in the dtype of the table (CPU): that of a frequent token
# stops growing at 256 in bfloat16 and at 2048 in float16, though the bag itself is summed in float32.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.EmbeddingBag(1, 1, mode="sum", dtype=torch.bfloat16)
torch.nn.init.ones_(table.weight)
total = table(torch.zeros(1, 512, dtype=torch.int64))
total.backward()
got = [total.item(), table.weight.grad.item()]
expected = [512.0, 512.0]
wrong = [512.0, 256.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
