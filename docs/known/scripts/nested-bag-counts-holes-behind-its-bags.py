# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Nested(reduced='sum', made='narrowed', sparse=True)
# got:  raised IndexError: index out of range in self
from __future__ import annotations

import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import warnings

torch.set_num_threads(1)
table = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[0, 4], [0, 0], [1, -3]]))
tokens = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([0, 1, 2]))
upstream = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[4, 3], [-3, 0]]))


def parts_of(values: Tensor, lengths: list[int]) -> list[Tensor]:
    return [part.clone() for part in values.split(lengths)]


def nested(table: Tensor, tokens: Tensor, upstream: Tensor) -> dict[str, Any]:
    sizes = list((2, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        given = narrowed(tokens, sizes)
        samples, inner, starts = (None, None, [])
    leaf = table.detach().requires_grad_()
    value = torch.nn.functional.embedding_bag(given, leaf, mode='sum', per_sample_weights=samples, sparse=True)
    flat = (value).reshape(-1, table.shape[1])
    (flat * upstream).sum().backward()
    seen = {}
    if inner is not None:
        places = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return seen


def narrowed(values: Tensor, lengths: list[int]) -> Tensor:
    """The beginnings of the rows of a padded batch."""
    longest = max(lengths) + 1
    padded = values.new_zeros((len(lengths), longest, *values.shape[1:]))
    for row, part in zip(padded, parts_of(values, lengths), strict=True):
        row[: len(part)] = part
    return torch.nested.narrow(padded, 1, 0, torch.tensor(lengths), layout=torch.jagged)


try:
    seen = nested(table=table, tokens=tokens, upstream=upstream)
except Exception as error:
    if type(error).__name__ != 'IndexError' or 'index out of range in self' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
