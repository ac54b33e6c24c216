# With include_last_offset=True and mode="mean", without gradients, torch.embedding_bag of fake tensors gives a bag_size
# with an element for each offset, where the CPU's has one for each bag.
import sys

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

with FakeTensorMode():
    table = torch.ones(3, 1)
    tokens = torch.tensor([0, 1, 2])
    offsets = torch.tensor([0, 1, 3])  # of two bags
    bag_size = torch.embedding_bag(table, tokens, offsets, mode=1, include_last_offset=True)[2]
got = tuple(bag_size.shape)
expected = (2,)
wrong = (3,)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
