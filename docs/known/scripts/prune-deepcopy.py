# A pruned layer can't be copied with copy.deepcopy: its weight is a product that has a graph.
import copy
import sys

import torch
import torch.nn.utils.prune

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.utils.prune.l1_unstructured(torch.nn.Linear(2, 2), "weight", amount=1)
expected = "copied"
wrong = "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol"
try:
    copy.deepcopy(layer)
    got = "copied"
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
