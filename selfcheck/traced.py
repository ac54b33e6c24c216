"""Sites that a graph is made by, torch's decompositions and inductor's lowerings; what their faults' conditions speak of; and their
damages: the same operators on tensors, traced ones and inductor's boxes of them.

A call is made while a graph is traced or lowered, so its facts are those that are known then: dtypes, ranks, flags,
and of sizes those of the example that is traced.  Tensors there may have no values.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from embcheck.modes import decompositions, exports
from selfcheck.damages import Damage, given
from selfcheck.python_sites import Told, told
from selfcheck.site import Arguments, Call, Site, Tensor
from selfcheck.tensor_plans import Plan, Planner

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

# -- damages ------------------------------------------------------------------------------------------------------------

_ATEN, _CAST = torch.ops.aten, torch.ops.prims.convert_element_type.default
_END = 1 << 62
#: Changes a tensor, or what stands for one.
Change = Callable[[Any], Any]


def _do(operator: Any, *given: Any) -> Any:
    """Calls an operator, or what inductor lowers it to."""
    if not any(map(boxed, tree_leaves(given))):
        return operator(*given)
    from torch._inductor.lowering import lowerings

    return lowerings[operator](*given)


def _rows(x: Any, start: int, end: int = _END, axis: int = 0) -> Any:
    return _do(_ATEN.slice.Tensor, x, axis, start, end)


def _joined(*parts: Any, axis: int = 0) -> Any:
    if boxed(parts[0]):
        from torch._inductor.lowering import pointwise_cat

        return pointwise_cat(list(parts), axis)  # the lowering of cat reads the node that is being lowered
    return _do(_ATEN.cat.default, list(parts), axis)


def _times(factor: float, x: Any) -> Any:
    return _do(_ATEN.mul.Tensor, x, factor)


def _first(change: Change, x: Any) -> Any:
    return _joined(change(_rows(x, 0, 1)), _rows(x, 1))


def _last(change: Change, x: Any) -> Any:
    return _joined(_rows(x, 0, -1), change(_rows(x, -1)))


def _column(x: Any) -> Any:
    axis = _rank(x) - 1
    return _joined(_rows(x, 0, -1, axis), _times(0, _rows(x, -1, axis=axis)), axis=axis)


def _in_order(*parts: tuple[int, int]) -> Change:
    """Some of the rows behind others."""
    return lambda x: _joined(*(_rows(x, start, end) for start, end in parts))


_shift, _repeat = _in_order((-1, _END), (0, -1)), _in_order((0, -1), (0, 1))


def _through(dtype: torch.dtype, x: Any) -> Any:
    return _do(_CAST, _do(_CAST, x, dtype), x.get_dtype() if boxed(x) else x.dtype)


def _rank(x: Any) -> int:
    return len(x.get_size()) if boxed(x) else x.dim()


def _of_result(change: Change) -> Planner:
    """The first tensor that comes out, changed, if it has an axis; a list of results stays one."""

    def planned(site: Site, call: Call, result: Any) -> Plan | None:
        several = isinstance(result, (list, tuple))
        first = result[0] if several else result
        if not _rank(first):
            return None
        return lambda: type(result)([change(first), *result[1:]]) if several else change(first)

    return planned


def _of_axes(change: Change, value: Any) -> Any:
    """An argument changed, if it has an axis or is no tensor."""
    return change(value) if isinstance(value, (bool, int)) or _rank(value) else value


#: What arguments are given as, by a word: which, and what they must be.
_GIVES: tuple[tuple[str, Change, str, tuple[str, ...]], ...] = (
    ("shifted", _shift, "indices index", ("{}_rows>=2", "tokens_differ")),
    ("shifted", _shift, "weight grad_output values", ("{}_rows>=2",)),
    ("first", _repeat, "indices index", ("{}_rows>=2", "tokens_differ")),
    ("double", partial(_times, 2), "weight grad_output values", ()),
    ("other", lambda value: not value, "scale_grad_by_freq accumulate", ()),
    ("other", lambda value: (0, 0, 1)[value], "mode", ("mode>0",)),
    ("not", partial(_do, _ATEN.logical_not.default), "mask", ()),
    ("none", lambda value: None, "per_sample_weights", ("per_sample_weights",)),
    ("none", lambda value: -1, "padding_idx", ("padding_idx>=0",)),
    ("next", lambda value: value + 1, "padding_idx", ("padding_idx>=0",)),
)
_ONE_ROW = ("weight_rows=1", "num_weights=1", "self_rows=1")
#: What can't be for a damage to change anything: the gradient of a first row that is padding is zero, tokens of one row are all
#: the same, and a single one occurs once.
_FORBIDS: Mapping[str, tuple[str, ...]] = {
    **{f"give({name}={word})": _ONE_ROW for name in ("indices", "index") for word in ("shifted", "first")},
    "give(scale_grad_by_freq=other)": ("indices_rank=0", "indices_numel=1"),
    "zero(first)": ("padding_idx=0",),
    "double(first)": ("padding_idx=0",),
    "cast(bfloat16)": tuple(f"{name}_dtype=bfloat16" for name in ("weight", "self", "grad_output")),
}


def _made(name: str, change: Change, rows: int = 1) -> Damage:
    return Damage(name, planner=_of_result(change), rows=rows, forbids=_FORBIDS.get(name, ()), at=("traced",))


TRACED_DAMAGES: Mapping[str, Damage] = {
    each.name: each
    for each in (
        _made("zero(first)", partial(_first, partial(_times, 0))),
        _made("zero(last)", partial(_last, partial(_times, 0))),
        _made("zero(column)", _column),
        _made("negate(last)", partial(_last, partial(_do, _ATEN.neg.default))),
        _made("double(first)", partial(_first, partial(_times, 2))),
        _made("nan(last)", partial(_last, partial(_times, torch.nan))),
        _made("shift", _shift, 2),
        _made("swap", _in_order((1, 2), (0, 1), (2, _END)), 2),
        _made("repeat(first)", _repeat, 2),
        _made("cast(bfloat16)", partial(_through, torch.bfloat16)),
        _made("double(all)", partial(_times, 2)),
        *(
            given(
                name,
                word,
                partial(_of_axes, change),
                needs=tuple(each.format(name) for each in needs),
                forbids=_FORBIDS.get(f"give({name}={word})", ()),
            )
            for word, change, names, needs in _GIVES
            for name in names.split()
        ),
    )
}
