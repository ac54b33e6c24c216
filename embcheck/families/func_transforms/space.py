"""Which cases of func_transforms there are, and which program runs each."""

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, MATRICES_TRANSPOSED, SHARED
from embcheck.core.space import Space, covering
from embcheck.core.stream import COLUMNS, ROWS, Stream
from embcheck.families.func_transforms import oracle
from embcheck.families.func_transforms.autograd_functional import TRANSFORMS
from embcheck.families.func_transforms.cases import PARTS, TransformCase
from embcheck.families.func_transforms.programs import GIVEN, LOOKS, transformed
from embcheck.families.lookup import cases

#: Every choice of what vmap maps over.
SUBSETS = tuple(chosen for n in (1, 2, 3) for chosen in itertools.combinations(PARTS, n))

_STRIDED = ("contiguous", "transposed", "column_slice", "strided")
SHAPES = ((3,), (), (1,), (4,), (0,), (2, 3), (3, 1), (2, 2, 2), (2, 0))


def plan(case: TransformCase) -> Plan:
    flags = case.keywords("padding_idx", "scale_grad_by_freq", "sparse")
    options = {
        "make": LOOKS[case.look],
        "transform": TRANSFORMS[case.transform],
        "layer": (case.num_embeddings, case.embedding_dim, flags),
        "axes": {
            "all_dims": case.dims,
            "look_dims": case.dims[:2],
            "out_dim": case.out_dim,
            "chunk": case.chunk,
            "samples": case.batch,
            "turn": case.seed,
            "twice": case.twice,
            "small_too": case.small_too,
        },
        "kept": GIVEN[case.given],
        "earlier": case.earlier,
    }
    return Plan(transformed, case.inputs(), options)


def repair(case: TransformCase) -> TransformCase | None:
    if case.num_embeddings == 0 and (case.numel or case.look != "functional"):
        return None
    changes: dict[str, Any] = {"padding_idx": cases.padding_of(case.padding_idx, case.num_embeddings)}
    mapped: tuple[str, ...] = ()
    if case.transform in oracle.MAPPED:
        taken = PARTS if case.transform in oracle.WITH_UPSTREAM else PARTS[:2]
        mapped = tuple(part for part in taken if part in case.mapped) or ("indices",)
    else:
        batch = min(case.batch, 5) if case.transform == "stacked_layers" else 2
        changes |= {"in_dim": 0, "out_dim": 0, "chunk": None, "batch": batch}
    mapped = oracle.ALL_MAPPED.get(case.transform, mapped)
    # Which counts divide, a sample's or all samples', nothing says; nor what is the adjoint of what they divide.
    ambiguous = case.transform == "vmap_backward" and "indices" in mapped
    scaled = case.scale_grad_by_freq and not ambiguous and case.transform not in oracle.UNSCALED
    batched = "weight" in mapped and (case.transform in oracle.SPARSE or case.given != "plain")
    if case.transform not in (*oracle.SPARSE, *oracle.DENSE) or scaled or batched:
        changes["sparse"] = False
    fitted = case.but(**changes, mapped=mapped, scale_grad_by_freq=scaled)
    if fitted.transform == "functional_jacobian":  # it stacks rows, of which there must be one
        fitted = fitted.but(shape=fitted.shape if fitted.numel else (1,), embedding_dim=max(1, fitted.embedding_dim))
    # One axis has to be that of both.
    rank = min(len(fitted.shape) + 1, 3) if fitted.transform == "vmap_by_one_axis" else len(fitted.shape) + 1
    if not -rank <= fitted.in_dim < rank:
        fitted = fitted.but(in_dim=0)
    # Some look up in several ways, or not at all.
    if not fitted.lookup.numel or fitted.transform in ("stacked_layers", "vmap_by_names"):
        fitted = fitted.but(out_of_range=None)
    if fitted.refused:
        fitted = fitted.but(earlier=0)
    # What lies with strides of 0 is the same along these axes, of which no sample's may be one.
    if fitted.upstream_layout in SHARED and "upstream" in fitted.mapped and fitted.in_dim:
        fitted = fitted.but(upstream_layout="contiguous")
    if fitted.transform == "hessian_by_arguments" and not fitted.embedding_dim:
        fitted = fitted.but(embedding_dim=1)  # without numbers jacfwd has no tangents: see the ledger
    wide = fitted.embedding_dim**2 * fitted.num_embeddings * max(fitted.numel, fitted.num_embeddings)
    if fitted.transform in oracle.WIDE and wide > 1 << 17:
        fitted = fitted.but(transform="vjp", mapped=())
    # Every sum of products must fit: 18 = 2 · 3 · 3 for each token of a row.
    if not fitted.refused and 18 * fitted.lookup.max_count * fitted.batch > min(fitted.format.largest_integer, 1 << 24):
        fitted = fitted.but(dtype="float32")
    return fitted


