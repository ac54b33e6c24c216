"""Membership: a module lists its parts in order, under every name, shared ones once, and its state holds them all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck import stream
from embcheck.comparison import every, identical, is_true, same, unwritten
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.module.membership import CONVERSIONS, build, membered
from embcheck.module.membership_case import DTYPES, TREES, Membership, grow, kind
from embcheck.outcome import Field, Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space

PREFIXES = ("", "m", "m.", "a.b", "a.b.")


def plan(case: Membership) -> Plan:
    options = {
        "build": build,
        "nodes": tuple(case.parts.values()),
        "frozen": case.frozen,
        "evaluating": case.evaluating,
        "dtype": case.dtype,
        "prefix": case.prefix,
        "convert": CONVERSIONS[case.convert],
        "swapped": case.swapped,
        "grads": case.grads,
    }
    return Plan(membered, {"table": case.weight, "digits": case.digits}, options)


def canonical(case: Membership) -> Membership | None:
    """The case with a layout in which a table can be converted, and frozen tensors that are there."""
    there = {tensor for _, _, tensors, _ in case.parts.values() for _, tensor in tensors}
    changes: dict[str, Any] = {"frozen": tuple(name for name in case.frozen if name in there)}
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "tree": tuple(TREES),
    "prefix": PREFIXES,
    "evaluating": (False, True),
    "frozen": ((), ("table",), ("p_bias", "p_scale")),
    "convert": tuple(CONVERSIONS),
    "swapped": (False, True),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "grads": ("", "dense", "sparse"),
}


def scope() -> Iterator[Membership]:
    """Every tree with every prefix and conversion, training or not; trees that grow at random."""
    for tree, prefix, evaluating in itertools.product(TREES, PREFIXES, (False, True)):
        yield Membership(tree, prefix, evaluating)
    for tree, convert, grads in itertools.product(TREES, CONVERSIONS, ("dense", "sparse")):
        yield Membership(tree, convert=convert, swapped=grads == "sparse", grads=grads)
    for seed in range(64):
        yield Membership(nodes=grow(stream.Stream(seed)), prefix=PREFIXES[seed % len(PREFIXES)], seed=seed)


def draw(draws: stream.Stream) -> Membership | None:
    """A random tree, and each axis at any value."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    nodes = grow(draws) if draws.chance(2) else ()
    return canonical(Membership(**chosen, nodes=nodes, seed=draws.between(0, 255)))


membership = Family(
    "membership",
    Space(Membership, AXES, canonical, scope, flags=("tree", "convert", "dtype"), draw=draw, strength=2),
    plan,
    cost=6.0,
)
law = membership.law


def names(case: Membership) -> list[str]:
    """The Parameters, each once."""
    return [tensor for _, tensor in case.tensors("parameters", "", True, True)]


@law(
    "parameters(), named_parameters(), buffers() and named_buffers() list what there is: in order, shared things once, or "
    "under each name; below a prefix; with or without what lies deeper.",
    source="nn.Module.named_parameters: prefix, recurse, remove_duplicate",
    obliges={"shared_tensor", "shared_module", "deep", "nameless", "prefix=a.b", "tree=buffers", "tree=void"},
)
def tensors_are_listed(case: Membership, out: Outcome) -> Finding:
    findings = []
    for what, (word, recurse) in itertools.product(("parameters", "buffers"), (("deep", True), ("own", False))):
        plain = [tensor for _, tensor in case.tensors(what, "", recurse, True)]
        findings.append(same(getattr(out, f"{what}_{word}"), plain))
        for once, removed in (("once", True), ("all", False)):
            got = getattr(out, f"named_{what}_{word}_{once}")
            findings.append(same(got, case.tensors(what, case.prefix, recurse, removed)))
    return every(*findings)


@law(
    "modules(), named_modules(), children() and named_children() list what there is, parents first, shared ones once.",
    source="nn.Module.named_modules: remove_duplicate; named_children",
    obliges={"shared_module", "deep", "nameless"},
)
def modules_are_listed(case: Membership, out: Outcome) -> Finding:
    return every(
        same(out.modules, [node for _, node in case.modules("", True)]),
        same(out.named_modules_once, case.modules(case.prefix, True)),
        same(out.named_modules_all, case.modules(case.prefix, False)),
        same(out.children, [child for _, child in case.children]),
        same(out.named_children, case.children),
        is_true(out.gets, "get_submodule, get_parameter or get_buffer gave another thing"),
    )


