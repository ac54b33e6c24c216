# On the device meta torch.embedding_bag with mode="sum" gives offset2bag and max_indices the sizes that they have on
# CUDA, where on the CPU offset2bag is empty and max_indices has an element for each bag.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.ones(3, 1, device="meta")
tokens = torch.tensor([0, 1, 2], device="meta")
offsets = torch.tensor([0, 1], device="meta")
value, offset2bag, bag_size, max_indices = torch.embedding_bag(table, tokens, offsets)
got = [tuple(offset2bag.shape), tuple(max_indices.shape)]
expected = [(0,), (2,)]
wrong = [(3,), (0,)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
