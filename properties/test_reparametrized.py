"""Reparametrized: a weight that is normed, bounded, orthogonal, pruned or mapped is what its definition says; ties stay."""

from __future__ import annotations

from typing import Any

import numpy as np

from embcheck.comparison import at_most, every, is_true, same, unwritten, within
from embcheck.format import Floats
from embcheck.law import Family
from embcheck.module.reparametrized_case import Reparametrized
from embcheck.module.reparametrized_space import AXES, canonical, draw, plan, scope
from embcheck.outcome import Field, Outcome
from embcheck.result import UNASKED, Difference, Finding, Holds, NotApplicable
from embcheck.space import Space

reparametrized = Family(
    "reparametrized",
    Space(Reparametrized, AXES, canonical, scope, flags=("kind", "side", "dtype"), draw=draw, strength=2),
    plan,
    cost=8.0,
)
law = reparametrized.law


def of(kind: str) -> Any:
    return lambda case: case.kind == kind


@law(
    "weight_norm gives g v/‖v‖, by rows, by columns or of the whole, whatever the sign of g; at first that is the weight.",
    source="torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.weight_norm: dim",
    when=of("normed"),
    obliges={"old", "dim=None", "dim=1", "signs=negative", "signs=zero", "frozen"},
)
def norm_and_direction_make_the_weight(case: Reparametrized, out: Outcome) -> Finding:
    first, bound = case.normed(case.norms(case.weight), case.weight)
    after = within(out.after, *case.normed(case.gains, case.directions)) if case.old or not case.frozen else UNASKED
    return every(
        within(out.at_first, first, 2 * bound),
        within(out.set, *case.normed(case.gains, case.directions)),
        same(out.shapes, [case.gain_shape, case.shape]),
        after,
    )


@law(
    "Gain and direction get the gradients of g v/‖v‖.",
    source="the chain rule; Salimans and Kingma 2016",
    when=lambda case: case.kind == "normed" and (case.old or not case.frozen),
    obliges={"dim=None", "signs=mixed"},
)
def norm_and_direction_learn(case: Reparametrized, out: Outcome) -> Finding:
    gain, direction = case.norm_gradients()
    return every(within(out.gain_grad, *gain), within(out.direction_grad, *direction))


@law(
    "spectral_norm divides by uᵀWv; a call in training iterates u and v by the power method, one in evaluation does not.",
    source="torch.nn.utils.parametrizations.spectral_norm, torch.nn.utils.spectral_norm; Miyato et al. 2018",
    when=of("bounded"),
    obliges={"old", "evaluating", "iterations=3", "dim=1"},
)
def power_iterations_bound_the_weight(case: Reparametrized, out: Outcome) -> Finding:
    (u, u_off), (v, v_off) = case.iterated()
    seen_u, seen_v = np.asarray(out.u.values, np.float64), np.asarray(out.v.values, np.float64)
    weight, off = case.divided(seen_u, seen_v)
    told = np.isfinite(off).all()  # else uᵀWv is within rounding of zero
    return every(
        within(out.u, u, u_off),
        within(out.v, v, v_off),
        within(out.set, weight, off) if told else UNASKED,
        within(out.evaluated, weight, off) if told else UNASKED,
        is_true(out.resting, "u or v moved in evaluation mode"),
    )


def off_orthogonal(case: Reparametrized, got: Field) -> Finding:
    """How far rows, or columns where they are fewer, are from orthonormal."""
    values: Floats = np.asarray(got.values, np.float64)
    few = values if values.shape[0] <= values.shape[1] else values.T
    # Householder: Higham 2002, Theorem 19.4, with c = 8; exponential and Cayley map have a base to be multiplied by,
    # of n columns, and a skew matrix of norm below 4, whose exponential is as well conditioned.
    longest = max(case.shape)
    limit = 64 * longest**2 * case.format.unit_roundoff
    off = float(np.abs(few @ few.T - np.eye(len(few))).max())
    if off <= limit:
        return Holds(float(off / limit))
    rows = f"{got.path}.double()" if values.shape[0] <= values.shape[1] else f"{got.path}.double().T"
    path = f"({rows} @ {rows}.T - torch.eye({len(few)})).abs().max().item()"
    return Difference("orthogonal", path, off, 0.0, f"W Wᵀ is off by {off:.3g} > {limit:.3g}", limit)


