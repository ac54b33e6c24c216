"""Passage: a tied model that is loaded, copied, traced, exported or compiled is the same tied model afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.comparison import every, is_true, same
from embcheck.law import Family, Plan
from embcheck.module.passage import PARAMETRIZATIONS, STRUCTURES, parametrized, passed, stacked
from embcheck.module.passage_case import FACTORS, MODELS, PLAIN, PassageCase
from embcheck.module.passage_routes import GRAPHS, PASSAGES, SCRIPTS, SLOW
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space

ROUTES = {**PASSAGES, **GRAPHS, **SCRIPTS, **SLOW}
DEVICES = ("cpu", "meta")


def plan(case: PassageCase) -> Plan:
    options: dict[str, Any] = {
        "structure": STRUCTURES[case.structure],
        "padding": case.padding_idx,
        "frozen": case.frozen,
    }
    if case.what == "parametrized":
        return Plan(parametrized, case.inputs(), options | {"parametrization": PARAMETRIZATIONS[case.route]})
    if case.what == "ensemble":
        return Plan(stacked, case.inputs(), options | {"device": case.route})
    return Plan(passed, case.inputs(), options | {"passage": ROUTES[case.route], "prefix": case.prefix})


def canonical(case: PassageCase) -> PassageCase | None:
    """The case with a route of its kind, and a padding row that is there; norms need rows that are not zero."""
    kinds: dict[str, tuple[str, ...]] = {"parametrized": tuple(PARAMETRIZATIONS), "ensemble": DEVICES}
    routes = kinds.get(case.what, tuple(ROUTES))
    if case.route not in routes:
        case = case.but(route=routes[0])
    if case.padding_idx is not None and case.padding_idx >= case.rows:
        case = case.but(padding_idx=case.rows - 1)
    if case.route == "orthogonal" and case.width > case.rows:
        case = case.but(width=case.rows)
    return case


AXES: dict[str, tuple[Any, ...]] = {
    "what": ("route",),
    "route": tuple(PASSAGES),
    "structure": tuple(STRUCTURES),
    "bias": (False, True),
    "padding_idx": (None, 1, 0),
    "frozen": (False, True),
    "rows": (4, 3, 1, 6),
    "width": (3, 1, 2),
    "length": (3, 1, 5),
}


def scope() -> Iterator[PassageCase]:
    """Every route with every structure, of which some have a bias, a padding row or a weight that is frozen; slow ones
    with few."""
    return filter(None, map(canonical, _every()))


def _every() -> Iterator[PassageCase]:
    kinds = itertools.product(STRUCTURES, AXES["bias"], (None, 1), AXES["frozen"])
    for seed, (structure, bias, padding, frozen) in enumerate(kinds):
        for route in PASSAGES:
            yield PassageCase("route", route, structure, bias, padding, frozen, seed=seed)
        for route in PARAMETRIZATIONS:
            yield PassageCase("parametrized", route, structure, bias, padding, frozen, seed=seed)
        for device in DEVICES:
            yield PassageCase("ensemble", device, structure, bias, padding, frozen, seed=seed)
    for k, (seed, structure) in itertools.product(range(4), enumerate(STRUCTURES)):
        some = PassageCase(
            "route", "", structure, k % 2 == 1, (None, 1)[(k + seed) % 2], (k, seed) == (3, 0), seed=seed
        )
        yield from (some.but(route=route) for route in GRAPHS if k < 3)
        yield from (some.but(route=route) for route in SCRIPTS if k in (seed, 3))
    for seed, route in enumerate(SLOW):
        plain = PassageCase("route", route, bias=seed % 2 == 0, seed=seed)
        yield plain
        if route in ("exported", "exported_strictly", "unflattened", "unflattened_copied", "compiled"):
            yield plain.but(structure="head_first", bias=not plain.bias, padding_idx=1)
    yield PassageCase("route", "unflattened", "shared", True)
    yield PassageCase("route", "compiled_in_place", "shared", True)


passage = Family(
    "passage",
    Space(PassageCase, AXES, canonical, scope, flags=("structure", "bias"), strength=2),
    plan,
    cost=40.0,
)
law = passage.law


def on_a_route(case: PassageCase) -> bool:
    """Whether a model passes a route."""
    return case.what == "route"


@law(
    "A weight that is tied is one Parameter after the passage: it is counted once, and stands under all of its names.",
    source="nn.Module.named_parameters; load_state_dict, to_empty, fx.GraphModule, torch.jit, torch.export.unflatten",
    when=on_a_route,
    obliges={"structure=shared", "structure=head_first", "route=symbolic_pickled", "route=traced_saved", "route=unflattened",
             "route=meta_emptied_swapping", "bias", "frozen"},
)  # fmt: skip
def passages_keep_one_parameter(case: PassageCase, out: Outcome) -> Finding:
    return every(same(out.count, 1 + case.bias), same(out.objects, 1))


@law(
    "The state has the names that the model's has, each once, behind the prefix of a wrapper.",
    source="nn.Module.state_dict; ExportedProgram.module: a self contained GraphModule with all the parameters and buffers",
    when=lambda case: on_a_route(case) and case.named,
    obliges={"structure=shared", "route=exported", "route=unflattened", "route=compiled", "route=scripted", "bias"},
)
def passages_keep_every_name(case: PassageCase, out: Outcome) -> Finding:
    return every(same(out.names, case.names), same(out.listed, case.names))


@law(
    "The model's own checkpoint loads after the passage, strictly, and gives its outputs.",
    source="nn.Module.load_state_dict: strict",
    when=lambda case: on_a_route(case) and case.named,
    obliges={"structure=shared", "route=exported", "route=unflattened", "route=compiled", "route=traced_saved", "bias"},
)
def passages_keep_every_checkpoint(case: PassageCase, out: Outcome) -> Finding:
    if out.refusal.raw:
        return same(out.refusal, "")
    return same(out.restored, case.value(2 * case.weight, 2 * case.bias_values))


@law(
    "The Parameters are leaves, and those that were frozen, and no others, are so still.",
    source="nn.Parameter; copy.deepcopy, torch.jit.load, load_state_dict: assign",
    when=on_a_route,
    obliges={"frozen", "copies", "route=scripted_saved", "route=unflattened", "bias"},
)
def passages_keep_leaves(case: PassageCase, out: Outcome) -> Finding:
    wanted = [(False, True)] * case.bias + [(True, not case.frozen)]
    return every(is_true(out.leaves, "a Parameter is computed from another one"), same(out.trains, wanted))


@law(
    "The outputs are those of the tied model.",
    source="the definitions of embedding and linear",
    when=on_a_route,
    obliges={"structure=shared", "bias", "padded", "route=symbolic_transformed", "route=compiled"},
)
def passages_keep_outputs(case: PassageCase, out: Outcome) -> Finding:
    return same(out.value, case.value(case.weight, case.bias_values))


@law(
    "The gradient of the outputs arrives in the Parameters of the model that gave them, and in no other's.",
    source="the chain rule; copy.deepcopy, pickle, torch.jit.load: a copy is independent",
    when=on_a_route,
    obliges={"structure=shared", "padded", "copies", "route=traced", "route=exported", "frozen"},
)
def passages_keep_gradients(case: PassageCase, out: Outcome) -> Finding:
    return every(same(out.gradient, case.gradient), same(out.strayed, 0))


@law(
    "After a step of SGD the outputs are those of the tied model, and the weight is the same under all of its names.",
    source="torch.optim.SGD; named_parameters: one Parameter",
    when=on_a_route,
    obliges={"structure=shared", "padded", "copies", "route=compiled", "route=symbolic_copied", "bias"},
)
def passages_keep_one_weight_in_training(case: PassageCase, out: Outcome) -> Finding:
    weight, bias = case.stepped
    weights = out.weights.values
    return every(
        same(out.stepped, case.value(weight, bias)),
        same(out.weights, np.broadcast_to(weight, weights.shape)),
    )


@law(
    "What a copy learns leaves the original as it is.",
    source="copy.deepcopy, pickle, torch.save, torch.jit.load, torch.export.unflatten: a copy is independent",
    when=lambda case: case.copies,
    obliges={"structure=shared", "route=symbolic_copied", "route=unflattened", "route=scripted_saved", "bias"},
)
def passages_leave_the_original(case: PassageCase, out: Outcome) -> Finding:
    return same(out.left, case.value(case.weight, case.bias_values))


@law(
    "A head that is parametrized leaves the embedding that is tied to it with the rows that it had.",
    source="parametrize.register_parametrization: a tensor in a module; right_inverse: the original tensor's initial value",
    when=lambda case: case.what == "parametrized",
    obliges={"route=doubled", "route=normed", "route=normed_spectrally", "structure=shared", "padded", "frozen"},
)
def parametrizing_a_head_leaves_the_rows(case: PassageCase, out: Outcome) -> Finding:
    return same(out.rows, case.weight)


@law(
    "A head that is parametrized has the weight that its parametrization makes of the original tensor, which is the Parameter "
    "that it had unless a right_inverse makes another.",
    source="parametrize.register_parametrization: the original tensor is under module.parametrizations.weight.original",
    when=lambda case: case.what == "parametrized" and (case.route in FACTORS or case.route in PLAIN),
    obliges={"route=doubled", "route=halved", "route=normed_spectrally", "structure=shared"},
)
def parametrizing_a_head_keeps_the_original(case: PassageCase, out: Outcome) -> Finding:
    return every(
        same(out.product, FACTORS[case.route] * case.weight) if case.route in FACTORS else UNASKED,
        is_true(out.original, "the original tensor is not the head's Parameter") if case.route in PLAIN else UNASKED,
    )


@law(
    "An ensemble of tied models by stack_module_state, vmap and functional_call gives what each of its models gives.",
    source="torch.func.stack_module_state; functional_call: tie_weights; the tutorial on ensembles, with its base on meta",
    when=lambda case: case.what == "ensemble",
    obliges={"route=cpu", "structure=shared", "structure=head_first", "bias", "padded"},
)
def ensembles_give_what_their_models_give(case: PassageCase, out: Outcome) -> Finding:
    if out.place.raw == "meta":
        return same(out.place, "a device with memory")
    return same(out.value, np.stack([case.value(k * case.weight, case.bias_values) for k in MODELS]))


test_scope, test_product, test_random = passage.tests()
