"""First values of a table: their distribution, and what moves the padding row afterwards."""

import numpy as np

from embcheck.core.comparison import every, identical, is_true, same
from embcheck.core.format import FORMATS
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding, Holds
from embcheck.families.default_init.cases import (
    INITIAL_SPACE,
    INITIALISERS,
    PADDING_TRAINING_SPACE,
    InitialCase,
    PaddingStepCase,
    initial_plan,
    step_plan,
)
from embcheck.families.initializers.oracle import allowed_correlation, drawn_from, extremes

# -- first values --------------------------------------------------------------------------------------------------


default_init = Family("default_init", INITIAL_SPACE, initial_plan, cost=12.0)


@default_init.law(
    "nn.Embedding draws its weight from N(0, 1); Xavier and uniform initialization draw from theirs.",
    source="nn.Embedding: initialized from N(0, 1); torch.nn.init; Dvoretzky-Kiefer-Wolfowitz inequality, error below 1e-9",
    must_cover={f"name={name}" for name in INITIALISERS} | {"padded", "dtype=float64", "elements>200000"},
)
def embedding_init_follows_documented_distribution(case: InitialCase, out: Outcome) -> Finding:
    drawn = out.values.values[case.drawn]
    return drawn_from(case.spread, out.values, FORMATS[case.dtype], rows_drawn(case), drawn)


def rows_drawn(case: InitialCase) -> str:
    """What leaves out the row that is not drawn, as an index of torch."""
    row = case.padding_idx
    return "" if case.drawn.all() else f"[[row for row in range({case.num_embeddings}) if row != {row}]]"


@default_init.law(
    "The largest deviation from the mean is within the range expected of that many normal samples.",
    source="nn.Embedding: initialized from N(0, 1); n values stay within t with probability (1 - 2Q(t))^n, error below 1e-12",
    when=lambda case: not case.spread.uniform,
    must_cover={"elements>700000"},
)
def embedding_init_tails_are_normal(case: InitialCase, out: Outcome) -> Finding:
    drawn, spread = out.values.values[case.drawn], case.spread
    least, most = extremes(drawn.size)
    far = float(np.abs(drawn - spread.mean).max()) / spread.scale
    if least <= far <= most:
        return Holds(float(far / most))
    words = (
        f"the value farthest out is {far:.4g} deviations from the mean; of {drawn.size} it is {least:.3g} to {most:.3g}"
    )
    path = f"({out.values.path}{rows_drawn(case)} - {spread.mean!r}).abs().max().item() / {spread.scale!r}"
    return Difference("tails", path, far, (least + most) / 2, words, (most - least) / 2)


@default_init.law(
    "Rows, columns and adjacent elements of the initial weight are uncorrelated.",
    source="nn.Embedding: initialized from N(0, 1); Chernoff bound, error below 1e-9",
    when=lambda case: case.name == "default",
)
def embedding_init_values_are_uncorrelated(case: InitialCase, out: Outcome) -> Finding:
    rows = out.values.values[case.drawn]
    half, side = len(rows) // 2, rows.shape[1] // 2
    pairs = {"rows apart": (f"[:{half}]", f"[{half}:{2 * half}]"), "neighbours": (f"[0::2][:{half}]", f"[1::2][:{half}]"),
             "columns": (f"[:, :{side}]", f"[:, {side}:{2 * side}]"), "next": ("[:, 0:-1:2]", "[:, 1::2]")}  # fmt: skip
    ratios = []
    for name, (one, other) in pairs.items():
        a, b = (eval(f"rows{part}", {"rows": rows}) for part in (one, other))
        mean, most = abs(float((a * b).mean())), allowed_correlation(a.size)
        if mean > most:
            words = f"{name} correlate: {mean:.3g}, at most {most:.3g}"
            drawn = f"{out.values.path}{rows_drawn(case)}.double()"
            path = f"({drawn}{one} * {drawn}{other}).mean().abs().item()"
            return Difference("correlation", path, mean, 0.0, words, most)
        ratios.append(Holds(float(mean / most)))
    return every(*ratios)


@default_init.law(
    "A torch.nn.init function fills the Parameter in place, returns it, and repeats from the same RNG state.",
    source="torch.nn.init: fill the input tensor; torch.set_rng_state",
)
def embedding_init_functions_work_in_place(case: InitialCase, out: Outcome) -> Finding:
    return every(
        is_true(out.returned, "another tensor was returned"),
        is_true(out.in_place, "the Parameter or its memory was exchanged"),
        is_true(out.moved, "the version did not move"),
        is_true(out.trains, "the Parameter no longer requires grad, or has a gradient"),
        identical(out.again, out.values),
    )


@default_init.law(
    "The default initialization zeroes the padding row; torch.nn.init functions fill it.",
    source="nn.Embedding: padding_idx; torch.nn.init",
    when=lambda case: case.padding_idx is not None,
    must_cover={"padded"},
)
def embedding_init_functions_fill_padding_row(case: InitialCase, out: Outcome) -> Finding:
    assert case.padding_idx is not None
    filled, wanted = bool(out.values.values[case.padding_idx].any()), case.name != "default"
    if filled != wanted:
        words = f"the padding row is {'filled' if filled else 'zero'}, and {case.name} leaves it {'filled' if wanted else 'zero'}"
        return Difference("padding", f"{out.values.path}[{case.padding_idx}].any().item()", filled, wanted, words)
    return HOLDS if case.name in ("default", "data_uniform") else same(out.next[case.padding_idx], 0)


test_initial_scope, test_initial_product, test_initial_random = default_init.tests()

# -- padding in training -------------------------------------------------------------------------------------------


padding_row_training = Family("padding_row_training", PADDING_TRAINING_SPACE, step_plan, cost=8.0)


def is_moved(case: PaddingStepCase) -> bool:
    """Whether weight decay or a tied head reaches the padding row."""
    return bool(case.weight_decay) or case.head


@padding_row_training.law(
    "Training without weight decay and tied head leaves the padding row unchanged, bit for bit.",
    source="nn.Embedding: padding_idx is not updated during training, i.e. it remains as a fixed pad",
    when=lambda case: not is_moved(case),
    must_cover={"filled", "sparse", "negative_padding", "momentum=0.5", "optimizer=Adam", "optimizer=SparseAdam"},
)
def training_keeps_padding_row_unchanged(case: PaddingStepCase, out: Outcome) -> Finding:
    row = case.padding_row
    kept = case.format.to_bits(case.format.encode(case.weight[row]))
    return identical(out.steps[:, row], np.broadcast_to(kept, (case.steps, case.embedding_dim)))


@padding_row_training.law(
    "SGD updates the padding row only by weight decay, momentum and the tied head's gradient.",
    source="torch.optim.SGD; nn.Embedding: padding_idx",
    when=lambda case: case.optimizer == "SGD",
    must_cover={"head", "decayed", "filled", "momentum=0.5", "steps=3"},
)
def sgd_updates_padding_row_by_formula(case: PaddingStepCase, out: Outcome) -> Finding:
    steps, gradient = case.path
    return every(same(out.steps, steps), same(out.grad, gradient))


test_training_scope, test_training_product, test_training_random = padding_row_training.tests()
