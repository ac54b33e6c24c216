"""How a layer with one table is built for a case: which flags it is given, which of its parameters is the table."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from embcheck.core.declaration import Declaration, SubjectError, folder_of, name_of
from embcheck.core.domain import Domain, Unsuited
from embcheck.subject.limits import STATED, Limits, limits_of

Size = tuple[int, int]
#: Rows and columns of the two tables that tell which parameter is the table; the later ones for constructors that refuse
#: odd widths, or small ones.
_SIZES: tuple[tuple[Size, Size], ...] = (((5, 3), (7, 4)), ((5, 4), (7, 8)), ((64, 64), (128, 128)))
#: The sizes of a table, in the order in which a factory is given them.
_NAMES = ("num_embeddings", "embedding_dim")
#: Tokens that are looked up to see how a layer is called, by their rank.
_TOKENS = {2: (2, 2), 1: (4,), 3: (2, 2, 1), 4: (1, 2, 2, 1), 0: ()}


@dataclass(frozen=True)
class Builder:
    """How a subject is built: ``limits`` are what its constructor takes, ``path`` is the usual name of the parameter that
    is the table."""

    declared: Declaration
    limits: Limits
    path: str

    @property
    def domain(self) -> Domain:
        """The declared domain without what the constructor refuses."""
        return replace(self.declared.domain, flags=tuple(sorted(self.limits.taken)), refuses=self.limits.refuses)

    def layer(self, rows: int, width: int, flags: Mapping[str, Any]) -> torch.nn.Module:
        """The subject with the flags that it takes, in the state for which it is declared.

        Raises:
            Unsuited: if it has no such table, whatever the flags, or takes no two of these flags together: its constructor
                says so.
        """
        limits = self.limits
        given = {**limits.said, **{flag: value for flag, value in flags.items() if flag in limits.taken}}
        try:
            layer: torch.nn.Module = limits.factory(rows, width, **given)
        except STATED as error:
            why = limits.of_table(rows, width, error) or limits.of_pairs(given)
            if why is not None:
                raise Unsuited(why) from None
            raise
        return layer.train() if "train" in self.declared.domain.states else layer.eval()

    def table(self, layer: torch.nn.Module, shape: tuple[int, ...]) -> torch.nn.Parameter:
        """The layer's table; its other parameters are frozen, for of them no law speaks.

        Raises:
            Unsuited: if it is not found, or has another shape.
        """
        table = table_in(layer, self.path, shape)
        if table is None:
            raise Unsuited(f"with some flags it has no parameter {self.path}, and none or several of the table's shape")
        if tuple(table.shape) != shape:
            raise Unsuited(f"its parameter {self.path} has the shape {tuple(table.shape)} where {shape} was asked for")
        for parameter in layer.parameters():
            if parameter is not table:
                parameter.requires_grad_(False)
        return table

    def script(self, ending: str) -> str:
        """What a counterexample's script says in place of a closure that builds the subject and returns ``ending``."""
        factory, limits = self.limits.factory, self.limits
        top = factory.__qualname__.split(".")[0]
        state = "" if "train" in self.declared.domain.states else ".eval()"
        return (
            f"sys.path.insert(0, {folder_of(factory.__module__)!r})\nfrom {factory.__module__} import {top}\n\n\n"
            "def build(weight, **flags):\n"
            f"    given = {dict(limits.said)} | "
            f"{{flag: value for flag, value in flags.items() if flag in {sorted(limits.taken)}}}\n"
            f"    layer = {spelled(factory)}(weight.shape[0], weight.shape[1], **given){state}.to(weight.dtype)\n"
            f'    table = table_in(layer, "{self.path}", tuple(weight.shape))\n'
            "    for parameter in layer.parameters():\n"
            "        parameter.requires_grad_(parameter is table and table.requires_grad)\n"
            f"{ending}"
        )


def table_in(layer: torch.nn.Module, path: str, shape: tuple[int, ...]) -> torch.nn.Parameter | None:
    """The parameter of that name, or the only one of that shape: with some flags a table may have another name."""
    named = dict(layer.named_parameters(remove_duplicate=False))
    if path in named:
        return named[path]
    alike = [parameter for parameter in layer.parameters() if tuple(parameter.shape) == shape]
    return alike[0] if len(alike) == 1 else None


def sizes_by_name(factory: Callable[..., Any]) -> list[str]:
    """The sizes of a table that the factory's signature takes by name only."""
    parameters = inspect.signature(factory).parameters
    return [name for name in _NAMES if name in parameters and parameters[name].kind is inspect.Parameter.KEYWORD_ONLY]


def by_position(factory: Callable[..., Any]) -> Callable[..., Any]:
    """The factory as one that is given the sizes of a table by position, whose signature and names are the same."""
    named = sizes_by_name(factory)
    if not named:
        return factory

    @functools.wraps(factory, updated=())
    def build(*sizes: int, **flags: Any) -> Any:
        given = dict(zip(_NAMES, sizes, strict=True))
        by_name = {name: given.pop(name) for name in named}
        return factory(*given.values(), **by_name, **flags)

    passed = [name if name not in named else f"{name}={name}" for name in sorted(_NAMES, key=named.__contains__)]
    call = f"(lambda {', '.join(_NAMES)}, **flags: {factory.__qualname__}({', '.join(passed)}, **flags))"
    build.__embcheck_call__ = call  # type: ignore[attr-defined]
    return build


def spelled(factory: Callable[..., Any]) -> str:
    """What a script calls, with the sizes by position."""
    return getattr(factory, "__embcheck_call__", factory.__qualname__)


