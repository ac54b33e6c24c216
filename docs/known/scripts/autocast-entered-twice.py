# An autocast object forgets what was before it when it is entered again inside itself, as by a decorated function that calls
# itself: autocast stays on after it.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other


@torch.autocast("cpu", dtype=torch.bfloat16)
def descend(depth):
    return descend(depth - 1) if depth else None


descend(1)
got = torch.nn.functional.linear(torch.ones(1, 2), torch.ones(1, 2)).dtype
print("got", got, "expected", torch.float32)
sys.exit(0 if got == torch.float32 else 1 if got == torch.bfloat16 else 2)
