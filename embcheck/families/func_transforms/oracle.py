"""What each transform's ``result`` must be, from the definitions, in numpy."""

from collections.abc import Callable

import numpy as np

from embcheck.core.format import Floats
from embcheck.core.oracle import Expected
from embcheck.families.func_transforms.cases import Sample, TransformCase

Oracle = Callable[[TransformCase], Expected]
Single = Callable[[TransformCase, Sample], Expected]


def exact(value: Floats) -> Expected:
    """A value that must be met exactly."""
    return value, np.zeros_like(value)


def one(oracle: Single) -> Oracle:
    """Without vmap: that of the only sample."""
    return lambda case: oracle(case, case.samples[0])


def stacked(oracle: Single) -> Oracle:
    """vmap on the outside: the samples' results along out_dim."""

    def results(case: TransformCase) -> Expected:
        values, limits = zip(*(oracle(case, sample) for sample in case.samples), strict=True)
        rank = values[0].ndim + 1
        axis = case.out_dim if -rank <= case.out_dim < rank else 0
        return np.stack(values, axis), np.stack(limits, axis)

    return results


def to_tables(case: TransformCase) -> Expected:
    """vmap on the inside: the gradient of each table, or of the one table from all samples."""
    return _to_tables(case, case.samples)


def _to_tables(case: TransformCase, samples: list[Sample]) -> Expected:
    values, limits = zip(*(pulled(case, sample) for sample in samples), strict=True)
    if "weight" not in case.mapped:
        return np.sum(values, axis=0), np.sum(limits, axis=0)
    axis = case.axis("weight") or 0
    return np.stack(values, axis), np.stack(limits, axis)


def pulled(case: TransformCase, sample: Sample) -> Expected:
    """Mᵀ G / c, shape ``(V, D)``."""
    return case.pull(sample, sample.upstream)


def value(case: TransformCase, sample: Sample) -> Expected:
    """W[i], shape ``(*indices.shape, D)``."""
    return exact(sample.weight[sample.tokens].reshape(*case.shape, case.embedding_dim))


def pushed(case: TransformCase, sample: Sample) -> Expected:
    """Ẇ[i], shape ``(*indices.shape, D)``."""
    return exact(sample.tangent[sample.tokens].reshape(*case.shape, case.embedding_dim))


def pushed_masked(case: TransformCase, sample: Sample) -> Expected:
    """Ẇ[i] with zeros at padding: the derivative of a backward pass by its upstream gradient."""
    moved = case.masked(sample) * sample.tangent[sample.tokens]
    return exact(moved.reshape(*case.shape, case.embedding_dim))


def jacobian(case: TransformCase, sample: Sample) -> Expected:
    """A ⊗ I, shape ``(*indices.shape, D, V, D)``."""
    return _kronecker(case, sample, np.ones((case.numel, 1)))


def jacobian_masked(case: TransformCase, sample: Sample) -> Expected:
    """M ⊗ I, divided by the counts: the Jacobian row by row, each a backward pass."""
    found, _ = _kronecker(case, sample, case.masked(sample))
    limit = case.format.unit_roundoff * found if case.scale_grad_by_freq else np.zeros_like(found)
    return found, limit


def _kronecker(case: TransformCase, sample: Sample, weights: Floats) -> Expected:
    hot = np.equal(sample.tokens[:, None], np.arange(case.num_embeddings)) * weights
    found: Floats = np.einsum("nv,de->ndve", hot, np.eye(case.embedding_dim))
    return exact(found.reshape(*case.shape, case.embedding_dim, case.num_embeddings, case.embedding_dim))


def second(case: TransformCase, sample: Sample) -> Expected:
    """The Hessian 2 Σ G on its diagonal, shape ``(V, D, V, D)``."""
    diagonal, limit = case.pull(sample, 2 * sample.upstream)
    shape = (*diagonal.shape, *diagonal.shape)
    return np.diag(diagonal.ravel()).reshape(shape), np.diag(limit.ravel()).reshape(shape)


def curved(case: TransformCase, sample: Sample) -> Expected:
    """The Hessian-vector product Mᵀ (2 G · Ẇ[i]), shape ``(V, D)``."""
    return case.pull(sample, 2 * sample.upstream * sample.tangent[sample.tokens])


def values_of_layers(case: TransformCase, sample: Sample) -> Expected:
    """The lookups in W, Ẇ, −W, −Ẇ, …, shape ``(batch, *indices.shape, D)``."""
    looked, moved = value(case, sample)[0], pushed(case, sample)[0]
    return exact(np.stack([looked, moved, -looked, -moved, looked][: case.batch]))


def signed(case: TransformCase) -> Expected:
    """W[i] of the samples, of which every other one is negated."""
    signs = iter(np.where(np.arange(len(case.samples)) % 2, -1.0, 1.0))
    return stacked(lambda case, sample: exact(next(signs) * value(case, sample)[0]))(case)


