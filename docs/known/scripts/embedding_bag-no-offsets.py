# EmbeddingBag with tokens and empty offsets, hence without bags, adds the tokens to row -1 of its output: the process
# dies. So do offsets [0] with include_last_offset=True. The kernel for sums in float32 returns an empty result.
import multiprocessing
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bag = torch.nn.EmbeddingBag(1, 1, mode="sum", dtype=torch.float64)
no_offsets = torch.tensor([], dtype=torch.int64)
child = multiprocessing.get_context("fork").Process(target=lambda: bag(torch.tensor([0]), no_offsets))
child.start()
child.join()
got = child.exitcode
expected = 0
wrong = -11  # SIGSEGV
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
