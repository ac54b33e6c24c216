"""What the author of a layer says of it: which laws it is about, what it has not, and what it makes of its weight.

    @embcheck.declare(scale=math.sqrt, lacks={"sparse": "the optimizer of this model takes dense gradients only"})
    class ScaledEmbedding(torch.nn.Module): ...

Nothing has to be declared of a class whose constructor is ``(num_embeddings, embedding_dim, **flags)`` and which looks
rows of its one table up: the flags that it takes are read off its signature.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import entry_points
from numbers import Real
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeVar

from embcheck.core.configuration import ConfigurationError, named_subjects, table
from embcheck.core.domain import PARTS, USUAL, Domain
from embcheck.core.result import cut
from embcheck.core.weight_map import Mathematics, affine

F = TypeVar("F", bound=Callable[..., Any])

#: What a subject may be, and what its factory is called with.
KINDS = {
    "table": "(num_embeddings, embedding_dim, **flags) -> module(indices)",
    "bag": "(num_embeddings, embedding_dim, mode=…, **flags) -> module(indices, offsets, per_sample_weights)",
    "conversion": "(embedding) -> linear, its weight the transposed table",
    "tied": "(num_embeddings, embedding_dim, **flags) -> model with an embedding and a head of one weight",
}
#: What can be said of a subject of each kind that it lacks or sets itself.
FLAGS: dict[str, tuple[str, ...]] = {
    "table": ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"),
    "bag": ("mode", "include_last_offset", "padding_idx", "scale_grad_by_freq", "sparse", "per_sample_weights"),
    "conversion": (),
    "tied": ("padding_idx", "scale_grad_by_freq", "sparse", "bias"),
}
#: What only some kinds can be declared to have.
_OF_KINDS: dict[str, tuple[str, ...]] = {
    "table": ("table", "bag", "tied"),
    "head": ("tied",),
    "copies": ("conversion",),
    "product": ("table",),
    **dict.fromkeys(("scale", "offset", "mathematics"), ("table",)),
    "ranks": ("table", "bag"),
    "max_length": ("table",),
    "dtypes": ("table", "bag", "conversion"),
    "modes": ("table", "bag"),
    "finite": ("table", "bag", "conversion"),
    "random": ("table", "bag"),
}
#: The environment variable that names the subject to every process of a run.
VARIABLE = "EMBCHECK_SUBJECT"
#: The group of entry points that name subjects.
GROUP = "embcheck.subjects"
_ATTRIBUTE = "__embcheck__"


class SubjectError(ValueError):
    """A subject that can't be found, built or called; the message says what was wrong and what would be right."""


@dataclass(frozen=True)
class Declaration:
    """What a subject is.

    ``kind`` is one of `KINDS`; ``lacks`` gives the reason for each flag that it has not; ``fixed`` the value of each
    flag that it sets itself; ``mathematics`` what it makes of its weight (None: nothing).  ``table`` is the name of the
    parameter that is the table (empty: the one of its shape); of a tied model ``table`` and ``head`` are the paths of
    its embedding and its head.  ``copies`` says that a conversion has memory of its own, ``product`` that rows are
    selected by a product with one-hot vectors, of numbers that are finite; ``domain`` for what it is right.
    """

    kind: str = "table"
    lacks: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    mathematics: Mathematics | None = None
    table: str = ""
    head: str = "head"
    copies: bool = False
    product: bool = False
    domain: Domain = USUAL


def declare(
    kind: str = "table",
    *,
    lacks: Mapping[str, str] | None = None,
    fixed: Mapping[str, Any] | None = None,
    scale: Callable[[int], float] | float = 1.0,
    offset: Callable[[int], float] | float = 0.0,
    mathematics: Mathematics | None = None,
    table: str = "",
    head: str = "",
    copies: bool = False,
    product: bool = False,
    **domain: Any,
) -> Callable[[F], F]:
    """Declares the decorated factory, or the class and those that inherit from it.

    ``scale`` and ``offset`` are numbers or functions of embedding_dim.

    ``domain`` is for what it is right; the rest is not asked of it: ``ranks={2}`` of indices, ``max_length=512`` of their last
    axis, ``dtypes={"float32", "int64"}`` of tables and indices, ``min_dim=`` and ``min_rows=`` of tables (1; 0 asks for tables
    without any too), ``modes={"eval"}``, ``finite=True`` (neither NaN nor infinity) and ``random=True`` (equal calls may differ).

    Raises:
        SubjectError: for an unknown kind or keyword, a flag or a part of the domain that this kind has not, a scale or an
            offset that is no number, or one beside ``mathematics``.
    """
    if kind not in KINDS:
        raise SubjectError(f"no kind of subject {kind!r}; there are {', '.join(KINDS)}")
    if unknown := sorted({*(lacks or {}), *(fixed or {})} - {*FLAGS[kind]}):
        there = ", ".join(FLAGS[kind]) or "none"
        raise SubjectError(f"a {kind} has no flag {', '.join(map(repr, unknown))}; there are {there}")
    scaled = {"scale": callable(scale) or scale != 1.0, "offset": callable(offset) or offset != 0.0}
    said = {"table": table, "head": head, "copies": copies, "product": product} | scaled | domain
    said["mathematics"] = mathematics is not None
    for name, kinds in _OF_KINDS.items():
        if said.get(name) and kind not in kinds:
            raise SubjectError(f"{name}= is declared of a {' or a '.join(kinds)}, not of a {kind}")
    if strange := sorted(domain.keys() - PARTS):
        close = get_close_matches(strange[0], [*PARTS, *_OF_KINDS, *inspect.signature(declare).parameters], 1)
        raise SubjectError(f"no {strange[0]}= to declare" + (f"; did you mean {close[0]}=?" if close else ""))
    for name, number in (("scale", scale), ("offset", offset)):
        if not (callable(number) or isinstance(number, Real)):
            raise SubjectError(f"{name}={number!r}: expected a number or a function of embedding_dim")
    if any(scaled.values()) and mathematics is not None:
        raise SubjectError("give either scale and offset, or mathematics, which says all")
    try:
        within = Domain.declared(**domain)
    except ValueError as error:
        raise SubjectError(str(error)) from None
    table, head = table or ("embedding" if kind == "tied" else ""), head or "head"
    made = affine(scale, offset) if any(scaled.values()) else mathematics
    declared = Declaration(kind, dict(lacks or {}), dict(fixed or {}), made, table, head, copies, product, within)

    def mark(factory: F) -> F:
        setattr(factory, _ATTRIBUTE, declared)
        return factory

    return mark


