"""Programs: how a table is cut and transposed, how a tensor becomes a module's weight, and what must be refused."""

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.tie_preservation.programs import Module, Tensor

Call = Callable[[Tensor], Tensor]
View = Call
#: Of a target and a tensor: the Parameter that was made of it, and what to call.
Assign = Callable[[Module, Tensor], tuple[Tensor, Call]]
#: What is attempted with a target, a table and an input.
Mistake = Callable[[Module, Tensor, Tensor], Any]

#: Assignments that copy into the target's own memory; that keep the target's own requires_grad; that freeze.
INTO_PLACE = frozenset({"copy", "load"})
KEEPING = INTO_PLACE | {"data", "set", "load_assign"}
FREEZING = frozenset({"keyword_frozen"})
#: Assignments whose Parameter is not registered in the target: it is given at the call.
AT_CALL = frozenset({"functional_call"})
#: Mistakes that replace the weight before they fail.
REPLACING = frozenset({"untransposed"})

#: Cuts and spellings that copy always; ``contiguous`` copies unless the transposed table is contiguous already.
COPYING = frozenset({"clone", "detach_clone", "clone_contiguous", "cat"})
#: Spellings whose result is contiguous, whatever the table's strides.
COMPACTING = frozenset({"contiguous", "clone_contiguous", "cat"})

CUTS: dict[str, View] = named(
    {
        "none": lambda w: w,
        "detach": lambda w: w.detach(),
        "data": lambda w: w.data,
        "clone": lambda w: w.clone(),
        "detach_clone": lambda w: w.detach().clone(),
    }
)

SPELLINGS: dict[str, View] = named(
    {
        "T": lambda w: w.T,
        "t": lambda w: w.t(),
        "mT": lambda w: w.mT,
        "transpose": lambda w: w.transpose(0, 1),
        "permute": lambda w: w.permute(1, 0),
        "as_strided": lambda w: w.as_strided((w.size(1), w.size(0)), (w.stride(1), w.stride(0)), w.storage_offset()),
        "data_T": lambda w: w.data.T,
        "T_detach": lambda w: w.T.detach(),
        "contiguous": lambda w: w.T.contiguous(),
        "clone": lambda w: w.T.clone(),
        "clone_contiguous": lambda w: w.T.clone(memory_format=torch.contiguous_format),
        "cat": lambda w: torch.cat([w.T]),
        "parameter": lambda w: torch.nn.Parameter(w.T),
    },
    prefix="by_",
)


def mistake(make: Mistake, replaces: bool, weight: Tensor, x: Tensor) -> dict[str, Any]:
    target = torch.nn.Linear(weight.shape[0], weight.shape[1], dtype=weight.dtype)
    before, bits = target.weight, target.weight.detach().clone()
    try:
        made = make(target, weight, x)
    except Exception as error:
        if target.weight is not before and not replaces:
            raise AssertionError("a refused assignment replaced the weight") from error
        if not torch.equal(before, bits) or not before.requires_grad:
            raise AssertionError("a refused assignment changed the weight") from error
        raise
    return {"made": made}


def attribute(target: Module, view: Tensor, requires_grad: bool = True) -> tuple[Tensor, Call]:
    target.weight = torch.nn.Parameter(view, requires_grad=requires_grad)
    return target.weight, target


def data_(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    target.weight.data = view
    return target.weight, target


def without_grad(target: Module, view: Tensor, write: Callable[..., Any]) -> tuple[Tensor, Call]:
    with torch.no_grad():
        write(target.weight, view)
    return target.weight, target


def after(target: Module, done: Any) -> tuple[Tensor, Call]:
    """The target's weight, once something was done."""
    return target.weight, target


def functional_call(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    leaf = torch.nn.Parameter(view)
    return leaf, lambda x: torch.func.functional_call(target, {"weight": leaf}, (x,))


ASSIGNMENTS: dict[str, Assign] = named(
    {
        "attribute": attribute,
        "keyword_frozen": lambda target, view: attribute(target, view, requires_grad=False),
        "register": lambda target, view: after(target, target.register_parameter("weight", torch.nn.Parameter(view))),
        "data": data_,
        "set": lambda target, view: without_grad(target, view, torch.Tensor.set_),
        "copy": lambda target, view: without_grad(target, view, torch.Tensor.copy_),
        "load": lambda target, view: after(target, target.load_state_dict({"weight": view}, strict=False)),
        "load_assign": lambda target, view: after(
            target, target.load_state_dict({"weight": view}, strict=False, assign=True)
        ),
        "swap": lambda target, view: after(target, torch.utils.swap_tensors(target.weight, torch.nn.Parameter(view))),
        "functional_call": functional_call,
    },
    "assigned_by_",
)


def plain_tensor(target: Module, weight: Tensor, x: Tensor) -> None:
    target.weight = weight.T


MISTAKES: dict[str, Mistake] = named(
    {
        "untransposed": lambda target, weight, x: attribute(target, weight)[1](x),
        "plain_tensor": plain_tensor,
        "plain_registered": lambda target, weight, x: target.register_parameter("weight", weight.T),
        "integers_required": lambda target, weight, x: attribute(target, weight.T.long()),
        "load_untransposed": lambda target, weight, x: target.load_state_dict({"weight": weight}, strict=False),
        "load_assign_untransposed": lambda target, weight, x: target.load_state_dict(
            {"weight": weight}, strict=False, assign=True
        ),
        "copy_tracked": lambda target, weight, x: target.weight.copy_(weight.T),
        "load_other_name": lambda target, weight, x: target.load_state_dict({"weights": weight.T, "bias": target.bias}),
    }
)
#: What each mistake must raise.
RAISES = dict.fromkeys(MISTAKES, RuntimeError) | {"plain_tensor": TypeError, "plain_registered": TypeError}
