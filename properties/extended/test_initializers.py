"""Filling: each initialiser of torch.nn.init, and the first values of layers, in every dtype, rank and layout."""

import math

import numpy as np

from embcheck.core.comparison import every, identical, is_true, same, unwritten, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding, Holds
from embcheck.families.initializers import oracle
from embcheck.families.initializers.cases import SPACE, InitializerCase, plan

initializers = Family("initializers", SPACE, plan, cost=8.0, only_cpu="the generators that are compared are the CPU's")
law = initializers.law


def makes_layer(case: InitializerCase) -> bool:
    """Whether the numbers are the first ones of a layer."""
    return case.fill in oracle.LAYERS and case.size > 0


def draws_alike(case: InitializerCase) -> bool:
    """Whether the numbers are independent draws of one distribution."""
    return case.distribution is not None and case.size > 0


@law(
    "torch.nn.init functions that draw nothing fill exactly the documented values.",
    source="torch.nn.init: constant_, ones_, zeros_, eye_, dirac_; std = 0; gain = 0",
    when=lambda case: case.exact is not None,
    must_cover={"fill=eye", "fill=dirac", "fill=dirac & groups=2", "fill=normal_fixed", "fill=xavier_uniform_zero"}
    | {"layout=transposed", "rank=0"}
    | {f"fill={each} & elements>1" for each in ("zeros", "ones", "constant")},
)
def initializer_without_randomness_fills_exact_values(case: InitializerCase, out: Outcome) -> Finding:
    # A row of a larger Parameter is filled alike.
    return every(same(out.values, case.exact), same(out.rows[0], case.exact))


@law(
    "Random torch.nn.init values stay in range and follow the documented distribution.",
    source="torch.nn.init; Dvoretzky-Kiefer-Wolfowitz, error below 1e-9 in a run",
    when=draws_alike,
    must_cover={f"fill={name}" for name in oracle.DISTRIBUTIONS} | {"many", "rank=3", "rank=4", "own_generator"},
)
def initializer_values_follow_documented_distribution(case: InitializerCase, out: Outcome) -> Finding:
    assert case.distribution is not None
    return oracle.drawn_from(case.distribution, out.values, case.format)


@law(
    "Each element of a tensor that is filled again and again follows the documented distribution.",
    source="torch.nn.init; Dvoretzky-Kiefer-Wolfowitz, error below 1e-9 in a run",
    when=lambda case: case.repeats > 0,
    must_cover={f"fill={name} & elements=153" for name in ("normal", "uniform", "embedding")}
    | {"fill=linear_weight", "fill=truncated", "elements<16", "elements=64", "dtype=float64", "dtype=bfloat16"},
)
def each_element_follows_documented_distribution(case: InitializerCase, out: Outcome) -> Finding:
    assert case.distribution is not None
    return oracle.elements_drawn_from(case.distribution, out.repeated, case.format)


@law(
    "Random torch.nn.init values are those that the tensor's own method draws from the same generator, up to rounding.",
    source="torch.nn.init: fill with values drawn from U(a, b) or N(mean, std²); Tensor.uniform_, normal_",
    when=lambda case: case.size > 0 and case.sampler is not None,
    must_cover={"own_generator", "dtype=bfloat16", "rank=1", "many"}
    | {f"fill=kaiming_{each} & layout=transposed & rank=2 & wide" for each in ("uniform", "normal")}
    | {f"fill=kaiming_{each} & nonlinearity={name}" for each in ("uniform", "normal") for name in ("linear", "tanh")}
    | {"fill=sparse_half & std=0.5"},
)
def initializer_draws_as_the_tensor_does(case: InitializerCase, out: Outcome) -> Finding:
    # It tells the bounds and the generator; whether the tensor's method draws well is told by the distributions of the values.
    assert case.sampler is not None
    values = out.drawn.values
    # A bound or a deviation, a product and a sum are rounded once on either side.
    limit = 8 * case.format.unit_roundoff * (np.abs(values) + np.abs(case.sampler[1:]).max())
    if case.fill in oracle.SPARSITY:  # of which some are set to zero
        return within(out.values, np.where(out.values.values == 0, 0.0, values), limit)
    return within(out.values, values, limit)


@law(
    "Mean and variance match the documented distribution, overall, per row and per column.",
    source="torch.nn.init; Hoeffding; Laurent and Massart 2000, error below 1e-9 in a run",
    when=lambda case: draws_alike(case) and not case.distribution.within,
    must_cover={"many", "dtype=bfloat16", "elements>200000"},
)
def initializer_mean_and_variance_match_distribution(case: InitializerCase, out: Outcome) -> Finding:
    spread = case.distribution
    assert spread is not None
    values = out.values.values.reshape(case.shape[0] if case.shape else 1, -1)
    square = spread.scale**2 / (3 if spread.uniform else 1)
    # One rounding of each number moves its mean by u|x|, and its square by 3u x².
    u, size = case.format.unit_roundoff, abs(spread.mean) + spread.scale
    worst, table = 0.0, f"({out.values.path}.double().reshape({values.shape}) - {spread.mean!r})"
    for name, axis in (("all numbers", None), ("a row", 1), ("a column", 0)):
        n = values.size if axis is None else values.shape[axis]
        many = values.size // n
        mean = np.abs(values.mean(axis) - spread.mean).max(), oracle.allowed_mean(n, spread, many) + u * size
        about = ((values - spread.mean) ** 2).mean(axis)
        off = np.abs(about - square).max(), oracle.allowed_square(n, spread, many) + 3 * u * size**2
        over = "" if axis is None else axis
        paths = f"{table}.mean({over})", f"({table}.square().mean({over}) - {square!r})"
        for what, (far, most), path in zip(("mean", "mean square"), (mean, off), paths, strict=True):
            if far > most:
                words = f"the {what} of {name} is off by {far / most:.3g} times what chance allows"
                return Difference(what, f"{path}.abs().max().item()", float(far), 0.0, words, float(most))
            worst = max(worst, float(far / most))
    return Holds(worst)