@law(
    "orthogonal keeps rows, or columns where they are fewer, orthonormal, after a step too; what is assigned is taken.",
    source="torch.nn.utils.parametrizations.orthogonal: orthogonal_map, use_trivialization",
    when=of("orthogonalized"),
    obliges={"map=cayley", "map=householder", "wide", "square", "trivial"},
)
def orthogonal_weights_stay_orthogonal(case: Reparametrized, out: Outcome) -> Finding:
    bound = 64 * max(case.shape) ** 2 * case.format.unit_roundoff
    return every(
        off_orthogonal(case, out.set),
        off_orthogonal(case, out.stepped),
        within(out.assigned, case.wanted, bound) if case.trivial else UNASKED,
    )


@law(
    "An orthogonal weight stays one when what it is made of shrinks, as under weight decay.",
    source="torch.nn.utils.parametrizations.orthogonal: the parametrized weight is orthogonal",
    when=of("orthogonalized"),
    obliges={"map=cayley", "map=matrix_exp"},
)
def orthogonal_weights_survive_decay(case: Reparametrized, out: Outcome) -> Finding:
    return off_orthogonal(case, out.decayed)


def is_deprecated(case: Reparametrized) -> bool:
    """Whether a layer keeps a weight with a graph as an attribute, as deprecated functions make it.

    torch.nn.utils.weight_norm: 'This function is deprecated. Use torch.nn.utils.parametrizations.weight_norm'; of
    spectral_norm: 'Please use the newer version. This function will be deprecated in a future version of PyTorch.'
    """
    return case.old and (case.kind == "normed" or (case.kind == "bounded" and not case.frozen))


@law(
    "A layer whose weight is normed, bounded or pruned is copied as any other is, for an average or an ensemble; the copy has "
    "its weight.",
    source="copy.deepcopy of a Module; torch.optim.swa_utils.AveragedModel, which copies; pytorch#37322",
    when=lambda case: case.kind in ("normed", "bounded", "pruned"),
    obliges={"kind=normed", "kind=bounded", "kind=pruned", "old", "frozen"},
)
def reparametrized_layers_are_copied(case: Reparametrized, out: Outcome) -> Finding:
    if is_deprecated(case) and out.copied.raw is None:
        return NotApplicable("torch deprecates this function for its parametrization, which can be copied")
    weight = out.evaluated if case.kind == "bounded" else out.set
    return same(out.copied, weight.require())


@law(
    "Within cached() another parametrized module, be it a copy of the first or made when that was dropped, has the weight "
    "of its own original.",
    source="torch.nn.utils.parametrize.cached; copy.deepcopy",
    when=of("mapped"),
    obliges={"copied", "passing=1"},
)
def modules_are_cached_apart(case: Reparametrized, out: Outcome) -> Finding:
    return every(
        same(out.twin, case.mapped(case.directions)),
        at_most(out.taken, 0, "layers have the weight of one that is gone"),
    )


@law(
    "A parametrized layer can be neither pickled nor saved whole, be it in training or in evaluation.",
    source="torch.nn.utils.parametrize: serialization of parametrized modules is only supported through state_dict()",
    when=of("mapped"),
    obliges={"side=embedding", "side=head"},
)
def parametrized_layers_are_not_pickled(case: Reparametrized, out: Outcome) -> Finding:
    return same(out.refused, [True] * 4)


@law(
    "Pruning masks what its rule says: the least important, by magnitude or by the given scores, of what is left; "
    "removal leaves the weights of then, masked.",
    source="torch.nn.utils.prune: identity, custom_from_mask, l1_unstructured, ln_structured; PruningContainer",
    when=lambda case: case.kind == "pruned" and not case.by_chance,
    obliges={"several_prunings", "weighed", "pruning=share", "pruning=columns", "pruning=rows_twice", "pruning=of_two",
             "pruning=custom_then_of_two", "pruning=of_two_twice",
             "column_major"},
)  # fmt: skip
def masks_follow_the_rule(case: Reparametrized, out: Outcome) -> Finding:
    mask = case.masks[-1]
    return every(
        same(out.masks, np.stack(case.masks)),
        same(out.set, case.weight * mask),
        same(out.original, case.weight),
        same(out.after, -2 * case.weight * mask),
        UNASKED if case.frozen else same(out.grad, case.upstream * mask),
        same(out.told, [False, True, True]),
        same(out.names, [["weight_orig"], ["weight_mask"]]),
        same(out.hooks, 1),
        is_true(out.clean, "a hook or a mask is left"),
    )


