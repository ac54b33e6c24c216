"""A weight that is normed, bounded, orthogonal or mapped is what its definition says; ties stay."""

from typing import Any

import numpy as np

from embcheck.core.comparison import every, is_true, same, unwritten, within
from embcheck.core.format import Floats
from embcheck.core.law import Family
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import UNASKED, Finding, NotApplicable
from embcheck.families.initializers.oracle import orthogonal
from embcheck.families.parametrizations.cases import ParametrizationCase
from embcheck.families.parametrizations.space import SPACE, plan

parametrizations = Family("parametrizations", SPACE, plan, cost=8.0)
law = parametrizations.law


def of(kind: str) -> Any:
    return lambda case: case.kind == kind


def ends(out: Outcome) -> list[Floats]:
    """The vectors u and v of a power iteration, as they came out."""
    return [np.asarray(end.values, np.float64) for end in (out.u, out.v)]


@law(
    "weight_norm computes the weight g v/‖v‖, with norms over the documented dim.",
    source="torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.weight_norm: dim",
    when=of("normed"),
    must_cover={"old", "dim=None", "dim=1", "signs=negative", "signs=zero", "frozen & old", "frozen & old=False"},
)
def weight_norm_weight_is_g_times_v_over_norm(case: ParametrizationCase, out: Outcome) -> Finding:
    first, bound = case.normed(case.norms(case.weight), case.weight)
    weight = case.normed(case.gains, case.directions)
    return every(
        within(out.at_first, first, 2 * bound),
        UNASKED if case.old else within(out.assigned, -first / 2, bound),
        within(out.again, *((first, 2 * bound) if case.old else (-first / 2, bound))),
        *(within(got, *weight) for got in (out.set, out.evaluated)),
        UNASKED if case.old else within(out.loaded, *weight),
        # Of another layer to which it is transferred, and which doubles it.
        UNASKED if case.old else within(out.doubled, 2 * weight[0], 2 * weight[1]),
        same(out.shapes, [case.gain_shape, case.shape]),
        within(out.after, *weight) if case.old or not case.frozen else UNASKED,
        # Of a table and a head of rows (3, 4) and (6, 8), both of gain 10; then of one of gain 5, the other's norm removed.
        same(out.by_name, [[[[6.0, 8.0]] * 2] * 2, [[[6.0, 8.0]] * 2, [[3.0, 4.0]] * 2]]) if case.frozen else UNASKED,
    )


def norm_is_derived(case: ParametrizationCase) -> bool:
    """Whether there are gradients of a norm, whose format holds their sums: the parts of others may be no numbers."""
    derived = case.kind == "normed" and (case.old or not case.frozen)
    return derived and bool(np.isfinite(case.norm_gradients()[0][1]).all())


@law(
    "weight_norm gives g and v the gradients of g v/‖v‖.",
    source="the chain rule; Salimans and Kingma 2016",
    when=norm_is_derived,
    must_cover={"dim=None & dtype=float32", "dim=1 & terms>64", "signs=mixed"},
)
def weight_norm_gradients_follow_chain_rule(case: ParametrizationCase, out: Outcome) -> Finding:
    gain, direction = case.norm_gradients()
    return every(within(out.gain_grad, *gain), within(out.direction_grad, *direction))


@law(
    "spectral_norm divides the weight by uᵀWv, with u and v from power iteration.",
    source="torch.nn.utils.parametrizations.spectral_norm, torch.nn.utils.spectral_norm; Miyato et al. 2018",
    when=of("bounded"),
    must_cover={"old", "evaluating", "iterations=3", "dim=1", "dim=-1"},
)
def spectral_norm_divides_weight_by_power_iteration(case: ParametrizationCase, out: Outcome) -> Finding:
    (u, u_off), (v, v_off) = case.iterated()
    weight, off = case.divided(*ends(out))
    directed = np.isfinite([u_off, v_off]).all()  # else a product within rounding of zero has no direction
    told = np.isfinite(off).all()  # else uᵀWv is within rounding of zero
    # Of a layer that loads the state, and once the norm is removed; strides decide how sums are rounded.
    again = [out.loaded, *([out.removed] if case.old else [])] if case.layout == "contiguous" else []
    return every(
        *((within(out.u, u, u_off), within(out.v, v, v_off)) if directed else ()),
        *(within(got, weight, off) for got in (*map(out.weights.entry, range(4)), out.evaluated) if told),
        is_true(out.resting, "u or v moved in evaluation mode"),
        *(same(got, out.evaluated.require()) for got in again),
    )


