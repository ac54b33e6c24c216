"""Sites: what drawn faults spoil, kernels and functions of Python's, and the calls of each."""

import functools
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

Tensor = torch.Tensor
Arguments = Mapping[str, Any]
Facts = dict[str, Any]


class Call(NamedTuple):
    """A call of a site: what it was given, its facts, the matrix that the call before gave, if it had one, and what else it
    may change, as it was ``before``."""

    given: Arguments
    facts: Facts
    previous: Tensor | None = None
    before: Mapping[str, Any] = {}


class Site(NamedTuple):
    """What is spoiled: a kernel of the dispatcher's CPU key, ``aten:name``, or a function or method of Python's,
    ``module:owner.name``, found once it is asked for.  A *traced* site is what a kernel is replaced by in a graph.

    ``tell`` gives the facts of a call, or None if the call must be refused or is none that a condition speaks of.
    ``kind`` says what a call leaves: a *kernel* what it returns, or what it ``writes``; *value* returns tensors, *leaf* a
    Parameter, *numbers* or *mapping* what they are called; *written* changes tensors among its arguments, those of
    ``writes``, *optimizer* its states, *module* its module or the one that it returns; what a *transform* returns is a
    function, whose calls are spoiled.  ``rows`` and ``columns`` name the facts that say how large the matrix is that comes
    out, where there are such.
    """

    name: str
    place: str
    kind: str
    writes: str
    tell: Callable[[Arguments], Facts | None]
    rows: str = ""
    columns: str = ""
    floating: bool = True

    @property
    def in_place(self) -> bool:
        """Whether it writes to what it is given."""
        return bool(self.writes) or self.kind in ("module", "optimizer")

    @property
    def afterwards(self) -> bool:
        """Whether facts are told of what comes out: what goes in are bytes, or a module that has nothing yet."""
        return self.name in {"pickle.loads", "Module.__setstate__"}

    @property
    def owner(self) -> Any:
        return pkgutil.resolve_name(self.place.rpartition("." if "." in self.place.partition(":")[2] else ":")[0])

    @property
    def attribute(self) -> str:
        return self.place.partition(":")[2].rpartition(".")[2]

    @property
    def operator(self) -> Any:
        """The operator of a kernel, or of what stands for one in a graph."""
        name, _, overload = self.place.partition(":")[2].partition(".")
        return getattr(getattr(torch.ops.aten, name), overload or "default")

    @property
    def signature(self) -> inspect.Signature:
        return _signature(self)

    def facts(self, given: Arguments, result: Any = None) -> Facts | None:
        """The facts of a call; None of one that copies or loads no module."""
        given = {"result": result} if self.afterwards and result is not None else given
        if self.kind == "module" and "cls" not in given and self.module(given, None) is None:
            return None
        return self.tell(given)

    def module(self, given: Arguments, result: Any) -> nn.Module | None:
        """The module that a call changes."""
        values = result if isinstance(result, (list, tuple)) else [result]
        return next((each for each in (*values, *given.values()) if isinstance(each, nn.Module)), None)

    def written(self, given: Arguments, result: Any) -> list[Tensor]:
        """The tensors that a call writes to, or what is to be read of what it returns."""
        if self.kind == "module":
            module = self.module(given, result)
            if module is None or "_parameters" not in vars(module):
                return []
            return [*module.parameters(), *module.buffers()]
        if self.kind == "optimizer":
            return [each for each in tree_leaves(list(given["self"].state.values())) if isinstance(each, torch.Tensor)]
        if not self.writes:
            return []
        name, _, attribute = self.writes.partition(".")
        found = given[name]
        if isinstance(found, torch.optim.Optimizer):
            found = [each for group in found.param_groups for each in group["params"]]
        found = [found] if isinstance(found, torch.Tensor) else list(found)
        found = [getattr(each, attribute) for each in found] if attribute else found
        return [each for each in found if each is not None]


#: The arguments of functions that are written in C and don't tell them.
_UNTOLD: Mapping[str, Callable[..., None]] = {
    "linear": lambda input, weight, bias=None: None,
    "loads": lambda data: None,
    "one_hot": lambda tensor, num_classes=-1: None,
}


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function, of those too that have none of their own."""
    return inspect.signature(_UNTOLD.get(getattr(function, "__name__", ""), function))


@functools.cache
def _signature(site: Site) -> inspect.Signature:
    if site.kind in {"kernel", "traced"}:
        kinds, none = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY), inspect.Parameter.empty
        return inspect.Signature([
            inspect.Parameter(each.name, kinds[each.kwarg_only], default=each.default_value if each.has_default_value() else none)
            for each in site.operator._schema.arguments
        ])  # fmt: skip
    raw = inspect.getattr_static(site.owner, site.attribute)
    return signature_of(inspect.unwrap(getattr(raw, "__func__", raw)))


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype without the module's."""
    return str(dtype).removeprefix("torch.")


def layout(tensor: Tensor) -> str:
    """How a tensor lies in memory: contiguous, expanded, rows_strided (its last axis is dense), transposed or strided."""
    if tensor.layout is not torch.strided or tensor.is_contiguous():
        return "contiguous"
    if any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)):
        return "expanded"
    if tensor.dim() >= 2 and tensor.stride(-1) == 1:
        return "rows_strided"
    return "transposed" if tensor.dim() >= 2 and tensor.stride(-2) == 1 else "strided"