@law(
    "apply() calls the function on children before their parents, and returns the module.",
    source="nn.Module.apply: applied recursively to every submodule as well as self",
    obliges={"shared_module"},
)
def apply_goes_upwards(case: Membership, out: Outcome) -> Finding:
    return every(same(out.applied, case.applied()), is_true(out.applied_to_itself, "apply() returned another module"))


@law(
    "state_dict() has parameters, then persistent buffers, then the children's, under every name; as they lie in memory; "
    "detached, or themselves with keep_vars.",
    source="nn.Module.state_dict: prefix, keep_vars, destination; register_buffer: persistent",
    obliges={"shared_tensor", "shared_module", "frozen", "prefix=m.", "layout=transposed", "tree=buffers"},
)
def state_holds_every_name(case: Membership, out: Outcome) -> Finding:
    wanted = case.state(case.prefix)
    count = len(wanted)
    grads = [tensor.startswith(("table", "p")) and tensor not in case.frozen for _, tensor in wanted]
    findings = []
    for word, kept in (("plain", False), ("kept", True)):
        findings += [
            same(getattr(out, f"state_{word}"), wanted),
            same(getattr(out, f"state_{word}_same"), [kept] * count),
            same(getattr(out, f"state_{word}_graph"), grads if kept else [False] * count),
            same(getattr(out, f"state_{word}_kinds"), [case.described(tensor) for _, tensor in wanted]),
            same(getattr(out, f"state_{word}_metadata"), sorted(set(case.metadata(case.prefix)))),
            same(getattr(out, f"state_{word}_type"), "OrderedDict"),
        ]
    names = [name for name, _ in case.state("")]
    bare = [name for name, tensor in case.state("") if kind(tensor) == "parameters"]
    return every(
        *findings,
        same(out.without, bare),
        same(out.restored, names),
        same(out.simple, (names, "OrderedDict", sorted(set(case.metadata(""))))),
        is_true(out.versions, "a module's metadata has no version"),
        is_true(out.destination, "another dict than the given one was returned"),
        same(out.destination_keys, list(dict.fromkeys(["before", *(name for name, _ in wanted)]))),
    )


@law(
    "eval() and train(mode) reach every module; what is no bool is refused and changes nothing.",
    source="nn.Module.train",
    obliges={"deep", "evaluating"},
)
def modes_reach_every_module(case: Membership, out: Outcome) -> Finding:
    count = len(case.modules("", True))
    return every(
        same(out.modes, [not case.evaluating] * count),
        is_true(out.mode_refused, "train() accepted what is no bool"),
        same(out.modes_after, [not case.evaluating] * count),
        same(out.flipped, [case.evaluating] * count),
    )


@law(
    "requires_grad_() and zero_grad() reach every Parameter, frozen ones too; freezing keeps gradients.",
    source="nn.Module.requires_grad_, zero_grad",
    obliges={"deep", "frozen"},
)
def gradients_reach_every_parameter(case: Membership, out: Outcome) -> Finding:
    count = len(names(case))
    wanted = {"thawed": True, "frozen": False, "grads_kept": True, "zeroed": True, "forgotten": True}
    return every(*(same(getattr(out, name), [value] * count) for name, value in wanted.items()))


@law(
    "A conversion of the dtype converts every number, integers stay but for type(); Parameters stay the same objects.",
    source="nn.Module.to: only accepts and casts floating point; double, half, bfloat16, float; type: all",
    obliges={"tree=buffers", "convert=to_like", "convert=half", "convert=type_double", "shared_tensor"},
)
def conversion_reaches_every_number(case: Membership, out: Outcome) -> Finding:
    dtype = DTYPES[case.convert] or case.dtype
    findings = [is_true(out.converted_itself, "the conversion returned another module")]
    for what in ("parameters", "buffers"):
        wanted = [
            (name, "int64" if tensor.startswith("integers") and not case.convert.startswith("type") else dtype)
            for name, tensor in case.tensors(what, "", True, True)
        ]
        got = getattr(out, f"converted_{what}")
        # A shared buffer is converted into one for each slot.
        findings.append(same(got, wanted) if what == "parameters" else _each(got, wanted))
    idle = is_true(out.idle, "a conversion to what a tensor is replaced it or wrote to it")
    return every(idle, *findings, same(out.converted_same, names(case)))


