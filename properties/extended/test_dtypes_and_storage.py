"""Storage: a lookup copies bits, whatever dtype the table has, wherever its memory lies, however its indices came."""

from embcheck.core.comparison import every, identical, is_true, same, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.dtypes_and_storage.cases import StorageCase
from embcheck.families.dtypes_and_storage.space import SPACE, plan

dtypes_and_storage = Family("dtypes_and_storage", SPACE, plan, cost=4.0, stride=5)


@dtypes_and_storage.law(
    "The lookup returns W[i] bit for bit, for a weight of any dtype and storage.",
    source="nn.Embedding: a simple lookup table",
    must_cover={"complex", "float8", "dtype=bool", "dtype=uint8", "dtype=int8", "dtype=int16", "dtype=int32", "empty", "zero_width",
             "rank>=4", "origin=subclass", "origin=mapped_tall", "origin=shared", "origin=conjugated", "origin=negated",
             "index_dtype=int32", "last_row"},
)  # fmt: skip
def lookup_copies_rows_of_any_dtype(case: StorageCase, out: Outcome) -> Finding:
    return identical(out.bits, case.expected)


@dtypes_and_storage.law(
    "one_hot(i) @ W and F.linear give the rows of a table of integers exactly, however large they are.",
    source="torch.matmul; nn.Linear: y = xAᵀ",
    must_cover={"multiplied"},
)
def product_with_integer_table_is_exact(case: StorageCase, out: Outcome) -> Finding:
    return (
        every(identical(out.matrix, case.expected), identical(out.linear, case.expected))
        if case.multiplied
        else UNASKED
    )


@dtypes_and_storage.law(
    "The output has the weight's dtype and the inputs' tensor subclass.",
    source="nn.Embedding: Variables; Extending PyTorch: subclasses are preserved",
)
def lookup_keeps_dtype_and_tensor_subclass(case: StorageCase, out: Outcome) -> Finding:
    value, tensor = out.kinds.raw
    return every(
        same(out.kinds, (tensor, tensor)) if value != tensor else UNASKED,
        is_true(out.type_kept, "a tensor of another class"),
        is_true(out.contiguous, "not contiguous"),
        is_true(out.separate, "the output shares memory with the table"),
    )


@dtypes_and_storage.law(
    "The lookup modifies neither the weight nor the indices, for any dtype and storage.", source="no side effects"
)
def lookup_of_any_dtype_modifies_no_input(case: StorageCase, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = dtypes_and_storage.tests()
