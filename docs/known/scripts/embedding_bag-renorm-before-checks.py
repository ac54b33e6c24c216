# F.embedding_bag rescales rows over max_norm before it checks per_sample_weights, offsets and padding_idx: a call that
# it refuses has written to the table.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tokens, start = torch.tensor([0]), torch.tensor([0])
calls = [
    {"offsets": start, "mode": "mean", "per_sample_weights": torch.ones(1)},  # only supported for mode='sum'
    {"offsets": start + 1},  # offsets[0] has to be 0
    {"offsets": start, "padding_idx": 1},  # the table has one row
]
got = []
for options in calls:
    table = torch.tensor([[3.0, 4.0]])
    try:
        torch.nn.functional.embedding_bag(tokens, table, max_norm=2.5, **options)
    except (AssertionError, NotImplementedError, RuntimeError, ValueError):
        got += table.tolist()
expected = [[3.0, 4.0]] * 3
wrong = [[1.5, 2.0]] * 3
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
