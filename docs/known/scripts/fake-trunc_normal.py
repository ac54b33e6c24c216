# nn.init.trunc_normal_ of a fake tensor raises: it draws again until no value is outside of the limits, and asks the
# tensor for its values.
import sys

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

expected = torch.Size([2])
wrong = "aten._local_scalar_dense.default"
try:
    with FakeTensorMode():
        got = torch.nn.init.trunc_normal_(torch.empty(2)).shape
except DataDependentOutputException as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