def scope() -> Iterator[TransformCase]:
    """Every transform of every small shape, each choice of mapped parts with every axis that they may lie at."""
    axes = ((0, 0), (1, -1), (-1, 1), (2, 0), (-2, 0))
    for seed, (name, shape, padding) in enumerate(itertools.product(oracle.ORACLES, SHAPES, (None, 0, -1))):
        yield TransformCase(3, 2, name, "uniform", shape, padding, seed=seed)
    for seed, (name, mapped, (into, out)) in enumerate(itertools.product(oracle.MAPPED, SUBSETS, axes)):
        sizes: dict[str, Any] = {"mapped": mapped, "in_dim": into, "out_dim": out, "batch": 1 + seed % 3}
        sizes |= {"padding_idx": (None, 0, -1)[seed % 3], "scale_grad_by_freq": seed % 4 == 1}
        shape = ((2,), (), (3, 2))[seed // 3 % 3]
        yield TransformCase(3, 2, name, "uniform", shape, **sizes, seed=seed)
    # As many samples as tokens: an axis that is not moved gives results of the right shape.
    for seed, name in enumerate(oracle.APPLIED["vmap"]):
        yield TransformCase(3, 2, name, "uniform", (2,), mapped=PARTS[:2], in_dim=1, seed=seed)


def fixed_cases() -> Iterator[TransformCase]:
    """Jacobians and Hessians of a column and of a row, which no other axis stands in for; tables of one number; and beyond the
    thresholds of ATen's kernels, for those whose results stay small."""
    for name in oracle.WIDE:
        for seed, (rows, width) in enumerate(((5, 1), (1, 5), (4, 4))):
            yield TransformCase(rows, width, name, "cycle", (4,), (None, 0)[seed % 2], mapped=("indices",), seed=seed)
    for seed, (rows, width, numel) in enumerate(((5, 3, 65), (5, 129, 17), (1001, 2, 33), (5, 1, 1001), (3, 2, 3073))):
        for position, name in enumerate(name for name in oracle.ORACLES if name not in oracle.WIDE):
            mapped = SUBSETS[(seed + position) % len(SUBSETS)]
            dtype = ("float32", "float64")[(seed + position) % 2]
            padding = (None, rows - 1, 0)[(seed + position) % 3]
            yield TransformCase(rows, width, name, "uniform", (numel,), padding, mapped=mapped, dtype=dtype, seed=seed)
    for seed, name in enumerate(oracle.APPLIED["vmap"]):
        yield TransformCase(
            1, 1, name, "cycle", ((), (2,))[seed % 2], mapped=SUBSETS[seed % 3], batch=1, in_dim=-1, seed=seed
        )
    yield from _covering()


#: Of each transform of torch.func any two of these meet, and of three most do.
COVERED: dict[str, tuple[Any, ...]] = {
    "num_embeddings": ROWS,
    "embedding_dim": COLUMNS,
    "shape": ((3,), (), (1,), (8,), (17, 2), (2, 3)),
    "dtype": tuple(FORMATS),
    "layout": (*_STRIDED, MATRICES_TRANSPOSED),
    "upstream_layout": (*_STRIDED, *SHARED),
    "index_layout": _STRIDED,
    "tangent_layout": _STRIDED,
    "given": tuple(GIVEN),
    "earlier": (0, 1, 2, 3),
}
_MAPPING: dict[str, tuple[Any, ...]] = {
    "in_dim": (0, 1, -1), "out_dim": (0, 1, -1), "chunk": (None, 1, 2), "batch": (2, 1, 3, 8, 17), "mapped": SUBSETS,
}  # fmt: skip

_SIZES = ("num_embeddings", "embedding_dim")


def _enlarge(chosen: dict[str, Any], size: str) -> None:
    """Gives a table more than a thousand elements."""
    chosen[size] *= 1024 // (chosen["num_embeddings"] * chosen["embedding_dim"]) + 1


def _covering() -> Iterator[TransformCase]:
    """Every transform of torch.func, at tables and upstream gradients of some sizes, and of more than a thousand elements."""
    for position, (name, applied) in enumerate(oracle.APPLIED.items()):
        axes = {"transform": applied, **COVERED, "many": (False, True), **(_MAPPING if name == "vmap" else {})}
        if name == "stack_module_state":
            axes["batch"] = (1, 2, 3, 5)
        for seed, chosen in enumerate(covering(axes, 2, position, extra_rows=5)):
            if chosen.pop("many"):
                _enlarge(chosen, _SIZES[seed % 2])
            yield TransformCase(**chosen, indices="uniform", seed=seed)


def draw(draws: Stream) -> TransformCase | None:
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    chosen |= {"transform": draws.choice(tuple(oracle.ORACLES)), "mapped": draws.choice(SUBSETS)}
    if draws.chance(2):  # of torch.func, what it may be given
        chosen |= {name: draws.choice(values) for name, values in (COVERED | _MAPPING).items()}
        chosen |= {"transform": draws.choice(draws.choice(tuple(oracle.APPLIED.values()))), "indices": "uniform"}
        if draws.chance(4):
            _enlarge(chosen, draws.choice(_SIZES))
        elif draws.chance(8):
            chosen |= dict.fromkeys(_SIZES, 1)
        return repair(TransformCase(**chosen, seed=draws.between(0, 255)))
    rows, width = draws.choice(((33, 1), (129, 2), (3, 33), (2, 65), *itertools.product(range(1, 12), range(1, 9))))
    shape = cases.spread(draws.between(1, 12), draws) if draws.chance(2) else chosen["shape"]
    sizes = {"num_embeddings": rows, "embedding_dim": width, "shape": shape, "seed": draws.between(0, 255)}
    return repair(TransformCase(**{**chosen, **sizes}))


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5, 8, 17),
    "embedding_dim": (2, 1, 3, 0, 7, 8, 17, 33),
    "transform": tuple(oracle.ORACLES),
    "indices": ("cycle", "uniform", "unequal", "late_padding", "ends", "padding"),
    "shape": SHAPES,
    "padding_idx": (None, 0, -1, "last"),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "mapped": SUBSETS,
    "batch": (2, 1, 3, 5),
    "in_dim": (0, 1, -1, -2),
    "out_dim": (0, -1, 1),
    "out_of_range": cases.STRAY_AXIS[:3],
    "dtype": tuple(FORMATS),
    "index_dtype": ("int64", "int32"),
    "layout": LAYOUTS[:-1],
    "look": tuple(LOOKS),
    "upstream_layout": (*_STRIDED, *SHARED),
    "index_layout": _STRIDED,
    "tangent_layout": _STRIDED,
    "given": tuple(GIVEN),
    "earlier": (0, 1, 2, 3),
    "chunk": (None, 1, 2),
}

SPACE = Space(
    TransformCase,
    AXES,
    repair,
    lambda: filter(None, map(repair, scope())),
    fixed_cases,
    flags=("transform", "padding_idx", "mapped", "dtype"),
    base={"shape": (2, 3), "indices": "uniform", "num_embeddings": 3},
    draw=draw,
    strength=2,
)
