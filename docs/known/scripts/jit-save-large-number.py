# torch.jit.save writes the number 1e15 without a point and torch.jit.load takes it for an integer: what was saved can't
# be loaded.
import io
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.tensor([[3.0, 4.0]]), max_norm=1e15)
file = io.BytesIO(torch.jit.script(table).save_to_buffer())
expected = [[3.0, 4.0]]
wrong = "Return value was annotated as having type Tuple[float] but is actually of type Tuple[int]:"
try:
    got = torch.jit.load(file)(torch.tensor([0])).tolist()
except RuntimeError as error:
    got = str(error).splitlines()[1]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
