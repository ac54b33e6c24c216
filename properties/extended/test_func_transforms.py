"""Transforms: forward mode, vmap, torch.func, Jacobians, Hessians; a lookup is linear, so each is known exactly."""

from embcheck.core.comparison import described, every, identical, is_true, left_alone, refuses, same, unwritten, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.func_transforms.cases import TransformCase
from embcheck.families.func_transforms.oracle import DERIVED, SPARSE, expected
from embcheck.families.func_transforms.space import SPACE, plan

transforms = Family(
    "func_transforms",
    SPACE,
    plan,
    refused=lambda case: case.refused,
    cost=8.0,
    stride=9,
    typical=(
        "maps_indices & maps_upstream & padding_hit & unequal_counts",
        "maps_indices & unequal_counts",
        "repeated",
    ),
)


@transforms.law(
    "Gradients, tangents, Jacobians and Hessians of a lookup equal those of one_hot(i) @ W, also under vmap.",
    source="torch.func; torch.autograd.functional; torch.autograd.forward_ad",
    must_cover={"padding_hit", "maps_weight", "maps_indices", "maps_upstream", "numel>3072",
             "empty", "dtype=bfloat16", "dtype=float16", "index_dtype=int32", "in_dim=1", "out_dim=1",
             "transform=vmap_of_grad & maps_indices & padding_hit & scale_grad_by_freq & repeated",
             "transform=linearize & padding_hit", "transform=jvp & sparse", "transform=functionalize & padding_hit & repeated",
             "transform=vmap_value & maps_weight & maps_indices & in_dim=1 & rank=1 & numel=2 & batch=2",
             "index_layout=transposed & rank>=2", "tangent_layout=strided", "upstream_layout=equal_columns & embedding_dim>=2",
             "transform=jacrev & scale_grad_by_freq & repeated & nothing_counted=False & embedding_dim>=2"},
)  # fmt: skip
def lookup_transforms_match_one_hot_product(case: TransformCase, out: Outcome) -> Finding:
    return within(out.result, *expected(case))


@transforms.law(
    "Repeated transform calls, and equivalent ones with other argnums, has_aux, in_dims or grad mode, return the same result.",
    source="torch.func: argnums, has_aux, chunk_size, randomness; torch.func.grad: under no_grad; torch.func.functional_call",
    when=lambda case: not case.refused,
    must_cover={f"transform={name}_by_arguments" for name in ("grad", "jacrev", "hessian", "vjp", "jvp")}
    | {"transform=jacrev_by_arguments & embedding_dim=1 & numel>=2 & numel<8", "transform=vmap_by_names"}
    | {"earlier>=2", "transform=without_grad_mode", "transform=vmap_with_randomness & chunk=1 & batch>=2"}
    | {
        f"transform={name} & small_too"
        for name in ("jacfwd_by_arguments", "functional_jacobian", "vmap_with_randomness")
    }
    | {"transform=stacked_layers & numel>=1 & small_too"},
)
def equivalent_func_transform_calls_agree(case: TransformCase, out: Outcome) -> Finding:
    return is_true(out.agrees, "two spellings of one derivative differ, or two calls") if "agrees" in out else UNASKED


@transforms.law(
    "vmap draws random numbers for all samples or for each, as randomness says, and otherwise raises.",
    source="torch.func.vmap: randomness",
    when=lambda case: not case.refused and case.transform == "vmap_with_randomness",
    must_cover={"chunk=1 & batch>=2", "batch>=3"},
)
def vmap_draws_as_randomness_says(case: TransformCase, out: Outcome) -> Finding:
    drawn = same(out.drawn_rows, [1, case.batch])
    return every(drawn, is_true(out.refused_to_draw, "random numbers were drawn, though nothing says how"))


@transforms.law(
    "The function value that a transform returns beside a derivative equals W[i], bit for bit.",
    source="torch.func: the primal output",
)
def func_transform_value_equals_lookup(case: TransformCase, out: Outcome) -> Finding:
    return identical(out.value, case.value_bits) if "value" in out else UNASKED


@transforms.law(
    "What a transform returns at tensors that require grad has the gradients of W[i] or of Mᵀ G.",
    source="torch.func: transforms compose with torch.autograd",
    when=lambda case: case.given in ("parameter", "trains") and not case.refused,
    must_cover={"given=parameter", "given=trains", "transform=grad_and_value", "transform=vmap_value"},
)
def func_transform_result_is_differentiated_further(case: TransformCase, out: Outcome) -> Finding:
    findings = []
    if "value_to_weight" in out:
        findings.append(within(out.value_to_weight, *case.pull(case.samples[0], case.samples[0].upstream)))
    leaf, oracle = DERIVED.get(case.transform, ("", expected))
    if leaf in out:
        findings.append(within(getattr(out, leaf), *oracle(case)))
    return every(*findings) if findings else UNASKED


@transforms.law(
    "The result is an unwrapped tensor of the weight's dtype that does not require grad.", source="torch.func"
)
def func_transform_result_is_an_unwrapped_tensor(case: TransformCase, out: Outcome) -> Finding:
    return every(
        is_true(out.plain, "the result is still wrapped by a transform"),
        described(
            out.result, dtype=case.dtype, requires_grad=False, is_sparse=case.sparse and case.transform in SPARSE
        ),
    )


@transforms.law(
    "A transform modifies no input and leaves each input's requires_grad and grad_fn unchanged.",
    source="torch.func: pure functions",
)
def func_transform_modifies_no_input(case: TransformCase, out: Outcome) -> Finding:
    return every(unwritten(out), is_true(out.inputs_as_before, "an input requires grad or has a graph now"))


@transforms.law(
    "A transform changes neither grad mode, default dtype, thread count, deterministic mode nor random number generator state.",
    source="no side effects",
)
def func_transform_preserves_global_state(case: TransformCase, out: Outcome) -> Finding:
    return left_alone(out.surroundings)


@transforms.law(
    "An index outside [0, num_embeddings) raises an error in every transform, and no input is modified.",
    source="nn.Embedding: indices are in [0, num_embeddings - 1]",
    must_cover={"out_of_range=V", "out_of_range=-1", "maps_weight", "maps_indices"},
    refusal=True,
)
def func_transform_out_of_range_indices_raise(case: TransformCase, out: Outcome) -> Finding:
    return every(refuses(out, IndexError, RuntimeError), unwritten(out))


test_scope, test_product, test_random = transforms.tests()
