# law:  Offsets that are none, tokens outside the table, and calls that mean nothing are refused, and nothing is written.
# case: BagCase(num_embeddings=1, embedding_dim=1, mistake='backward_of_a_far_token')
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
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))


def tokens(*shape):
    return torch.zeros(shape, dtype=torch.int64)


def backward_of_a_far_token(weight):
    backward = torch.ops.aten._embedding_bag_dense_backward.default
    far, none, one = torch.tensor([1 << 40]), tokens(1), tokens(1) + 1
    return backward(weight[:1].detach(), far, none, one, one, weight.shape[0], False, 0, None)


def mistaken(weight):
    return {"value": backward_of_a_far_token(weight)}


try:
    seen = mistaken(weight=weight)
except Exception as error:
    print("raised, as it should:", repr(error))
print("it comes back")
