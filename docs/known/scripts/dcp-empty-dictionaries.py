# torch_save_to_dcp and dcp_to_torch_save drop empty dictionaries: the state of an optimizer that has made no step loses
# its key "state", without which load_state_dict raises KeyError.
import sys
import tempfile

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
with tempfile.TemporaryDirectory() as folder:
    torch.save(optimizer.state_dict(), f"{folder}/before.pt")
    torch_save_to_dcp(f"{folder}/before.pt", f"{folder}/dcp")
    dcp_to_torch_save(f"{folder}/dcp", f"{folder}/after.pt")
    got = sorted(torch.load(f"{folder}/after.pt"))
expected = ["param_groups", "state"]
wrong = ["param_groups"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
