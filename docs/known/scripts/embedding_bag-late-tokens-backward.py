# With include_last_offset=True, forward of EmbeddingBag doesn't check the tokens behind the last offset, and backward
# writes a gradient for them: one that is no row of the table is written out of bounds and the process dies.
import multiprocessing
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bag = torch.nn.EmbeddingBag(1, 1, mode="sum", include_last_offset=True)
tokens = torch.tensor([0, 1 << 40])  # the second is in no bag
offsets = torch.tensor([0, 1])
child = multiprocessing.get_context("fork").Process(target=lambda: bag(tokens, offsets).sum().backward())
child.start()
child.join()
got = child.exitcode
expected = 1  # an exception
wrong = -11  # SIGSEGV
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
