"""Damages at sites that a graph is made by: the same operators on tensors, traced ones and inductor's boxes of them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from selfcheck.damages import Damage, given
from selfcheck.site import Call, Site
from selfcheck.tensor_plans import Plan, Planner
from selfcheck.traced_sites import boxed

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