@law(
    "Pruning by chance masks as many elements, rows or columns as it is told.",
    source="torch.nn.utils.prune: random_unstructured, random_structured: amount, dim",
    when=lambda case: case.by_chance,
    obliges={"pruning=by_chance", "pruning=rows_by_chance", "pruning=last_axis_by_chance"},
)
def chance_masks_as_many(case: Reparametrized, out: Outcome) -> Finding:
    axis, count = case.drawn
    mask = np.asarray(out.masks.values, np.float64)[-1]
    last = "{}[-1].double()" if axis is None else f"{{}}[-1].double().mean({1 - axis})"
    sliced = out.masks.derived(f"sorted({last}.flatten().tolist())")
    return every(
        same(sliced, [0.0] * count + [1.0] * (len(sliced.raw) - count)),
        same(out.set, case.weight * mask),
        same(out.told, [False, True, True]),
    )


@law(
    "A parametrized weight is f of its original; the right inverse finds the original; cached() computes once, and "
    "forgets; removal leaves f of the original, or the original.",
    source="torch.nn.utils.parametrize: register_parametrization, cached, remove_parametrizations",
    when=of("mapped"),
    obliges={"links=2", "inverse", "leave", "frozen", "column_major"},
)
def parametrized_weights_are_mapped(case: Reparametrized, out: Outcome) -> Finding:
    # A further link leaves the original where the first one's right inverse put it.
    first = case.weight / 2 if case.inverse else case.weight
    found = case.unmapped(case.upstream)
    assigned = every(same(out.assigned, case.upstream), same(out.found, found)) if case.inverse else UNASKED
    return every(
        assigned,
        same(out.at_first, first),
        same(out.set, case.mapped(first)),
        UNASKED if case.frozen else same(out.grad, 2 * case.upstream),
        same(out.cached1, case.mapped(first)),
        same(out.cached2, case.mapped(case.directions)),
        same(out.caches, [[True, True, True]] * 2),
        is_true(out.fresh, "what was cached is still given outside of cached()"),
        same(out.changed, case.mapped(case.directions)),
        same(out.after, case.mapped(case.directions) if case.leave else case.directions),
        same(out.told, [True, False, True]),
        same(out.names, ["parametrizations.weight.original"]),
    )


@law(
    "What a layer is parametrized by trains or evaluates as the layer does.",
    source="Module.train, Module.eval; register_parametrization",
    when=of("mapped"),
    obliges={"evaluating", "links=2"},
)
def parametrizations_follow_the_layers_mode(case: Reparametrized, out: Outcome) -> Finding:
    return same(out.modes, [not case.evaluating])


@law(
    "What a weight is made of is the Parameter that was there, on both sides of a tie, and learns as it did.",
    source="register_parametrization: the optimizer need not be told; prune: weight_orig",
    obliges={"frozen", "column_major", "kind=mapped", "kind=pruned", "kind=bounded", "side=head"},
)
def originals_are_the_parameters(case: Reparametrized, out: Outcome) -> Finding:
    if case.kind == "normed":
        old = case.old  # its gain and direction are new Parameters
        names = ["weight_g", "weight_v"] if old else ["original0", "original1"]
        return every(
            same(out.names, names),
            same(out.trains, [not case.frozen] * 2),
            is_true(out.other_kept, "the other side's weight changed"),
            is_true(out.left, "no Parameter is left after removal") if old or not case.frozen else UNASKED,
        )
    return every(
        is_true(out.kept, "the original is another Parameter, or the other side has another one"),
        same(out.trains, not case.frozen),
        is_true(out.removed, "removal left another Parameter") if case.kind in ("pruned", "mapped") else UNASKED,
        same(out.trains_after, not case.frozen) if case.kind == "mapped" else UNASKED,
    )


@law("Nothing is written but the weight's own memory.", source="no side effects")
def reparametrizing_writes_nothing_else(case: Reparametrized, out: Outcome) -> Finding:
    return unwritten(out, "weight")


test_scope, test_product, test_random = reparametrized.tests()
