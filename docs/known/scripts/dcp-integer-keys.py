# torch_save_to_dcp and dcp_to_torch_save turn integer keys into strings: an optimizer that loads its state from the
# converted file ignores it without a warning.
import sys
import tempfile

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.Adagrad(torch.nn.Linear(1, 1).parameters())
with tempfile.TemporaryDirectory() as folder:
    torch.save(optimizer.state_dict(), f"{folder}/saved.pt")
    torch_save_to_dcp(f"{folder}/saved.pt", f"{folder}/dcp")
    dcp_to_torch_save(f"{folder}/dcp", f"{folder}/converted.pt")
    got = list(torch.load(f"{folder}/converted.pt")["state"])
expected = [0, 1]
wrong = ["0", "1"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