@law(
    "spectral_norm gives the original the gradient of W/(uᵀWv), with u and v constant.",
    source="the chain rule; Miyato et al. 2018, 2.3: gradients with respect to W",
    when=lambda case: case.kind == "bounded" and not case.frozen,
    must_cover={"old", "evaluating", "dim=1"},
)
def spectral_norm_gradient_follows_chain_rule(case: ParametrizationCase, out: Outcome) -> Finding:
    grad, off = case.bounded_gradient(*ends(out))
    found = (out.grads.entry(call) for call in range(4))  # the later ones in evaluation mode, where u and v stay
    return every(*(within(each, grad, off) for each in found)) if np.isfinite(off).all() else UNASKED


@law(
    "A parametrized weight has the strides of the operations that compute it.",
    source="torch.Tensor.contiguous; element-wise operations keep the strides of what is dense",
    # How a batch of orthogonal matrices lies, nothing says.
    when=lambda case: (
        min(case.shape) > 1 and case.kind != "mapped" and (case.kind != "orthogonalized" or len(case.shape) < 3)
    ),
    must_cover={"old", "kind=normed", "kind=bounded", "kind=orthogonalized", "layout=transposed"},
)
def parametrized_weight_has_expected_strides(case: ParametrizationCase, out: Outcome) -> Finding:
    return same(out.strides, [case.strides] * 4)  # of as many calls


def orthogonality(case: ParametrizationCase) -> float:
    """How far an orthogonal matrix of n columns at most may be from it.

    Householder: Higham 2002, Theorem 19.4, with c = 8; exponential and Cayley map have a base to be multiplied by, and a skew
    matrix of norm below 4, whose exponential is as well conditioned.
    """
    return 64 * max(case.shape) ** 2 * case.format.unit_roundoff


def off_orthogonal(case: ParametrizationCase, got: Field) -> Finding:
    """How far rows, or columns where they are fewer, are from orthonormal."""
    return orthogonal(np.asarray(got.values, np.float64), f"{got.path}.double()", orthogonality(case))


@law(
    "The orthogonal parametrization makes the weight orthogonal and keeps it orthogonal after an optimizer step.",
    source="torch.nn.utils.parametrizations.orthogonal: orthogonal_map",
    when=of("orthogonalized"),
    must_cover={"map=cayley", "map=householder", "wide", "square"},
)
def orthogonal_parametrization_keeps_weight_orthogonal(case: ParametrizationCase, out: Outcome) -> Finding:
    again = same(out.repeated, [out.repeated.raw[0]] * 4)
    return every(off_orthogonal(case, out.set), off_orthogonal(case, out.stepped), again)


@law(
    "An orthogonal weight, and the gradient of its original, follow the documented map.",
    source="torch.nn.utils.parametrizations.orthogonal: orthogonal_map, use_trivialization",
    when=of("orthogonalized"),
    must_cover={"map=cayley", "map=matrix_exp", "map=householder", "wide", "square"},
)
def orthogonal_weight_is_the_map_of_its_original(case: ParametrizationCase, out: Outcome) -> Finding:
    base, moved = (np.asarray(each.values, np.float64) for each in (out.base, out.moved))
    gradient, size = case.orthogonal_gradient(base)
    return every(
        same(out.set, case.tall(base[..., : min(case.shape[-2:])])),  # of −I
        within(out.stepped, case.orthogonal(base, moved), orthogonality(case)),
        UNASKED if case.frozen else within(out.grad, gradient, orthogonality(case) * size),
        # Of a larger matrix the exponential may be the polynomial of degree 8, which the ledger knows of a step alone.
        UNASKED
        if case.exponential
        else within(out.without_base, case.orthogonal(np.eye(max(case.shape[-2:])), moved), orthogonality(case)),
        same(out.keys, ["parametrizations.weight.original"]),
        same(out.swapped, [[0, 1], [1, 0]]),
    )


@law(
    "The parametrized weight stays orthogonal when its original tensor shrinks, as under weight decay.",
    source="torch.nn.utils.parametrizations.orthogonal: the parametrized weight is orthogonal",
    when=of("orthogonalized"),
    must_cover={"map=cayley", "map=matrix_exp"},
)
def orthogonal_weight_stays_orthogonal_under_weight_decay(case: ParametrizationCase, out: Outcome) -> Finding:
    return every(off_orthogonal(case, out.decayed), same(out.loaded, out.decayed.require()))


def is_deprecated(case: ParametrizationCase) -> bool:
    """Whether a layer keeps a weight with a graph as an attribute, as deprecated functions make it.

    torch.nn.utils.weight_norm: 'This function is deprecated. Use torch.nn.utils.parametrizations.weight_norm'; of
    spectral_norm: 'Please use the newer version. This function will be deprecated in a future version of PyTorch.'
    """
    return case.old and (case.kind == "normed" or (case.kind == "bounded" and not case.frozen))


