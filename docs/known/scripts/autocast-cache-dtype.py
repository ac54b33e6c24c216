# Autocast casts a weight once for a region and all inside it: after a float16 region inside, bfloat16 gets float16.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.eye(2))
inputs = [torch.ones(1, 2), torch.nn.Parameter(torch.ones(1, 2))]
got = []
for x in inputs:
    with torch.autocast("cpu", torch.bfloat16):
        with torch.autocast("cpu", torch.float16):
            torch.nn.functional.linear(x, weight)
        try:
            got.append(str(torch.nn.functional.linear(x, weight).dtype))
        except RuntimeError as error:
            got.append(str(error))
expected = ["torch.bfloat16"] * 2
wrong = ["expected m1 and m2 to have the same dtype, but got: c10::BFloat16 != c10::Half", "torch.float16"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
