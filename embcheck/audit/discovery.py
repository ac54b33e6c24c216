"""What a model is made of, as far as embeddings go: tables, the head, what is tied and what ought to be.

Found by itself: from getters, from names and types, and from what the forward pass reads.
"""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import dataclass, field
from typing import Any

import torch

from embcheck.audit import hf
from embcheck.audit.factory import Source, compiled, fresh, made
from embcheck.audit.finding import told
from embcheck.audit.program import Calls, Inputs, Model, answer, base_of, call, ids_in, named, same, weighted_loss
from embcheck.audit.program_uses import Uses
from embcheck.audit.program_value import part
from embcheck.core.facts import grouped

#: The modules that look up rows of a table of theirs.
LOOKUPS = (torch.nn.Embedding, torch.nn.EmbeddingBag)
#: The number of ids in each row that is fed where a factory gives no inputs, and of rows of a table that was not found.
_LENGTH = 8


@dataclass
class Facts:
    """What a law needs to know.

    ``table`` and ``head`` are the names of the weights, ``path`` the module of the table, and ``transposed`` says that its
    weight has a column for each token.  ``others`` are the tables, each with its padding_idx, that may hold the tokens as
    well, for nothing but their sizes tells.  ``pairs`` are names that ``expected`` ("tied", "untied" or "any") speaks of, and
    ``said`` tells from what that was inferred.
    """

    cls: str
    parameters: int
    table: str = ""
    path: str = ""
    rows: int = 0
    width: int = 0
    transposed: bool = False
    padding: int | None = None
    others: dict[str, int | None] = field(default_factory=dict)
    head: str = ""
    getter: bool = False
    expected: str = "any"
    said: str = ""
    pairs: list[tuple[str, str]] = field(default_factory=list)
    tied: bool = False
    tables: list[str] = field(default_factory=list)
    padded: list[str] = field(default_factory=list)
    forward: str = ""
    exact: bool = False
    trains: bool = False
    untrained: str = ""
    resizable: bool = False
    pretrained: bool = False
    embeds: bool = False
    meta: bool = False
    flippable: bool = False
    compiled: bool = False
    random: bool = False
    given: bool = False

    @property
    def compares(self) -> bool:
        """Whether the answers of two models with the same table can be compared."""
        return self.exact and not self.forward and bool(self.table)

    @property
    def likely(self) -> dict[str, int | None]:
        """The table and the others that may hold the tokens, each with its padding_idx."""
        return {self.table: self.padding, **self.others} if self.table else {}


def explored(source: Source, expect: str, variant: str) -> Facts:
    was_compiled = compiled(source)
    model, given = made(source, variant)
    model.eval()
    facts = Facts(type(model).__name__, sum(p.numel() for p in model.parameters()))
    facts.meta = any(p.device.type == "meta" for p in model.parameters())
    facts.compiled, facts.given = was_compiled, given is not None
    _tables(model, facts)
    if not facts.getter:
        _looked_up(made(source, variant)[0].eval(), facts, given)
    if not facts.table and facts.tables:
        likely = _likeliest(made(source, variant)[0].eval(), facts.tables, given)
        first, *rest = (part(model, path) for path in likely)
        _describe(model, facts, first, likely[0])
        facts.others = {name: _padding_of(module) for module in rest if (name := _weight_of(model, module))}
    inputs = inputs_of(given, facts.rows, facts.padding)
    _head(model, facts, inputs)
    _expectation(model, facts, expect)
    _behaviour(source, variant, facts, inputs)
    facts.getter &= bool(facts.table)
    facts.resizable = callable(getattr(model, "resize_token_embeddings", None)) and facts.getter
    facts.pretrained = all(callable(getattr(model, name, None)) for name in ("save_pretrained", "from_pretrained"))
    facts.embeds = (
        "inputs_embeds" in inspect.signature(model.forward).parameters and "input_ids" in inputs and facts.getter
    )
    facts.flippable = source["kind"] == "hf" and bool(facts.head) and hf.flippable(source)
    return facts


def inputs_of(given: Inputs | None, rows: int, padding: int | None) -> Inputs:
    """The inputs that came with the model, or two rows of ids of a table of so many rows, none of them the padding token."""
    if given is not None:
        return given
    rows = rows or _LENGTH
    ids = (torch.arange(2 * _LENGTH) * 3 + 1) % max(rows - 1, 1)
    if padding is not None:
        ids[ids == padding] = (padding + 1) % max(rows, 1)
    return {"0": ids.reshape(2, _LENGTH)}


def _tables(model: Model, facts: Facts) -> None:
    """Every nn.Embedding and nn.EmbeddingBag, and the table of the tokens if the model's getter returns it."""
    paths = {id(module): path for path, module in reversed(list(model.named_modules(remove_duplicate=False)))}
    tables = [m for m in model.modules() if isinstance(m, LOOKUPS)]
    facts.tables = [paths[id(module)] for module in tables]
    facts.padded = [paths[id(m)] for m in tables if isinstance(m.padding_idx, int) and m.weight.device.type != "meta"]
    getter = getattr(model, "get_input_embeddings", None)
    with contextlib.suppress(NotImplementedError):
        table = getter() if callable(getter) else None
        if _is_table(table):
            facts.getter = True
            _describe(model, facts, table, paths.get(id(table), ""))


