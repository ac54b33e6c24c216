"""Which parameters are together in one optimizer, and in which groups."""

from functools import lru_cache
from typing import NamedTuple

#: Of which dtype the real and the imaginary part are.
PARTS = {"complex64": "float32", "complex128": "float64"}


class Member(NamedTuple):
    """A parameter: its shape, its dtype and how it lies in memory."""

    shape: tuple[int, ...] = (2, 2)
    dtype: str = "float32"
    layout: str = "contiguous"

    @property
    def parts(self) -> tuple[int, ...]:
        """The shape of its numbers; a complex one is two, which every algorithm steps as two of its own."""
        return (*self.shape, 2) if self.dtype in PARTS else self.shape


#: Which parameters are together.
MIXES: dict[str, tuple[Member, ...]] = {
    "one": (Member(),),
    "pair": (Member(), Member()),
    "ranks": (Member(()), Member((1,)), Member((3,)), Member((2, 3)), Member((2, 1, 3))),
    "dtypes": (
        Member(dtype="float64"),
        Member(),
        Member(dtype="bfloat16"),
        Member(dtype="float16"),
        Member((3,), "float64"),
    ),
    "layouts": tuple(
        Member((2, 3), layout=layout) for layout in ("contiguous", "transposed", "strided", "column_slice")
    ),
    "turned": (
        Member((3, 2), "float64", "transposed"),
        Member((2, 3), "float64", "transposed"),
        Member((6,), "float64"),
    ),
    "empty": (Member(), Member((0, 2)), Member((2, 0)), Member((5,))),
    "half": (Member((3,), "bfloat16"), Member((2, 2), "bfloat16"), Member((), "bfloat16")),
    "squares": (Member((3, 3)), Member((3, 3), layout="transposed"), Member((2, 2, 2), "float64")),
    # For an optimizer that takes matrices alone.
    "matrices": (Member((2, 3)), Member((0, 2)), Member((5, 1)), Member((2, 2), "float64")),
    "complexes": (Member((3,), "complex64"), Member(), Member((2, 2), "complex128"), Member((), "complex64")),
    # Every remainder that a block of up to 16 elements leaves, behind two blocks; and wide ones behind more.
    "lengths": (*(Member((n,)) for n in (*range(33, 49), 129)), Member((5, 13)), Member((9, 9), "float64")),
    # Others at first, whose size, rank, dtype and place a kernel may look at.
    "wide": (Member((33, 40)), Member((2, 8)), Member((1, 7))),
    "deep": (Member((2, 3, 8), "float64", "offset"), Member((7,)), Member((2, 7))),
    "columns": (Member((5, 1), "bfloat16"), Member((2, 7), "bfloat16")),
    "half_layouts": (Member((3, 7), "float16", "transposed"), Member((2, 2), "float16"), Member((17,), "float16")),
    "rows": (Member((4, 2), "float64", "row_strided"),),
    "vector": (Member((70,), "float16", "offset"),),
    "strided": (Member((3, 17), "bfloat16", "strided"), Member((8,), "bfloat16", "strided")),
    "slices": (Member((7, 8), "float32", "column_slice"), Member((2, 7)), Member((1, 8)), Member((2, 2))),
}


@lru_cache(maxsize=4096)
def groups_of(mix: str) -> tuple[tuple[Member, ...], ...]:
    """The parameters of a mix, by group: one by its name, or what `written` wrote."""
    if mix in MIXES:
        return (MIXES[mix],)
    return tuple(tuple(map(_member, group.split())) for group in mix.split("|"))


def _member(text: str) -> Member:
    shape, dtype, layout = text.split(":")
    return Member(tuple(int(length) for length in shape.split("x") if length), dtype, layout)


def written(groups: tuple[tuple[Member, ...], ...]) -> str:
    """Parameters by group as a mix: ``2x3:float32:strided 5:float64:contiguous | 1:float32:contiguous``."""
    return "|".join(
        " ".join(f"{'x'.join(map(str, each.shape))}:{each.dtype}:{each.layout}" for each in group) for group in groups
    )
