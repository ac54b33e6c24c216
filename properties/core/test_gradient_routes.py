"""Autograd: however it is driven, accumulating, hooked, checkpointed, threaded, dW = one_hot(i)ᵀ dY."""

from typing import Any

import numpy as np

from embcheck.core import oracle
from embcheck.core.case import TYPICAL, LookupCase
from embcheck.core.comparison import described, every, identical, is_true, left_alone, same, unwritten, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.gradient_routes.programs import FURTHER_TIMES
from embcheck.families.gradient_routes.space import DROPPING, FURTHER, SPACE, plan
from embcheck.families.lookup.spelling import ENTRIES

#: Routes that leave no gradient, for they speak of a refusal.
WITHOUT_GRADIENT = frozenset(
    {"indices_mutated", "frozen", "upstream_of_another_shape", "inference_value", "anomalous", "recomputed_otherwise"}
)
#: Routes whose gradient is dense even for a sparse lookup: it was added to something dense.
DENSE = frozenset(
    {"preset_zeros", "preset_transposed", "preset_bucket", "token_by_token", "then_dense", "dense_beside"}
)

gradient_routes = Family("gradient_routes", SPACE, plan, cost=6.0, stride=16, typical=TYPICAL)

#: What routes beside their own gradient ask of small graphs: see small_graphs.py.
SMALL: dict[str, Any] = {
    # Of the words the first gave way to the prompt, and the last is padding; the weights of a row's elements are 1, 2, 4, 4.
    "table_changed": np.outer([0, 0, 1, 0, 1, 0, 1], [1, 2, 4, 4]),
    # d(2 t + 5 t + 3 b), twice; the second loss to b alone; the second part.
    "inputs_listed": [2 + 5, 3, 3, 2 + 5, 2 + 5, 3 + 3, 7],
    # Of r s at r = w = 3, s = 5: s and r, of r + s + r by w and by s, and the tangent s + r.
    "through_own_functions": [5, 3, 2, 1, 5 + 3],
}

#: Routes whose call is computed again.
CHECKPOINTS = frozenset(name for name in FURTHER if name.startswith("checkpointed"))


def has_gradient(case: LookupCase) -> bool:
    return case.route not in WITHOUT_GRADIENT


@gradient_routes.law(
    "Every way to run autograd, such as hooks, checkpointing or accumulation, gives dW = one_hot(i)ᵀ dY.",
    source="Autograd mechanics; torch.Tensor.backward; torch.utils.checkpoint; torch.autograd.graph",
    must_cover={"repeated", "padding_hit", "sparse", "scale_grad_by_freq", "dtype=bfloat16", "dtype=float16", "empty", "rank>=3",
             "index_dtype=int32", "numel>3072", "sparse & repeated & route=zeroed_in_place",
             "sparse & repeated & route=both_coalesced", "sparse & repeated & route=saved_gradient",
             "route=symbolically_traced & padding_idx=0 & padding_hit & entry=functional",
             *(f"route={name}" for name in FURTHER.keys() - WITHOUT_GRADIENT - {DROPPING})},
    when=lambda case: has_gradient(case) and case.route != DROPPING,
)  # fmt: skip
def gradient_routes_give_same_weight_gradient(case: LookupCase, out: Outcome) -> Finding:
    return within(out.weight_grad, *oracle.weight_gradient(case, FURTHER_TIMES.get(case.route, 1)))


@gradient_routes.law(
    "torch.utils.checkpoint recomputes the same dropout mask, so that dropped elements get no gradient.",
    source="torch.utils.checkpoint: preserve_rng_state",
    when=lambda case: case.route == DROPPING,
    must_cover={"repeated", "padding_hit", "sparse"},
)
def checkpoint_recomputes_same_dropout_mask(case: LookupCase, out: Outcome) -> Finding:
    mask = out.mask.values.reshape(case.numel, case.embedding_dim)
    kept = case.counted
    due = oracle.accumulate(case.tokens[kept], case.num_embeddings, (case.upstream_values * mask)[kept])
    return same(out.weight_grad, due)


@gradient_routes.law(
    "The gradient has the weight's shape, dtype and device; sparse=True makes it sparse unless accumulated into a dense one.",
    source="nn.Embedding: sparse; torch.Tensor.backward: accumulates gradients in the leaves",
    must_cover={"sparse"},
    when=has_gradient,
)
def gradient_routes_keep_weight_metadata(case: LookupCase, out: Outcome) -> Finding:
    return described(
        out.weight_grad,
        shape=(case.num_embeddings, case.embedding_dim),
        dtype=case.dtype,
        device=out.leaf.plain("device"),
        is_sparse=case.sparse and case.route not in DENSE,
    )


