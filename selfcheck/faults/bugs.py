"""Bugs of the past: in the language of drawn faults, and products that read on behind a row (uxlfoundation/oneDNN#5717)."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from embcheck.core.onednn import ROWS, WIDTH, reads_on
from selfcheck.fault import Fault, add
from selfcheck.forms import lines
from selfcheck.site import Tensor

lines("embedding_bag", "pytorch#43723: _embedding_bag_forward_only  layout=rows_strided  ->  give(weight=memory)")
lines(
    "padding",
    "pytorch#28716: embedding_dense_backward  numel>768 & padding_hit  ->  give(padding_idx=none)",
    "pytorch#3506: embedding_sparse_backward  padding_hit  ->  give(padding_idx=none)",
)
lines("gradient", "cunn#105: embedding_dense_backward  numel>768 & embedding_dim>128  ->  zero(last)")
lines("lookup", "pytorch#53368: embedding  padding_hit  ->  zero(padding)")
lines("max_norm", "pytorch#8035: embedding_renorm_  dtype=float16 & max_norm<1  ->  give(max_norm=larger)")

# -- products that read on ----------------------------------------------------------------------------------------------

#: ATen's products of matrices, and at which argument the first matrix is.
_PRODUCTS = {"mm": 0, "mm.out": 0, "bmm": 0, "bmm.out": 0, "addmm": 1, "addmm.out": 1, "baddbmm": 1, "baddbmm.out": 1}


def _spoil(value: Tensor, a: Tensor, columns: int, batch: int, dense: bool) -> None:
    """Makes rows of a @ b NaN behind which there is none, as AMX does: NaN · 0 is NaN."""
    (rows, width), (step, unit) = a.shape, a.stride()
    if not reads_on(rows, width, columns, batch, gaps=step != width):
        return
    if (step == 1 and unit == rows) or (step == 1 and unit > rows and not dense):
        return  # a transposed matrix is copied into tiles, with zeros behind the rows
    if unit != 1 or step < width or (dense and step != width):
        a, step = a.contiguous(), width
    tiles = -(-rows // ROWS)
    last = rows - (tiles - 1) * -(-rows // tiles)
    extra = -width % WIDTH
    if extra <= last * width:  # else it would read beyond the matrix, and is careful
        behind = a.as_strided((rows - last, extra), (step, 1), a.storage_offset() + width)
        value[: rows - last].masked_fill_(~behind.float().isfinite().all(1, keepdim=True), float("nan"))


def _wrong(right: Any, first: int) -> Callable[..., Tensor]:
    def kernel(keys: Any, *given: Any, **options: Any) -> Tensor:
        value: Tensor = right.call_boxed(keys, *given, **options)
        a, b = given[first : first + 2]
        if a.dtype == torch.bfloat16 and a.dim() == 2:
            _spoil(value, a, b.shape[1], 1, dense=False)
        elif a.dtype == torch.bfloat16:
            for part in range(len(a)):
                _spoil(value[part], a[part], b.shape[2], len(a), dense=True)
        return value

    return kernel


def leaks() -> bool:
    """Whether torch itself multiplies what lies behind a row on this machine."""
    rows = torch.full((32, 33), float("inf"), dtype=torch.bfloat16)
    rows[0] = 1.0
    value = torch.nn.functional.linear(rows, torch.ones(48, 33, dtype=torch.bfloat16))
    return bool(value[0].isnan().any())


@contextmanager
def _planted() -> Iterator[None]:
    right = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in _PRODUCTS}
    with torch.library._scoped_library("aten", "IMPL") as library:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a kernel is replaced is the point
            for name, first in _PRODUCTS.items():
                library.impl(name, _wrong(right[name], first), "CPU", with_keyset=True)
        yield


add(
    Fault(
        "products_read_on_behind_rows",
        "conversion",
        "What lies behind a row of bfloat16 is multiplied by zero and added, as oneDNN 3.12 does with AMX.",
        _planted,
        applies=lambda: hasattr(torch.library, "get_kernel") and not leaks(),
    )
)