def sizes_of(factory: Callable[..., Any], declared: Declaration) -> tuple[Size, Size]:
    """Rows and columns of two tables that the subject takes.

    Raises:
        ValueError, AssertionError: what its constructor says if it takes none.
    """
    rows, width, said = declared.domain.min_rows, declared.domain.min_dim, None
    for first, second in _SIZES:
        sizes = (max(first[0], rows), max(first[1], width)), (max(second[0], rows + 2), max(second[1], width + 1))
        try:
            for size in sizes:
                factory(*size)
            return sizes
        except (ValueError, AssertionError) as error:
            said = said or error
    assert said is not None
    raise said


def tokens_of(declared: Declaration) -> torch.Tensor:
    """Up to four tokens, below 3, of the rank and dtype for which a table or a bag is declared; one for rank 0."""
    domain, usual = declared.domain, (2, 1) if declared.kind == "bag" else tuple(_TOKENS)
    shape = _TOKENS[next((rank for rank in usual if domain.ranks is None or rank in domain.ranks), usual[0])]
    tokens = torch.tensor([0, 1, 1, 2])[: 4 if shape else 1].reshape(shape)
    tokens = tokens[..., : domain.max_length] if shape else tokens
    return tokens if domain.index_dtypes is None or "int64" in domain.index_dtypes else tokens.int()


def small_layer(builder: Builder) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A layer of the subject, in a dtype for which it is declared, and what it may be called with."""
    declared = builder.declared
    mode = next((mode for mode in ("sum", "mean", "max") if builder.limits.refuses("mode", mode) is None), "sum")
    layer = builder.layer(*builder.limits.size, {"mode": mode})
    if declared.domain.dtypes is not None and "float32" not in declared.domain.dtypes:
        layer.to(getattr(torch, min(declared.domain.dtypes)))
    tokens = tokens_of(declared)
    offsets = (torch.tensor([0, 2], dtype=tokens.dtype),) if declared.kind == "bag" and tokens.dim() == 1 else ()
    return layer, (tokens, *offsets)


def builder_of(factory: Callable[..., Any], declared: Declaration, flags: tuple[str, ...], model: Any) -> Builder:
    """How a subject is built that has the ``flags`` of torch's ``model``.

    Raises:
        SubjectError: if its table is not found, or a flag of its signature can't be set; one line.
    """
    sizes = sizes_of(factory, declared)
    limits = limits_of(factory, declared, flags, model, sizes[0])
    return Builder(declared, limits, table_path(factory, declared, limits.said, sizes))


def table_path(
    factory: Callable[..., Any], declared: Declaration, said: Mapping[str, Any], sizes: tuple[Size, Size]
) -> str:
    """The name of the parameter that is the table.

    Raises:
        SubjectError: if there is none, or more than one could be; one line.
    """
    name = name_of(factory)
    layers = [factory(*size, **said) for size in sizes]
    found: list[dict[str, tuple[int, ...]]] = [
        {path: tuple(p.shape) for path, p in layer.named_parameters()} for layer in layers
    ]
    shapes = found[0]
    if declared.table:
        path = next((path for path in (declared.table, f"{declared.table}.weight") if path in shapes), None)
        if path is None:
            raise SubjectError(f"{name}: no parameter {declared.table!r}; there are {', '.join(shapes) or 'none'}")
        if shapes[path] != sizes[0]:
            raise SubjectError(f"{name}: {path} has the shape {shapes[path]}; expected {sizes[0]}")
        return path
    tables = [path for path in shapes if all(each.get(path) == size for each, size in zip(found, sizes, strict=True))]
    if len(tables) == 1:
        return str(tables[0])
    listed = ", ".join(f"{path} {shape}" for path, shape in list(shapes.items())[:6]) or "none"
    line = f"{name}: expected one parameter of shape {sizes[0]}, found {len(tables)} (its parameters: {listed})"
    if tables:
        raise SubjectError(f'{line}; say which is the table: declare(table="…")')
    buffer = next((path for path, each in layers[0].named_buffers() if tuple(each.shape) == sizes[0]), None)
    if buffer is not None:
        raise SubjectError(f"{line}; {buffer} is a buffer: the table must be a Parameter, which may be frozen")
    raise SubjectError(line + _untested(found, sizes) + _AUDITED * any(map(_is_table, layers[0].modules())))


#: What takes a model with such a layer, if it finds a table in it.
_AUDITED = ": embcheck audit takes a model with it"


def _is_table(module: torch.nn.Module) -> bool:
    return isinstance(module, (torch.nn.Embedding, torch.nn.EmbeddingBag))


def _untested(found: list[dict[str, tuple[int, ...]]], sizes: tuple[Size, Size]) -> str:
    """Why layers of two sizes, of these parameters, have no table that can be tested; empty if nothing tells."""
    for path, shape in found[0].items():
        shapes = [each.get(path) for each in found]
        if shapes == [size[::-1] for size in sizes]:
            return f"; {path} is transposed, which can't be tested"
        more = shape[0] - sizes[0][0] if len(shape) == 2 else 0
        if more > 0 and shapes == [(rows + more, width) for rows, width in sizes]:
            return f"; {path} has {more} row{'s' * (more > 1)} more than num_embeddings, which can't be tested"
    matrices = [shape for shape in found[0].values() if len(shape) == 2]
    return "; a table in parts or factorised can't be tested" if len(matrices) > 1 else ""


def learns(builder: Builder) -> bool:
    """Whether the table gets a gradient once it requires one; a layer may keep it frozen.

    One that requires a gradient as it is built is taken to.
    """
    drawn = torch.get_rng_state()
    try:
        layer, given = small_layer(builder)
        try:
            table = builder.table(layer, builder.limits.size)
        except Unsuited:  # each case says so
            return True
        if table.requires_grad:
            return True
        table.requires_grad_()
        with torch.enable_grad():
            return bool(layer(*given).requires_grad)
    finally:
        torch.set_rng_state(drawn)
