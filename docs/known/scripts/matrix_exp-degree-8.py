# torch.linalg.matrix_exp of one matrix whose norm is between 0.05 and 0.58 is off by up to 7e-5 in float32: a coefficient of its
# polynomial of degree 8 is wrong. Of two such matrices it takes another polynomial, and is right.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

turn = torch.tensor([[0.0, -0.5], [0.5, 0.0]])
got, two = torch.linalg.matrix_exp(turn)[1, 0].item(), torch.linalg.matrix_exp(torch.stack([turn, turn]))[0, 1, 0].item()
expected, wrong = 0.4794255386, 0.4794006  # sin(0.5)
print("got", got, "expected", expected, "and of two", two)
sys.exit(0 if abs(got - expected) < 1e-6 else 1 if abs(got - wrong) < 1e-6 and abs(two - expected) < 1e-6 else 2)