def _describe(model: Model, facts: Facts, table: Any, path: str) -> None:
    facts.path, facts.table, facts.padding = path, _weight_of(model, table), _padding_of(table)
    facts.rows, facts.width = table.weight.shape


def _looked_up(model: Model, facts: Facts, given: Inputs | None) -> None:
    """As tables the Parameters that F.embedding is called with for the model's own ids, if they are in modules of the author's.

    If the model has no other tables: for whatever ids.
    """
    inputs, calls = inputs_of(given, 0, None), Calls()
    with contextlib.suppress(Exception), calls:
        answer(model, inputs)
    names = {id(parameter): name for name, parameter in reversed(named(model).items())}
    held = {id(part(model, path).weight) for path in facts.tables}
    asked = [given for name, given, _ in calls.made if name == "embedding" and id(base_of(given[1])) in names]
    own = [one for one in asked if any(same(one[0], v) for v in ids_in(inputs))]
    if held and any(id(base_of(weight)) in held for _, weight, *_ in own):
        return
    for _, weight, padding, *_ in own if held else own or asked:
        name, row = names[id(base_of(weight))], None if padding is None else padding % len(weight)
        if not facts.table:
            facts.table, facts.padding, (facts.rows, facts.width) = name, row, weight.shape
            facts.transposed = weight.stride() == base_of(weight).stride()[::-1] and weight is not base_of(weight)
        elif name != facts.table:
            facts.others.setdefault(name, row)


def _padding_of(module: Any) -> int | None:
    padding = getattr(module, "padding_idx", None)
    return padding if isinstance(padding, int) else None


def _likeliest(model: Model, paths: list[str], given: Inputs | None) -> list[str]:
    """The tables that are likeliest to hold the tokens: several if nothing but their sizes tells, that of most rows first.

    A table of positions may have more rows than that of the tokens.
    """
    weights = {path: part(model, path).weight for path in paths}
    # Modules that share a weight are one table.
    different = [group[0] for group in grouped(paths, lambda path: id(weights[path])).values()]
    if len(different) == 1:
        return different
    signs = {path: _signs(model, path, given) for path in different}
    likely = [path for path in different if signs[path] == max(signs.values())]
    return sorted(likely, key=lambda path: -len(weights[path]))


def _signs(model: Model, path: str, given: Inputs | None) -> tuple[bool, ...]:
    """What speaks for a table as that of the tokens, the strongest sign first.

    Its rows are looked up by the very ids that the model is given; it is multiplied by, as a head's weight is; the answer
    has an entry for each of its rows; a Linear has its shape; it is called so.
    """
    module = part(model, path)
    weight, width = module.weight, 0
    inputs = inputs_of(given, len(weight), _padding_of(module))
    uses = Uses(weight)
    with contextlib.suppress(Exception), uses:
        width = call(model, inputs).shape[-1]
    ids = [v.reshape(-1).long().sort().values for v in ids_in(inputs)]  # sorted, for a model may turn its inputs round
    asked = [use["ids"].sort().values for use in uses.lookups]
    return (
        any(torch.equal(one, other) for one in asked for other in ids if len(one.unique()) > 1),
        bool(uses.products)
        or any(getattr(m, "weight", None) is weight for m in model.modules() if not isinstance(m, LOOKUPS)),
        width == len(weight),
        any(isinstance(m, torch.nn.Linear) and m.weight.shape == weight.shape for m in model.modules()),
        any(word in path.lower() for word in ("tok", "word", "wte", "shared")),
    )


def _weight_of(model: Model, module: Any) -> str:
    """The name of a module's weight: by its own path, if that is one of the model's names."""
    path = next((path for path, one in model.named_modules(remove_duplicate=False) if one is module), "")
    others = [name for name, parameter in named(model).items() if parameter is module.weight]
    return next((name for name in (f"{path}.weight", *others) if name in named(model)), "")


def _is_table(thing: Any) -> bool:
    weight = getattr(thing, "weight", None)
    return isinstance(thing, torch.nn.Module) and isinstance(weight, torch.Tensor) and weight.dim() == 2


