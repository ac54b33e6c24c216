# A compiled model with a tied weight goes on using the embedding's weight in the head once that has a weight of its own.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(2, 1), torch.nn.Linear(1, 2, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


model, token = Tied(), torch.tensor([1])
with torch.no_grad():
    model.embedding.weight.copy_(torch.tensor([[3.0], [1.0]]))
    compiled = torch.compile(model, backend="eager")
    compiled(token)
    model.head.weight = torch.nn.Parameter(torch.tensor([[5.0], [7.0]]))
    got, expected, wrong = compiled(token).tolist(), [[5.0, 7.0]], [[3.0, 1.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