@law(
    "A conversion of the dtype rounds every number to the nearest that there is, ties to even; a wider dtype keeps them all.",
    source="IEEE 754: roundTiesToEven; nn.Module.to, half, bfloat16, float, double",
    obliges={"convert=half", "convert=bfloat16", "convert=to_like", "dtype=float64"},
)
def converted_members_round_to_nearest(case: Membership, out: Outcome) -> Finding:
    fmt = FORMATS[DTYPES[case.convert] or case.dtype]
    wanted = fmt.encode(FORMATS[case.dtype].decode(case.digits.stored))
    parts = identical(out.rounded, fmt.to_bits(wanted)), identical(out.rounded_buffer, fmt.to_bits(wanted[1:]))
    return every(*parts)


def _each(got: Field, wanted: list[tuple[str, str]]) -> Finding:
    """The buffers that are listed, and perhaps more names of them."""
    return same(got.derived(f"[pair for pair in {{}} if pair[0] in {[name for name, _ in wanted]}]"), wanted)


@law(
    "to_empty(recurse=False) gives the module's own tensors other memory, share_memory() all of them shared memory.",
    source="nn.Module.to_empty: recurse; share_memory",
    obliges={"deep", "shared_tensor", "frozen", "tree=buffers"},
)
def memory_is_renewed_or_shared(case: Membership, out: Outcome) -> Finding:
    return every(
        is_true(out.emptied_itself, "to_empty() returned another module"),
        same(out.emptied, case.emptied()),
        is_true(out.shared_itself, "share_memory() returned another module, or raised"),
        same(out.shared, [True] * len(out.shared.raw)),
    )


@law(
    "Gradients go where their Parameters go: they are converted with them, keep their values, and share their memory.",
    source="nn.Module.to, share_memory: parameters and their gradients",
    when=lambda case: case.grads != "",
    obliges={"grads=dense", "grads=sparse", "convert=half", "shared_tensor", "frozen"},
)
def gradients_follow_their_parameters(case: Membership, out: Outcome) -> Finding:
    dtype = DTYPES[case.convert] or case.dtype
    sparse = case.grads == "sparse"
    wanted = [(dtype, sparse and tensor.startswith("table"), True) for tensor in names(case)]
    shared = same(out.shared_gradients, [True] * len(wanted)) if not sparse else UNASKED
    swapped = is_true(out.swapped_gradients, "a conversion that may swap Parameters lost a gradient or changed it")
    return every(same(out.converted_gradients, wanted), shared, swapped)


@law(
    "A conversion leaves the hooks of the Parameters: each is called once by a backward pass after it.",
    source="Tensor.register_hook; torch.utils.swap_tensors: preserving its identity",
    obliges={"convert=half", "convert=nothing", "swapped", "shared_tensor", "frozen"},
)
def hooks_outlive_conversions(case: Membership, out: Outcome) -> Finding:
    learning = [name for name, tensor in case.tensors("parameters", "", True, True) if tensor not in case.frozen]
    return same(out.hooks, [(name, word) for name in learning for word in ("gradient", "accumulated")])


def recorded(case: Membership) -> list[str]:
    """The keys of the state of a model's sum: each tensor under its first name."""
    there = [*case.tensors("parameters", "", True, True), *case.tensors("buffers", "", True, True)]
    return sorted(f"model.{name}" for name, tensor in there if not tensor.endswith("scratch"))


@law(
    "What torch.fx records of a model has the very tensors, under their first names, and its state has what the model's has.",
    source="torch.fx.symbolic_trace",
    obliges={"shared_tensor", "shared_module", "deep", "frozen", "passing"},
)
def tracing_keeps_the_state(case: Membership, out: Outcome) -> Finding:
    wanted = recorded(case)
    words = is_true(out.traced_same, "a tensor is missing, or another one")
    return every(words, same(out.traced.derived(f"[name for name in {{}} if name in {wanted}]"), wanted))


@law(
    "The state of what torch.fx records has nothing that the model's has not: what is not persistent stays so.",
    source="torch.fx.symbolic_trace; register_buffer: persistent",
    obliges={"passing", "tree=buffers"},
)
def tracing_adds_nothing_to_the_state(case: Membership, out: Outcome) -> Finding:
    return same(out.traced.derived(f"[name for name in {{}} if name not in {recorded(case)}]"), [])


@law(
    "A copy of a model has the state of the model, name by name: what is not persistent stays so.",
    source="copy.deepcopy; register_buffer: persistent",
    obliges={"tree=buffers", "shared_tensor"},
)
def copies_have_the_names_of_the_state(case: Membership, out: Outcome) -> Finding:
    return same(out.copied_keys, [name for name, _ in case.state("")])


@law("Looking at a module writes nothing.", source="no side effects")
def membership_writes_nothing(case: Membership, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = membership.tests()
