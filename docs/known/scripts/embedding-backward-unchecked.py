# aten::embedding_dense_backward with scale_grad_by_freq=True and aten::_embedding_bag_dense_backward don't check that
# an index is less than the number of rows, and write out of bounds: the process dies.
import multiprocessing
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

far = torch.tensor([1 << 40])
given = (torch.ones(1, 1), far, 1, -1, True)  # upstream, indices, num_weights, padding_idx, scale_grad_by_freq
child = multiprocessing.get_context("fork").Process(target=torch.ops.aten.embedding_dense_backward, args=given)
child.start()
child.join()
got = child.exitcode
expected = [0, 1]  # a gradient or an exception
wrong = -11  # SIGSEGV
print("got", got, "expected", expected)
sys.exit(0 if got in expected else 1 if got == wrong else 2)