@gradient_routes.law(
    "What a checkpoint computes again uses the call's autocast state, inputs and extent, and leaves the random state alone.",
    source="torch.utils.checkpoint: preserves autocast; set_checkpoint_early_stop; torch.amp.autocast",
    when=lambda case: case.route in CHECKPOINTS,
    must_cover={
        "route=checkpointed_under_autocast",
        "route=checkpointed_to_the_end",
        "route=checkpointed_with_two_kept & numel>=2 & repeated=False",
    },
)
def checkpoint_recomputes_the_same_call(case: LookupCase, out: Outcome) -> Finding:
    return is_true(out.kept, "what was computed again is another call") if "kept" in out else UNASKED


@gradient_routes.law(
    "Backward accumulates into an existing .grad in place, leaves unrelated tensors alone, and runs hooks in order.",
    source="Autograd mechanics: default gradient layouts; torch.Tensor.backward: inputs; nn.Module.register_forward_hook",
    when=lambda case: case.route not in CHECKPOINTS,
    must_cover={"route=layer_hooks_in_order"},
)
def backward_accumulates_in_place_hooks_in_order(case: LookupCase, out: Outcome) -> Finding:
    found = [is_true(out.kept, "something was replaced, touched or called out of order")] if "kept" in out else []
    if "around_kept" in out:
        found.append(is_true(out.around_kept, "the memory around the preset gradient was written"))
    return every(*found)


@gradient_routes.law(
    "Each tensor, module or node hook fires once and receives the upstream gradient.",
    source="torch.Tensor.register_hook; nn.Module.register_full_backward_hook; torch.autograd.graph.Node.register_prehook",
    must_cover={"route=retained_grads"},
)
def autograd_hooks_fire_once(case: LookupCase, out: Outcome) -> Finding:
    if "hook_calls" not in out:
        return UNASKED
    sent = case.upstream_values.reshape(*case.shape, case.embedding_dim)
    return every(same(out.hook_calls, 1), same(out.hook_grad, sent) if "hook_grad" in out else UNASKED)


@gradient_routes.law(
    "In-place writes, splits, several losses, listed inputs and autograd.Functions pass each gradient on to its source.",
    source="definition; torch.autograd.grad: inputs; torch.autograd.Function: needs_input_grad, save_for_backward, jvp",
    when=lambda case: case.route in SMALL,
    must_cover={f"route={name}" for name in SMALL},
)
def small_graphs_pass_gradients_to_sources(case: LookupCase, out: Outcome) -> Finding:
    # By name those of both losses, and what the second one adds to what was there.
    named = same(out.grads_by_name, [2 + 5, 3, 2 + 5 + 5, 3 + 3 + 3]) if "grads_by_name" in out else UNASKED
    return every(same(out.small_grads, SMALL[case.route]), named)


@gradient_routes.law(
    "A region of autocast leaves autocast as it was before, also inside another region or inside itself.",
    source="torch.autocast: a context manager, which may be nested, and a decorator, whose function may call itself",
    when=lambda case: case.route == "through_autocast_functions",
)
def autocast_is_left_as_it_was(case: LookupCase, out: Outcome) -> Finding:
    before = [False, "torch.float16"]
    return every(same(out.inside_another, before), same(out.inside_itself, before))


@gradient_routes.law(
    "The output that is differentiated equals W[i], bit for bit.", source="nn.Embedding: a simple lookup table"
)
def gradient_routes_return_the_rows(case: LookupCase, out: Outcome) -> Finding:
    if "value" not in out or ENTRIES[case.entry].product:
        return UNASKED
    return identical(out.value, oracle.lookup_bits(case))


@gradient_routes.law(
    "Backward raises RuntimeError for a freed graph, modified indices, frozen weights, mismatched shapes or another recomputation.",
    source="Autograd mechanics: in-place correctness checks; torch.Tensor.backward: retain_graph; torch.utils.checkpoint",
    must_cover={"route=graph_freed", "route=indices_mutated", "route=inference_value", "route=recomputed_otherwise"},
)
def invalid_backward_calls_raise(case: LookupCase, out: Outcome) -> Finding:
    return is_true(out.refused, "backward did not raise, or left a gradient") if "refused" in out else UNASKED


@gradient_routes.law(
    "In anomaly mode, a backward pass that computes a NaN gradient raises RuntimeError, unless check_nan=False.",
    source="torch.autograd.detect_anomaly: check_nan",
    when=lambda case: case.route == "anomalous" and bool(case.counted.any()) and case.embedding_dim > 0,
    must_cover={"sparse", "scale_grad_by_freq"},
)
def anomaly_mode_raises_for_nan_gradient(case: LookupCase, out: Outcome) -> Finding:
    return every(
        is_true(out.alarmed, "the gradient is NaN, and nothing was raised"),
        is_true(out.passes, "a NaN is not looked for, and the backward pass raised"),
    )


@gradient_routes.law(
    "Backward modifies neither weight, indices and upstream gradient, nor grad mode, default dtype, threads and generator state.",
    source="no side effects",
)
def gradient_routes_modify_no_input(case: LookupCase, out: Outcome) -> Finding:
    return every(unwritten(out), left_alone(out.surroundings))


test_scope, test_product, test_random = gradient_routes.tests()
