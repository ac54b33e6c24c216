# F.embedding_bag rescales rows over max_norm before it checks per_sample_weights, offsets and padding_idx: a call that
# it refuses has written to the table.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.tensor([[3.0, 4.0]])
tokens = torch.tensor([[0]])
weights = torch.ones(1, 1)
try:
    torch.nn.functional.embedding_bag(tokens, table, max_norm=2.5, mode="mean", per_sample_weights=weights)
except NotImplementedError:  # per_sample_weights was not None: it is only supported for mode='sum'
    got = table.tolist()
expected = [[3.0, 4.0]]
wrong = [[1.5, 2.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
