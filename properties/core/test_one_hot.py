"""one_hot: 1 at the index, 0 elsewhere, for every index tensor and number of classes."""

import numpy as np

from embcheck.core.comparison import described, every, is_true, left_alone, refuses, same, unwritten
from embcheck.core.law import Family
from embcheck.core.layout import row_major, view_of
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.one_hot.cases import SPACE, OneHotCase, plan
from embcheck.families.one_hot.programs import GRAPHS

one_hot = Family("one_hot", SPACE, plan, modes=("eager", "no_grad", "inference"), refused=lambda case: case.refused)


@one_hot.law(
    "F.one_hot(i) is 1 at position i and 0 elsewhere.",
    source="F.one_hot: zeros everywhere except where the index matches, in which case it will be 1",
    must_cover={"empty", "rank>=4", "first_class", "last_class", "inferred", "spare", "numel>1000", "width>1000",
             "numel>32768", "vmapped", "classes=omitted", "classes=-1"},
)  # fmt: skip
def one_hot_is_one_at_the_index(case: OneHotCase, out: Outcome) -> Finding:
    return every(*(same(value, case.expected) for value in [out.value, *out.along_first_axis("other_values")]))


@one_hot.law(
    "The output has shape (*indices.shape, num_classes); num_classes is inferred as the largest index plus one.",
    source="F.one_hot: shape (*, num_classes); num_classes: inferred as one greater than the largest class value",
    must_cover={"empty", "inferred", "rank>=4"},
)
def one_hot_output_has_documented_shape(case: OneHotCase, out: Outcome) -> Finding:
    return described(out.value, shape=(*case.shape, case.width))


def strides_are_told(case: OneHotCase) -> bool:
    """Whether the output's strides are those of one_hot itself.

    A graph computes eq(index, classes).  An elementwise operation lays its result out as its operand lies, and no
    document promises a graph the strides of what it records, so that those are open of an index that is not contiguous.
    """
    if case.facts()["vmapped"] or (case.entry in GRAPHS and not case.numel):
        return False
    return case.entry not in GRAPHS or view_of(case.shape, case.index_layout).strides == row_major(case.shape)


@one_hot.law(
    "F.one_hot returns a contiguous int64 tensor on the indices' device that does not require grad.",
    source="F.one_hot: Returns LongTensor",
)
def one_hot_returns_a_long_tensor(case: OneHotCase, out: Outcome) -> Finding:
    return every(
        is_true(out.plain, "the output is no plain Tensor"),
        described(out.value, dtype="int64", device=out.device, layout="strided", requires_grad=False, is_leaf=True),
        described(out.value, stride=row_major((*case.shape, case.width)), _is_view=False)
        if strides_are_told(case)
        else UNASKED,
    )


@one_hot.law(
    "F.one_hot does not overwrite the output of an earlier call.", source="no aliasing between calls", of="metadata"
)
def one_hot_preserves_earlier_outputs(case: OneHotCase, out: Outcome) -> Finding:
    return is_true(out.held, "an earlier result was overwritten") if "held" in out else UNASKED


@one_hot.law(
    "Each one-hot vector sums to 1.", source="F.one_hot: a one-hot vector", implied_by="one_hot_is_one_at_the_index"
)
def one_hot_vectors_sum_to_one(case: OneHotCase, out: Outcome) -> Finding:
    return same(out.sums, np.ones(case.shape, np.int64))


@one_hot.law("The output shares no memory with the indices.", source="F.one_hot: returns a tensor")
def one_hot_output_shares_no_memory(case: OneHotCase, out: Outcome) -> Finding:
    return is_true(out.separate, "the output shares memory with the index")


@one_hot.law(
    "F.one_hot modifies neither the indices, nor the memory around them, nor their version counter.",
    source="no side effects",
)
def one_hot_modifies_no_input(case: OneHotCase, out: Outcome) -> Finding:
    return every(unwritten(out), is_true(out.kept, "the index or its version changed"))


@one_hot.law(
    "F.one_hot changes neither grad mode, default dtype, thread count, deterministic mode nor random number generator state.",
    source="no side effects",
)
def one_hot_preserves_global_state(case: OneHotCase, out: Outcome) -> Finding:
    return left_alone(out.surroundings)


@one_hot.law(
    "F.one_hot raises RuntimeError for a dtype other than int64, an out-of-range index or no classes.",
    source="F.one_hot: Takes LongTensor with index values; num_classes: total number of classes",
    must_cover={"refused", "out_of_range=-1", "out_of_range=V",
             "classes=0", "classes=-2", "cast=int32", "cast=float32", "cast=bool",
             "empty"},
    refusal=True,
)  # fmt: skip
def one_hot_invalid_inputs_raise(case: OneHotCase, out: Outcome) -> Finding:
    return every(refuses(out, RuntimeError), unwritten(out))


test_scope, test_product, test_random = one_hot.tests()