def declaration_of(factory: Any) -> Declaration:
    """What was declared of a class or factory; else of the next class that it inherits from, whose forward it has too."""
    found = inspect.getattr_static(factory, _ATTRIBUTE, None)
    return found if isinstance(found, Declaration) else Declaration()


def no_factory(found: Any) -> str:
    """What is wrong with what is neither a class nor a function; empty for these."""
    if callable(found) and hasattr(found, "__qualname__"):
        return ""
    got = f"the text {found!r}" if isinstance(found, str) else f"an instance of {type(found).__name__}"
    partial = isinstance(found, functools.partial)
    return f"expected a class or a function, got {'a partial (wrap it in a function)' if partial else got}"


def name_of(factory: Any) -> str:
    """``module:qualified name``, which finds the subject again."""
    return f"{getattr(factory, '__module__', '?')}:{getattr(factory, '__qualname__', type(factory).__name__)}"


def unimportable(subject: str) -> str:
    """Why no other program can import a subject of that name; empty if it may."""
    if subject.endswith("<lambda>"):
        return "a lambda can't be imported"
    return f"`{subject.rpartition('.')[2]}` is defined in a function and can't be imported" if "<" in subject else ""


def folder_of(module: str) -> str:
    """The folder from which a module is imported; "." of one that has no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        return "."
    path = Path(file).absolute()
    return str(path.parents[module.count(".") + (path.name == "__init__.py")])


def is_subject(entry: str) -> bool:
    """Whether an entry of a case is a user's, as `name_of` calls it, and not one of torch's own."""
    return ":" in entry


def subject_of(case: Any) -> str:
    """The name of the user's subject that a case asks; empty if it asks torch."""
    named = (getattr(case, axis, "") for axis in ("entry", "tie", "structure", "assign"))
    return next((name for name in named if isinstance(name, str) and is_subject(name)), "")


def takes(factory: Any, flags: tuple[str, ...]) -> frozenset[str]:
    """Those of ``flags`` that the factory's signature takes."""
    parameters = inspect.signature(factory).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return frozenset(flag for flag in flags if open_ended or flag in parameters)


def passed(factory: Any, declared: Declaration, flags: tuple[str, ...]) -> frozenset[str]:
    """Those of ``flags`` that a subject is built with: that it takes, and is declared neither to lack nor to set itself."""
    return takes(factory, flags) - declared.lacks.keys() - declared.fixed.keys()


def unlike(factory: Any, model: Any, flags: Collection[str]) -> dict[str, Any]:
    """Those defaults of ``model`` that must be said to the factory, whose signature has others for these ``flags``."""
    usual, own = inspect.signature(model).parameters, inspect.signature(factory).parameters
    return {
        flag: usual[flag].default
        for flag in sorted(flags)
        if flag in usual and flag in own and own[flag].default != usual[flag].default
    }


def imported(place: str, what: str) -> Any:
    """What stands at ``module:name``; modules of the working directory are found.

    Raises:
        SubjectError: if there is nothing, or importing it raises; the message is one line that calls it ``what``.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return resolve_name(place)
    except ModuleNotFoundError as error:
        name, _, factory = place.partition(":")
        hint = f"; for a file write {Path(name).stem}:{factory}" if name.endswith(".py") else ""
        raise SubjectError(f"{what} {place!r}: no module {error.name!r}{hint}") from None
    except AttributeError:
        module, _, attribute = place.partition(":")
        raise SubjectError(f"{what} {place!r}: module {module!r} has no {attribute!r}") from None
    except Exception as error:
        reason = ": ".join([type(error).__name__, *(cut(line, 200) for line in str(error).strip().splitlines()[:1])])
        raise SubjectError(f"{what} {place!r}: importing it raised {reason}") from None


def resolve(name: str, folder: Path | None = None) -> Any:
    """The class or factory of a name: ``module:factory``, or one that a pyproject.toml or an entry point gives it.

    Raises:
        SubjectError: if there is none; the message has no more than one line.
    """
    known = configured(folder or Path.cwd())
    place = known.get(name, name)
    if ":" not in place:
        there = ", ".join(sorted(known)) or "none"
        raise SubjectError(f"no subject {name!r}: expected module:factory, or a name that is configured ({there})")
    found = imported(place, "subject")
    if wrong := no_factory(found):
        raise SubjectError(f"subject {place!r}: {wrong}")
    return found


def configured(folder: Path) -> dict[str, str]:
    """Subjects by name: those of installed packages, then those of the nearest pyproject.toml upwards.

    Raises:
        SubjectError: for a pyproject.toml that can't be read, or a table of another form.
    """
    found = {point.name: point.value for point in entry_points(group=GROUP)}
    try:
        return found | named_subjects(*table(folder))
    except ConfigurationError as error:
        raise SubjectError(str(error)) from None
