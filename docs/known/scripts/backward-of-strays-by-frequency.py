# law:  A wrong padding_idx, shape, rank, keyword, size or index dtype is refused, and nothing is written.
# case: ConstructionCase(wrong='backward_of_a_far_token_by_frequency')
# got:  the process died: crash SIGSEGV
import sys
import subprocess

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.ops

if len(sys.argv) == 1:  # the program dies, so it runs in a child
    child = subprocess.run([sys.executable, __file__, "child"], timeout=600)
    print("exit status of the child:", child.returncode, "expected 0")
    sys.exit(1 if child.returncode < 0 else 2 if child.returncode else 0)
torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, -2], [3, -4], [5, -6]]))


def backward_of_a_far_token_by_frequency(weight, **flags):
    backward = torch.ops.aten.embedding_dense_backward.default
    return backward(torch.zeros(1, weight.shape[1]), torch.tensor([1 << 40]), weight.shape[0], -1, True)


def refused(flags, weight):
    backward_of_a_far_token_by_frequency(weight, **flags)
    return {}


try:
    seen = refused(weight=weight, flags={})
except Exception as error:
    print("raised, as it should:", repr(error))
print("it comes back")
