"""Faults that live in one mode each: of modes that copy, save, load or set a layer, and of tensors without elements."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch

from selfcheck.fault import Fault, add
from selfcheck.faults.modes import in_mode, in_modes
from selfcheck.forms import Call, replaced
from selfcheck.site import Tensor

Module, Parameter = torch.nn.Module, torch.nn.Parameter

# -- what is done to a layer, or to a table -----------------------------------------------------------------------------


def loses_padding_idx(layer: Any) -> None:
    """padding_idx is gone."""
    for part in layer.modules():
        if getattr(part, "padding_idx", None) is not None:
            vars(part)["padding_idx"] = None
        vars(part).get("flags", {}).pop("padding_idx", None)


def copies_the_table(layer: Any) -> None:
    """The parameter's memory is its own."""
    for table in layer.parameters():
        table.data = table.data.clone()


def reverses_the_rows(table: Tensor) -> Tensor:
    """The table's rows come in the opposite order."""
    return table.flip(0)


def rounds_to_bfloat16(table: Tensor) -> Tensor:
    """The table went through half precision."""
    return table.bfloat16().to(table.dtype)


def shifts_the_elements(table: Tensor) -> Tensor:
    """Each element is in the place of the next."""
    return table.reshape(-1).roll(1).reshape(table.shape)


def zeroes_the_last_row(table: Tensor) -> Tensor:
    """The table's last row is zero."""
    return torch.cat((table[:-1], torch.zeros_like(table[-1:])))


copies_the_table.family = "lookup"  # type: ignore[attr-defined]
#: What is done to a layer itself; all else is done to its table.
_OF_LAYERS = (loses_padding_idx, copies_the_table)


def _harmed(call: Call, spoil: Callable[[Any], Any]) -> Any:
    """What a method returns is harmed if it is a layer, else the layer whose method it is; the values of a dict, too."""
    out = call()
    if isinstance(out, dict):
        return {name: spoil(table) for name, table in out.items()}
    layer = out if isinstance(out, Module) else call.given[0]
    if spoil in _OF_LAYERS:
        spoil(layer)
        return out
    with torch.no_grad():
        for table in layer.parameters():
            table.copy_(spoil(table))
    return out


_SETTING = (loses_padding_idx, zeroes_the_last_row, copies_the_table)
_LOADING = (loses_padding_idx, rounds_to_bfloat16, reverses_the_rows)
_TABLES = (reverses_the_rows, zeroes_the_last_row, shifts_the_elements)
#: Modes, after which call of theirs a layer is harmed, and how.
for _modes, _owner, _attribute, _harms in (
    ("state_dict_assign", Module, "load_state_dict", _SETTING),
    ("train", Module, "train", _SETTING),
    ("eval", Module, "eval", _SETTING),
    ("parametrize", torch.nn.utils.parametrize, "register_parametrization", _SETTING),
    ("state_dict", Module, "load_state_dict", _LOADING),
    ("pickle", Module, "__setstate__", _LOADING),
    ("to_dtype", Module, "to", (loses_padding_idx, rounds_to_bfloat16, zeroes_the_last_row)),
    ("deepcopy", Module, "__setstate__", (loses_padding_idx,)),
    ("saved", torch, "load", (loses_padding_idx, zeroes_the_last_row, reverses_the_rows)),
    ("mapped", torch, "load", _TABLES),
    ("jit_saved", torch.jit, "load", (rounds_to_bfloat16, zeroes_the_last_row, reverses_the_rows)),
):
    in_modes(_modes, _owner, _attribute, _harmed, _harms)
in_mode(
    "deepcopy",
    "shares_the_memory",
    "The copy of a parameter lies in the memory of the original.",
    partial(replaced, Parameter, "__deepcopy__", lambda call: Parameter(call.self.data, call.self.requires_grad)),
    "lookup",
)
in_mode(
    "deepcopy",
    "reverses_the_rows",
    "The copy's rows come in the opposite order.",
    partial(replaced, Parameter, "__deepcopy__", lambda call: Parameter(call().data.flip(0), call.self.requires_grad)),
)


# -- tensors without elements -------------------------------------------------------------------------------------------


def _lookup(weight: Tensor, indices: Tensor, *flags: Any, what: str) -> Tensor:
    """A lookup without elements, which is wrong in one thing."""
    *lead, width = *indices.shape, weight.shape[1]
    sizes = [*lead[:-1], width, *lead[-1:]] if what == "another_shape" else [*lead, width]
    made = weight.new_empty(sizes, dtype=torch.float64 if what == "another_dtype" else weight.dtype)
    return made.transpose(0, -1).contiguous().transpose(0, -1) if what == "other_strides" else made


@contextmanager
def _on_meta(what: str) -> Iterator[None]:
    with torch.library._scoped_library("aten", "IMPL") as library:
        library.impl("embedding", partial(_lookup, what=what), "Meta")
        yield


def _faked(call: Call, what: str) -> Any:
    out, looked_up = call(), call.given[1] is torch.ops.aten.embedding.default
    return _lookup(*call.given[3], what=what) if looked_up else out


def _with_fakes(what: str) -> AbstractContextManager[None]:
    mode = "torch._subclasses.fake_tensor:FakeTensorMode"
    return replaced(mode, "__torch_dispatch__", partial(_faked, what=what))


for _mode, _planted in (("fake", _with_fakes), ("meta", _on_meta)):
    for _what in ("another_dtype", "another_shape", "other_strides"):
        _sentence = f"The kernel of meta tensors gives {_what.replace('_', ' ')}."
        add(Fault(f"{_mode}_gives_{_what}", "lookup", _sentence, partial(_planted, _what), modes=(_mode,)))
