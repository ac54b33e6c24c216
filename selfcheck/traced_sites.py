"""Sites that a graph is made by: torch's decompositions, and inductor's lowerings; and what their faults' conditions speak of.

A call of theirs is made while a graph is traced or lowered, so its facts are those that are known then: dtypes, ranks, flags,
and of sizes those of the example that is traced.  Tensors there may have no values.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from embcheck.modes import decompositions, exports
from selfcheck.python_sites import Told, told
from selfcheck.site import Arguments, Site, Tensor

# -- facts --------------------------------------------------------------------------------------------------------------


def _size(size: Any) -> Any:
    """A size as a number: of a symbol that of the example."""
    if isinstance(size, torch.SymInt):
        return size.node.hint
    if isinstance(size, int):
        return size
    from torch._inductor.virtualized import V

    return V.graph.sizevars.optimization_hint(size)


def _stand_in(value: Any) -> Any:
    """What is told of instead of an argument: of a tensor, or inductor's box of one, one like it without elements."""
    if isinstance(value, torch.Tensor):
        sizes, strides = [[*map(_size, each)] for each in (value.shape, value.stride())]
        return torch.empty_strided(sizes, strides, dtype=value.dtype, device="meta")
    if hasattr(value, "get_size"):
        return torch.empty([*map(_size, value.get_size())], dtype=value.get_dtype(), device="meta")
    if isinstance(value, (list, tuple)):
        return [_stand_in(each) for each in value if each is not None]
    return _size(value) if hasattr(value, "node") or hasattr(value, "free_symbols") else value


def facts(given: Arguments) -> Told:
    """The facts of a call, of which a graph is made."""
    with _disable_current_modes():
        return told({name: _stand_in(value) for name, value in given.items()})


def tables(site: Site) -> tuple[dict[Any, Any], ...]:
    """The tables in which torch looks for what stands for a site's operator."""
    from torch._inductor import decomposition, lowering

    of_lowerings = site.name.startswith("lowering.")
    return (lowering.lowerings,) if of_lowerings else (torch._decomp.decomposition_table, decomposition.decompositions)


def forget_graphs() -> None:
    """What was compiled before must not serve after; inductor copies its table of decompositions once."""
    from torch._inductor import decomposition

    torch._dynamo.reset()
    exports.KEPT.clear()
    decompositions.CORE.clear()
    copy: Any = getattr(decomposition, "fast_random_decomps", None)
    if hasattr(copy, "cache_clear"):
        copy.cache_clear()


def boxed(value: Any) -> bool:
    """Whether something is inductor's, in place of a tensor."""
    return not isinstance(value, Tensor) and hasattr(value, "get_dtype")


#: The overloads of operators that have no default, and how many rows come out, as facts say it.
_OVERLOADS = {"masked_fill": ".Scalar", "index": ".Tensor", "div": ".Tensor"}
_ROWS = {
    **dict.fromkeys(("embedding", "index", "_embedding_bag_per_sample_weights_backward"), "indices_rows"),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), "offsets_rows"),
    "embedding_dense_backward": "num_weights",
    "index_select": "index_rows",
}

# -- conditions ---------------------------------------------------------------------------------------------------------
# As those of kernels from what real bugs looked like, as far as it is known in tracing.


def _tensor(name: str) -> str:
    return (
        f"3 {name}_dtype float32 float64 float16 bfloat16, 2 {name}_rows 1 2 3 >3 >8 >64, "
        f"3 {name}_columns 1 2 3 8 17 >3 >8 >32, 2 {name}_layout contiguous transposed rows_strided strided expanded"
    )


def _tokens(name: str) -> str:
    return (
        f"4 {name}_rank 0 1 2 3 >=2, 3 {name}_numel 1 2 >2 >8 >64 >512, 2 {name}_dtype int32 int64, "
        f"1 {name}_layout contiguous transposed rows_strided strided expanded"
    )


_CALLS = "2 earlier 0 >=1"
_PADDING = "4 padding_idx -1 0 1 >=0 >1"
_BAGS = (
    f"{_tensor('weight')}, {_PADDING}, 3 indices_numel 1 2 >2 >8 >64, 2 indices_dtype int32 int64, 3 offsets_rows 1 2 >2 >8, "
    f"4 mode 0 1 2, 3 per_sample_weights yes None, 2 include_last_offset yes no, {_CALLS}"
)
_PUT = f"{_tensor('self')}, 3 values_rank 1 2 3, 3 values_rows 1 2 >2 >8 >64, 2 indices_rank 0 1 2, {_CALLS}"
#: The decompositions that lookups and their backwards come to, and the lowerings of what is left of them: for each site the texts
#: of its terms, and how often it is drawn.
TEXTS: Mapping[str, tuple[str, int]] = {
    "decomposition.embedding": (f"{_tensor('weight')}, {_tokens('indices')}, {_CALLS}", 4),
    "decomposition.embedding_dense_backward": (
        f"{_tensor('grad_output')}, {_tokens('indices')}, {_PADDING}, 3 num_weights 1 2 3 >3 >8 >64, "
        f"4 scale_grad_by_freq yes no, {_CALLS}",
        8,
    ),
    "decomposition.index_select": (
        f"{_tensor('self')}, 3 index_numel 1 2 >2 >8 >64, 1 index_dtype int32 int64, {_CALLS}",
        2,
    ),
    "decomposition.masked_fill": (f"{_tensor('self')}, 3 self_rank 1 2 3, 2 mask_rank 1 2 3, {_CALLS}", 3),
    "decomposition._unsafe_index_put": (f"{_PUT}, 3 accumulate yes no", 3),
    "decomposition._unsafe_masked_index_put_accumulate": (f"{_PUT}, 2 mask_rank 1 2 3", 2),
    "lowering.embedding": (f"{_tensor('weight')}, {_tokens('indices')}, {_CALLS}", 6),
    "lowering.index": (f"{_tensor('self')}, 2 indices_rank 1 2 3, {_CALLS}", 1),
    "lowering.div": (
        "3 self_dtype float32 float64 float16, 2 self_rank 1 2 3, 2 self_rows 1 2 >2 >8, 2 earlier 0 >=1",
        1,
    ),
    "lowering._unsafe_masked_index_put_accumulate": (f"{_PUT}, 2 mask_rank 1 2 3", 5),
    "lowering._embedding_bag": (_BAGS, 3),
    "lowering._embedding_bag_forward_only": (_BAGS, 2),
    "lowering._embedding_bag_per_sample_weights_backward": (
        f"{_tensor('weight')}, {_PADDING}, 3 indices_numel 1 2 >2 >8 >64, 2 offsets_rows 1 2 >2, {_CALLS}",
        1,
    ),
}


def _site(name: str) -> Site:
    operator = name.partition(".")[2]
    place = f"aten:{operator}{_OVERLOADS.get(operator, '')}"
    return Site(name, place, "traced", "", facts, _ROWS.get(operator, "self_rows"))


TRACED_SITES: Mapping[str, Site] = {name: _site(name) for name in TEXTS}
