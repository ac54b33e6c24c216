# EmbeddingBag accepts offsets that decrease, and returns uninitialised memory for the bags from there on.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.use_deterministic_algorithms(True)  # fills uninitialised memory with NaN
torch.set_num_threads(1)  # several threads may raise
bag = torch.nn.EmbeddingBag.from_pretrained(torch.ones(3, 1), mode="sum")
try:
    bags = bag(torch.tensor([0, 1, 2, 0]), offsets=torch.tensor([0, 1, 0]))
    print(bags.tolist())  # differs between CPUs: NaN, which nobody wrote, or zeros
    got = "bags"
except (IndexError, RuntimeError):
    got = "error"
expected = "error"
wrong = "bags"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