def _head(model: Model, facts: Facts, inputs: Inputs) -> None:
    """The weight whose product with the hidden states are the logits."""
    # Of a weight that is tied a name that is not the table's, if it has one.
    listed = sorted(named(model).items(), key=lambda each: each[0] != facts.table)
    names = {id(parameter): name for name, parameter in listed}
    calls, width = Calls(), 0
    try:
        with calls:
            logits = answer(model, inputs)
        width = logits.shape[-1] if logits.dim() else 0
    except Exception as error:
        facts.forward = f"its forward pass raises {told(error)}"
        calls.made.clear()
    getter = getattr(model, "get_output_embeddings", None)
    head: Any = getter() if callable(getter) else None
    if isinstance(getattr(head, "weight", None), torch.Tensor):
        facts.head = _weight_of(model, head)
        return
    with_graph = Calls()
    with contextlib.suppress(Exception), with_graph:
        call(model, inputs)
    read = [[base_of(matrix)] for matrix in _multiplied(calls, width)]
    # What is multiplied may be computed from the weight: normalised, say.
    computed = [_leaves(matrix) for matrix in _multiplied(with_graph, width) if facts.rows in matrix.shape]
    for leaves in (*read, *computed):
        of_tokens = {names[id(one)] for one in leaves if id(one) in names and facts.rows in one.shape}
        if len(of_tokens) == 1:
            facts.head = of_tokens.pop()
            return
    table = named(model).get(facts.table)
    if table is not None and any(base_of(matrix) is table for matrix in _multiplied(calls, facts.rows)):
        facts.head = names[id(table)]  # what is told of the tokens is reduced
        return
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module.weight.shape == (facts.rows, facts.width):
            facts.head = f"{path}.weight"


def _multiplied(calls: Calls, width: int) -> list[Any]:
    """The matrices of the products whose results have so many columns, the last one first."""
    made = [(given[1], out) for name, given, out in calls.made if name in ("linear", "matmul", "__matmul__", "mm")]
    return [matrix for matrix, out in reversed(made) if out.shape[-1] == width]


def _leaves(tensor: Any) -> list[Any]:
    """The tensors from which one is computed, as far as its graph tells."""
    found, seen, stack = [], set(), [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found += [node.variable] if hasattr(node, "variable") else []
            stack += [following for following, _ in node.next_functions]
    return found


def _expectation(model: Model, facts: Facts, expect: str) -> None:
    """Whether table and head ought to be one Parameter, and who says so."""
    parameters = named(model)
    pair = [(facts.head, facts.table)] if facts.head and facts.table else []
    alike = pair and facts.head in parameters and parameters[facts.head].shape == parameters[facts.table].shape
    flag, place = _flag(model)
    declared = getattr(model, "_tied_weights_keys", None) or {}
    facts.tied = bool(pair) and parameters.get(facts.head) is parameters.get(facts.table)
    if expect in ("tied", "untied"):
        facts.expected, facts.said, facts.pairs = expect, f"--expect {expect}", pair
    elif expect == "any":
        facts.said = "--expect any"
    elif flag is True:
        expand = getattr(model, "get_expanded_tied_weights_keys", None)
        keys = list(expand(all_submodels=True).items()) if callable(expand) else _listed(declared, facts)
        facts.expected, facts.said = "tied", f"{place} is True"
        # A head may be tied to another table than that of the getter: of the decoder, say.
        held = [part(model, path).weight for path in facts.tables]
        here = facts.tied or all(weight is not parameters.get(facts.head) for weight in held)
        facts.pairs = list(dict.fromkeys([*keys, *(pair if alike and here else [])]))
    elif flag is False:
        facts.expected, facts.said = "untied", f"{place} is False"
        facts.pairs = pair if alike or facts.tied else []
    elif declared:
        facts.expected, facts.said = "tied", "_tied_weights_keys"
        facts.pairs = _listed(declared, facts)
    elif pair:
        facts.said = "the model does not say whether it should be tied"


def said_by(holder: Any, name: str) -> Any:
    """What a configuration has under a name, be it a dict or not; None if it has nothing."""
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _flag(model: Model) -> tuple[bool | None, str]:
    """Whether a flag of the model's configuration says that it is tied, and which flag; one that says yes goes before others.

    Those of fairseq are in ``args`` or ``cfg``: either of the two ties the decoder's table to the head.
    """
    found = [
        (flag, f"{holder}.{name}")
        for holder in ("config", "args", "cfg")
        for name in ("tie_word_embeddings", "share_decoder_input_output_embed", "share_all_embeddings")
        if isinstance(flag := said_by(getattr(model, holder, None), name), bool)
    ]
    return max(found, key=lambda each: each[0], default=(None, ""))


def _listed(declared: Any, facts: Facts) -> list[tuple[str, str]]:
    if isinstance(declared, dict):
        return list(declared.items())
    return [(name, facts.table) for name in declared if name != facts.table]


def _behaviour(source: Source, variant: str, facts: Facts, inputs: Inputs) -> None:
    """Whether the forward pass works, gives the same bits each time, and has a graph."""
    if facts.forward or facts.meta:
        facts.forward = facts.forward or "it has parameters without memory (meta)"
        return
    one, other = fresh(source, variant), fresh(source, variant)
    equal = all(same(p.detach(), named(other)[n].detach()) for n, p in named(one).items() if n in named(other))
    if not equal:
        facts.forward = "its factory builds another model each time, although the seeds are set"
        return
    first = answer(one, inputs)
    facts.exact = same(first, answer(one, inputs)) and same(first, answer(other, inputs))
    facts.random = facts.exact and not same(first, answer(one, inputs, seed=1))
    try:
        weighted_loss(one, inputs).backward()
        facts.trains = True
    except Exception as error:
        facts.untrained = f"its backward pass raises {told(error)}"
