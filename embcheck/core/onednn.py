"""Which products of bfloat16 matrices oneDNN gets wrong: where AMX reads on behind rows, and those with one column."""

from collections.abc import Iterable

#: Rows of a tile, and elements of bfloat16 in one of its rows.
ROWS, WIDTH = 16, 32
#: Products of fewer multiplications are not given to oneDNN.
_FEW = 16 * 16 * 16

#: Layouts in which the elements of a single column lie apart.
APART = {"column_slice", "row_strided", "expanded", "far_rows", "farther_rows"}

#: The entries that look rows up by a product with one-hot rows.
PRODUCTS = {"linear", "one_hot_product"}


def lookup_reads_on(dtype: str, tokens: int, rows: int, columns: int) -> bool:
    """Whether `any_reads_on` of a lookup in a table of this shape by a product, or of its gradient."""
    return any_reads_on(dtype, ((tokens, rows, columns), (rows, tokens, columns), (columns, tokens, rows)))


def reads_on(rows: int, width: int, columns: int, batch: int = 1, *, gaps: bool = True) -> bool:
    """Whether oneDNN 3.12 with AMX reads on behind the rows of A in A @ B, of shapes (rows, width) and (width, columns).

    Unless the width is cut into equal parts of an even length, its last tile is filled with what lies behind the row,
    for every row but those of the last tile (uxlfoundation/oneDNN#5717).  A product with one column is no matrix's;
    rows of one element are read on if there are gaps between them.
    """
    parts = -(-width // WIDTH)
    uneven = width > 0 and width % (2 * parts) != 0 and (gaps or width > 1)
    return rows > ROWS and columns > 1 and uneven and batch * rows * width * columns > _FEW


def any_reads_on(dtype: str, products: Iterable[tuple[int, int, int]]) -> bool:
    """Whether one of some products (rows, width, columns) that are computed in this dtype does."""
    return dtype == "bfloat16" and any(reads_on(*sizes) for sizes in products)


def one_column(dtype: str, width: int, columns: int, others: int, *layouts: str) -> bool:
    """Whether oneDNN 3.7 takes the elements of a matrix of one column, which lie apart, for neighbours.

    The product has ``width`` · ``others`` multiplications for each of ``columns``; ``layouts`` are those that the column
    may have.
    """
    return dtype == "bfloat16" and columns == 1 and width * others > _FEW and not APART.isdisjoint(layouts)
