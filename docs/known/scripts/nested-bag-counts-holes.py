# law:  A nested lookup has for each component the rows of its tokens; a nested bag sums, averages or takes the maximum of each.
# case: Nested(lengths=(1,), reduced='sum', made='holes')
# got:  0 8, expected 0 4 (1 of 2 elements differ)
from __future__ import annotations

import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import warnings

torch.set_num_threads(1)
table = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[0, 4], [0, 0], [1, -3]]))
tokens = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((18,), torch.nan).as_strided((1, 2), (2, 1), 8).copy_(torch.tensor([[4, 3]]))


def parts_of(values: Tensor, lengths: list[int]) -> list[Tensor]:
    return [part.clone() for part in values.split(lengths)]


def nested(flags: dict[str, Any], table: Tensor, tokens: Tensor, upstream: Tensor) -> dict[str, Any]:
    sizes = list((1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        given = holes(tokens, sizes)
        samples, inner, starts = (None, None, [])
    leaf = table.detach().requires_grad_()
    value = torch.nn.functional.embedding_bag(given, leaf, mode='sum', per_sample_weights=samples, **flags)
    flat = (value).reshape(-1, table.shape[1])
    (flat * upstream).sum().backward()
    seen = {"value": flat.detach()}
    if inner is not None:
        places = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return seen


def holes(values: Tensor, lengths: list[int]) -> Tensor:
    """Behind each component lies one token more, which is of none."""
    wide = torch.cat([torch.cat([part, part.new_zeros((1, *part.shape[1:]))]) for part in parts_of(values, lengths)])
    ends = torch.tensor([0, *(length + 1 for length in lengths)]).cumsum(0)
    return torch.nested.nested_tensor_from_jagged(wide, ends, lengths=torch.tensor(lengths))


seen = nested(table=table, tokens=tokens, upstream=upstream, flags={})
got, expected, wrong = seen["value"][0, 1], 4.0, 8.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
