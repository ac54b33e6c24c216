# embedding_bag ignores the lengths of a jagged nested tensor: values between its components are summed as well.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tokens = torch.nested.nested_tensor_from_jagged(torch.tensor([0, 1]), torch.tensor([0, 2]), lengths=torch.tensor([1]))
bags = torch.nn.EmbeddingBag.from_pretrained(torch.tensor([[1.0], [2.0]]), mode="sum")
got = bags(tokens).item()
expected = 1.0  # the one component is [0]
wrong = 3.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