@law(
    "A new layer's values are those that the documented torch.nn.init functions draw, the weight's before the bias's.",
    source="nn.Linear.reset_parameters: kaiming_uniform_ with a = √5, then uniform_; nn.Embedding.reset_parameters: normal_",
    when=makes_layer,
    must_cover={f"fill={name}" for name in oracle.LAYERS} | {"dtype=bfloat16"},
)
def layer_draws_as_documented(case: InitializerCase, out: Outcome) -> Finding:
    return identical(out.values, out.drawn)


@law(
    "A new layer's Parameters are contiguous leaves of the requested dtype that require grad.",
    source="nn.Linear, nn.Embedding: Variables; device, dtype",
    when=makes_layer,
    must_cover={f"fill={name}" for name in oracle.LAYERS} | {"dtype=float64"},
)
def new_layer_has_contiguous_trainable_parameters(case: InitializerCase, out: Outcome) -> Finding:
    return same(out.layers, [case.layer] * (4 + case.repeats))


@law(
    "init.orthogonal_ makes the rows, or columns if fewer, orthogonal with norm gain.",
    source="torch.nn.init.orthogonal_; Higham 2002, Theorem 19.4: |QᵀQ − I| ≤ c·m·n·u, c = 8",
    when=lambda case: case.fill in oracle.ORTHOGONAL and case.size > 0,
    must_cover={"fill=orthogonal_wide & wide", "fill=orthogonal_wide & wide=False", "rank=3"},
)
def orthogonal_init_is_orthogonal_with_norm_gain(case: InitializerCase, out: Outcome) -> Finding:
    values = out.values.values.reshape(case.shape[0], -1)
    gain, path = oracle.ORTHOGONAL[case.fill], f"{out.values.path}.double().reshape({values.shape})"
    return oracle.orthogonal(values, path, 8 * values.size * case.format.unit_roundoff * gain**2, gain)


@law(
    "init.sparse_ sets the documented fraction of each column, rounded up, to zero.",
    source="torch.nn.init.sparse_: the fraction of elements in each column to be set to zero",
    when=lambda case: case.fill in oracle.SPARSITY,
    must_cover={"fill=sparse_half"},
)
def sparse_init_zeroes_documented_fraction(case: InitializerCase, out: Outcome) -> Finding:
    zeros = (out.values.values == 0).sum(0)
    wanted = math.ceil(oracle.SPARSITY[case.fill] * case.shape[0])
    if (zeros == wanted).all():
        return HOLDS
    path = f"({out.values.path} == 0).sum(0).tolist()"
    words = f"{zeros.tolist()} zeros in the columns, expected {wanted}"
    return Difference("zeros", path, zeros.tolist(), [wanted] * len(zeros), words)


@law(
    "torch.nn.init functions fill their tensor in place and return it.",
    source="torch.nn.init: fill the input tensor; without autograd",
    must_cover={"layout=column_slice", "layout=strided", "dtype=bfloat16", "rank=0"},
)
def initializer_fills_and_returns_its_tensor(case: InitializerCase, out: Outcome) -> Finding:
    return every(
        is_true(out.returned, "another tensor was returned"),
        is_true(out.placed, "memory, strides or dtype changed"),
        is_true(out.counted, "the version did not move"),
        is_true(out.rooted, "the Parameter's requires_grad or graph changed"),
        is_true(out.graded, "the Parameter's gradient changed"),
        same(out.rows[1], 7.0),  # beside the row that is filled
        unwritten(out, "weight"),
    )


@law(
    "torch.nn.init functions draw only from the given generator.",
    source="torch.nn.init: generator",
    must_cover={"own_generator", "drawn"},
)
def initializer_draws_from_given_generator(case: InitializerCase, out: Outcome) -> Finding:
    random = draws_alike(case) and case.size > 8
    again = every(same(out.again, out.values.require()), same(out.following_again, out.following.require()))
    if case.own_generator:
        again = every(again, is_true(out.undisturbed, "torch's own generator was used"))
    if random and np.array_equal(out.following.values, out.values.values):
        path = f"torch.equal({out.following.path}, {out.values.path})"
        return Difference("repeated", path, True, False, "the same numbers were drawn twice")
    # Eight numbers of at least 128 that are drawn alike often: a row comes twice less than once in 10^16.
    if random and len(case.shape) > 1 and case.shape[-1] >= 8 and case.size > case.shape[-1]:
        rows = out.values.values.reshape(-1, case.shape[-1])
        if np.array_equal(rows[0], rows[-1]):
            path = f"torch.equal(*{out.values.path}.reshape{rows.shape}[[0, -1]])"
            return Difference("repeated", path, True, False, "the last row is the first one")
    return again


test_scope, test_product, test_random = initializers.tests()