@law(
    "deepcopy of a module with weight_norm or spectral_norm gives a module with equal weight.",
    source="copy.deepcopy of a Module; torch.optim.swa_utils.AveragedModel, which copies; pytorch#37322",
    when=lambda case: case.kind in ("normed", "bounded"),
    must_cover={"kind=normed", "kind=bounded", "old & frozen & kind=bounded", "frozen"},
)
def deepcopy_keeps_normalized_or_pruned_weight(case: ParametrizationCase, out: Outcome) -> Finding:
    if is_deprecated(case) and out.copied.raw is None:
        return NotApplicable("torch deprecates this function for its parametrization, which can be copied")
    weight = out.evaluated if case.kind == "bounded" else out.set
    if case.layout == "contiguous":
        return same(out.copied, weight.require())
    # A copy lies densely, so that terms may be added up in another order: each of both is within the bound of what is exact.
    bound = (case.divided(*ends(out)) if case.kind == "bounded" else case.normed(case.gains, case.directions))[1]
    return within(out.copied, weight.require(), 2 * bound)


@law(
    "Inside parametrize.cached(), every module's weight is computed from its own original tensor.",
    source="torch.nn.utils.parametrize.cached; copy.deepcopy",
    when=of("mapped"),
    must_cover={"copied"},
)
def parametrize_cached_does_not_mix_modules(case: ParametrizationCase, out: Outcome) -> Finding:
    return same(out.twin, case.mapped(case.directions))


@law(
    "Removing the parametrization of a deep copy leaves the copied layer its weight.",
    source="copy.deepcopy: a copy has objects of its own; torch.nn.utils.parametrize.remove_parametrizations",
    when=lambda case: case.kind == "mapped" and case.copied,
    must_cover={"links=2", "inverse", "frozen"},
)
def removal_from_a_copy_leaves_the_original(case: ParametrizationCase, out: Outcome) -> Finding:
    first = case.weight / 2 if case.inverse else case.weight
    return every(same(out.beside_copy, first), is_true(out.has_weight, "the layer that was copied has no weight"))


@law(
    "A parametrized weight equals the parametrization applied to its original tensor.",
    source="torch.nn.utils.parametrize: register_parametrization, cached, remove_parametrizations",
    when=of("mapped"),
    must_cover={
        "links=2 & leave=False",
        "inverse & copied",
        "inverse & copied=False",
        "leave",
        "frozen",
        "column_major",
    },
)
def parametrized_weight_is_function_of_original(case: ParametrizationCase, out: Outcome) -> Finding:
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
        same(out.caches, [[True, True]] * 2),
        is_true(out.fresh, "what was cached is still given outside of cached()"),
        same(out.changed, case.mapped(case.directions)),
        same(out.after, case.mapped(case.directions) if case.leave else case.directions),
        same(out.told, [True, False, True]),
        same(out.told_by_name, [[False, True], [True, False]]) if case.copied else UNASKED,
        same(out.buffer, [2.0 if case.leave else 1.0, ["scale"], [], ["scale"]]),
        same(out.names, ["parametrizations.weight.original"]),
    )


@law(
    "A parametrization has the training mode of its module.",
    source="Module.train, Module.eval; register_parametrization",
    when=of("mapped"),
    must_cover={"evaluating", "links=2"},
)
def parametrization_follows_module_training_mode(case: ParametrizationCase, out: Outcome) -> Finding:
    return same(out.modes, [not case.evaluating])


@law(
    "spectral_norm and register_parametrization keep the original Parameter object, in tied modules too.",
    source="torch.nn.utils.parametrize.register_parametrization: 'original' is the former Parameter",
    must_cover={"frozen", "column_major", "kind=mapped", "kind=bounded", "side=head"},
)
def parametrization_keeps_original_parameter(case: ParametrizationCase, out: Outcome) -> Finding:
    if case.kind == "normed":  # its gain and direction are new Parameters
        return every(
            same(out.names, ["weight_g", "weight_v"] if case.old else ["original0", "original1"]),
            same(out.trains, [not case.frozen] * 2),
            is_true(out.other_kept, "the other side's weight changed"),
            is_true(out.left, "no Parameter is left after removal") if case.old or not case.frozen else UNASKED,
        )
    return every(
        is_true(out.kept, "the original is another Parameter, or the other side has another one"),
        same(out.trains, not case.frozen),
        is_true(out.removed, "removal left another Parameter") if case.kind == "mapped" else UNASKED,
        is_true(out.copied_tied, "a deep copy of both sides is not tied") if case.kind == "mapped" else UNASKED,
        same(out.trains_after, not case.frozen) if case.kind == "mapped" else UNASKED,
    )


@law("Parametrizing or normalizing a weight modifies no other tensor.", source="no side effects")
def parametrization_modifies_only_the_weight(case: ParametrizationCase, out: Outcome) -> Finding:
    return unwritten(out, "weight")


test_scope, test_product, test_random = parametrizations.tests()