ORACLES: dict[str, Oracle] = {
    **dict.fromkeys(("grad", "grad_and_value", "vjp", "grad_by_arguments", "vjp_by_arguments"), one(pulled)),
    **dict.fromkeys(("jvp", "jvp_by_arguments"), one(pushed)),
    "backward_twice": one(pushed_masked),
    **dict.fromkeys(("jacrev", "jacrev_by_arguments"), one(jacobian_masked)),
    **dict.fromkeys(("jacfwd", "jacfwd_by_arguments", "jacfwd_from_the_end"), one(jacobian)),
    "stacked_layers": one(values_of_layers),
    **dict.fromkeys(
        ("vmap_value", "vmap_in_chunks", "vmap_by_names", "vmap_by_one_axis", "vmap_of_tables"), stacked(value)
    ),
    "vmap_of_signs": signed,
    "vmap_backward": to_tables,
    **dict.fromkeys(("vmap_of_grad", "vmap_of_vjp"), stacked(pulled)),
    "vmap_of_jvp": stacked(pushed),
    "vmap_of_jacrev": stacked(jacobian_masked),
    **dict.fromkeys(("hessian", "hessian_by_arguments"), one(second)),
    **dict.fromkeys(("functional_hvp", "forward_over_reverse"), one(curved)),
    "linearize": one(pushed),
    "functionalize": one(pulled),
    "without_grad_mode": one(pulled),
    "vmap_with_randomness": stacked(value),
    "functional_vjp": one(pulled),
    "functional_jvp": one(pushed_masked),  # a backward pass, differentiated by its upstream gradient
    "functional_jacobian": one(jacobian_masked),
    "functional_vhp": one(curved),
}


def summed(case: TransformCase) -> Expected:
    """The gradient of ΣW[i] by each table, or by the one table from all samples: Mᵀ 1."""
    return _to_tables(case, [sample._replace(upstream=np.ones_like(sample.upstream)) for sample in case.samples])


def unmasked(case: TransformCase) -> Expected:
    """The gradient of ΣMᵀG by the upstream gradient: 1, and 0 at padding; of a Hessian twice as much."""
    factor = 1.0 + ("hessian" in case.transform)
    return exact(factor * (case.masked(case.samples[0]) * np.ones((1, case.embedding_dim))).reshape(*case.shape, -1))


#: What is derived from the sum of a result, where that is not zero.
DERIVED: dict[str, tuple[str, Oracle]] = {
    **dict.fromkeys(("vmap_value", "vmap_in_chunks", "vmap_by_one_axis", "vmap_of_tables"), ("to_weight", summed)),
    **dict.fromkeys(
        ("grad", "grad_and_value", "vjp", "grad_by_arguments", "hessian", "hessian_by_arguments"),
        ("to_upstream", unmasked),
    ),
}
#: Those that are called with a table, tokens or whole batches of them alone, so that all must be mapped, or the table alone.
ALL_MAPPED = {"vmap_by_one_axis": ("weight", "indices"), "vmap_of_tables": ("weight",)}
#: For each transform of torch.func those that apply it to what it may be given.
APPLIED: dict[str, tuple[str, ...]] = {
    "grad": ("grad", "grad_by_arguments"),
    "grad_and_value": ("grad_and_value", "grad_by_arguments"),
    "jacrev": ("jacrev", "jacrev_by_arguments"),
    "jacfwd": ("jacfwd", "jacfwd_by_arguments", "jacfwd_from_the_end"),
    "hessian": ("hessian", "hessian_by_arguments"),
    "vjp": ("vjp", "vjp_by_arguments"),
    "jvp": ("jvp", "jvp_by_arguments"),
    "vmap": ("vmap_by_one_axis", "vmap_of_tables", "vmap_of_signs", "vmap_value", "vmap_of_grad"),
    "stack_module_state": ("stacked_layers",),
    "linearize": ("linearize",),
    "functionalize": ("functionalize",),
}


def expected(case: TransformCase) -> Expected:
    """What the transform's ``result`` must be, and how far it may be off."""
    return ORACLES[case.transform](case)


#: Transforms that vmap maps over samples.
MAPPED = tuple(name for name in ORACLES if "vmap" in name)
#: Those of them whose result depends on the upstream gradient.
WITH_UPSTREAM = ("vmap_backward", "vmap_of_grad", "vmap_of_vjp")
#: Those whose result has (V·D)² or N·D·V·D elements.
WIDE = tuple(name for name in ORACLES if "jac" in name or "hessian" in name)
#: Those that differentiate a backward pass, of which nothing says how counts divide it.
UNSCALED = ("functional_hvp", "functional_jvp", "functional_vhp")
#: Those that give a sparse gradient back.
SPARSE = (
    "grad",
    "grad_and_value",
    "vjp",
    "vmap_backward",
    "grad_by_arguments",
    "vjp_by_arguments",
    "without_grad_mode",
)
#: Those that accept sparse=True and give something dense back.  The others refuse a sparse gradient on the way.
DENSE = ("vmap_by_names", "jvp", "backward_twice", "jacfwd", "vmap_value", "vmap_in_chunks", "vmap_of_jvp", "functional_hvp",
         "vmap_by_one_axis", "vmap_of_tables", "vmap_of_signs", "jvp_by_arguments",
         "jacfwd_by_arguments", "jacfwd_from_the_end", "stacked_layers", "linearize",
         "vmap_with_randomness")  # fmt: skip
