"""The claims of *Weight tying*."""

from __future__ import annotations

import math

import numpy as np

from embcheck.claims.case import ClaimCase
from embcheck.claims.chance import BETWEEN_TWO
from embcheck.claims.claim import claim
from embcheck.claims.conversions import multiplied, untransposed
from embcheck.claims.distributions import by_width, distributed, normal, numbers
from embcheck.claims.drawing import drawn_from, losses
from embcheck.claims.embedding_to_linear_conversion import biased, product_of
from embcheck.claims.ties import counted, first_values_of_pair, race, trained_pair, unified
from embcheck.core.comparison import every, identical, is_false, is_true, same
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import Difference, Finding, Holds

PAGE = "weight-tying.md"
#: The probability that a race between equals is called won, in a sign test.
CHANCE = 1e-6


@claim("tying.fewer_parameters", "Tying reduces the number of parameters (by V·D).", f"{PAGE}:2", "以达到减少参数量", counted,
       gloss="so as to reduce the number of parameters")  # fmt: skip
def fewer_parameters(case: ClaimCase, out: Outcome) -> Finding:
    table, tables = case.num_embeddings * case.embedding_dim, 1 if case.situation == "tied" else 2
    return same(out.elements, tables * table + case.num_embeddings)


claim("tying.one_space", "Tying gives a token one vector for input and output.", f"{PAGE}:2",
      "使得相同token保持统一的embedding空间", unified,
      lambda case, out: every(identical(out.rows, case.row_bits), identical(out.outputs, case.row_bits),
          same(out.logits, case.weight.sum(1))),
      gloss="so that the same token keeps one common embedding space", where=("tied",))  # fmt: skip
claim("tying.head_shape", "nn.Linear(3, 10) has a weight of 10×3.", f"{PAGE}:3-4", "的权重矩阵的尺寸是10*3", counted,
      lambda case, out: same(out.shapes, [out.shapes.raw[0], [case.num_embeddings, case.embedding_dim]]),
      gloss="the size of the weight matrix of … is 10*3")  # fmt: skip


@claim("tying.linear_formula", "A linear layer computes y = W @ x + b.", f"{PAGE}:4", "即y = W @ x + b", multiplied,
       gloss="that is, y = W @ x + b", where=("one vector", "batch of vectors"), fails=("batch of vectors",),
       otherwise="x is one vector; a batch of rows gives x @ W.T + b",
       instead=lambda case, out: every(same(out.failed, "RuntimeError"), biased(case, out)))  # fmt: skip
def linear_formula(case: ClaimCase, out: Outcome) -> Finding:
    expected = product_of(case) + np.arange(1, case.num_embeddings + 1)
    return every(same(out.failed, ""), same(out.direct, expected), same(out.value, expected))


claim("tying.same_size", "So it is as large as that of nn.Embedding(10, 3).", f"{PAGE}:5-6",
      "因此跟nn.Embedding(10, 3)…的权重矩阵大小相等", counted,
      lambda case, out: same(out.shapes, [[case.num_embeddings, case.embedding_dim]] * 2),
      gloss="so it is equal in size to the weight matrix of nn.Embedding(10, 3)")  # fmt: skip
claim("tying.no_transpose", "The head takes the embedding's weight as it is (other than the layer of the conversion).",
      f"{PAGE}:9", "self.embedding.weight = self.head.weight", untransposed,
      lambda case, out: every(is_true(out.fits, "the shapes differ"), same(out.value, case.weight.T)),
      where=("layer from D to V",))  # fmt: skip
claim("tying.updates_together", "One assignment makes both weights update together.", f"{PAGE}:9",
      "使用下面这行代码,二者权重会同步更新",
      trained_pair,
      lambda case, out: every(is_true(out.always, "they parted"), is_true(out.moved, "nothing moved")),
      gloss="with the line of code below the weights of both are updated in step", where=("tied",))  # fmt: skip
claim("tying.prints_all_true", "After training the tied weights compare equal, element by element.", f"{PAGE}:21",
      "print(model_2.embedding.weight==model_2.head.weight)", trained_pair,
      lambda case, out: same(out.elements, case.weight.size), where=("tied",))  # fmt: skip
claim("tying.untied_differ", "The untied weights do not.", f"{PAGE}:20",
      "print(model_1.embedding.weight==model_1.head.weight)", trained_pair,
      lambda case, out: every(is_false(out.ever, "they were equal"), same(out.elements, 0)), where=("not tied",))  # fmt: skip
claim("tying.models_differ_in_tie_alone", "Model_2 differs from Model_1 in the tie alone, its table being drawn alike.",
      f"{PAGE}:9", "# self.embedding.weight = self.head.weight", first_values_of_pair,
      lambda case, out: distributed(out.values, normal(case), case), chance=BETWEEN_TWO, fails=("Model_2, embedding",),
      otherwise="the embedding of Model_1 is meant: the tie puts Linear's U(±√(1/D)) in the place of N(0, 1)",
      instead=lambda case, out: distributed(out.values, by_width(case), case), **drawn_from(normal, by_width))  # fmt: skip


def by_chance(wins: int, losses: int) -> float:
    """P(at least so many wins of wins + losses) if either is as likely: the sign test."""
    games = wins + losses
    return float(sum(math.comb(games, k) for k in range(wins, games + 1)) / 2**games)


def race_lost(out: Outcome, first: Field, second: Field, words: str) -> Difference:
    """The first of two pairs is not the faster one in as many races as chance does not explain."""
    games = sum(raced(out))
    enough = next(wins for wins in range(games + 2) if by_chance(wins, games - wins) <= CHANCE)
    return Difference("race", f"int(({first.path} < {second.path}).sum()) >= {enough}", False, True, words)


def raced(out: Outcome) -> tuple[int, int]:
    """How often the tied and the untied pair came first to half of the smaller first loss."""
    tied, untied = numbers(out.tied), numbers(out.untied)
    return int((tied < untied).sum()), int((untied < tied).sum())


def untied_first(case: ClaimCase, out: Outcome) -> Finding:
    """The untied pair is the faster one, more often than chance allows."""
    wins, losses = raced(out)
    chance = by_chance(losses, wins)
    lost = race_lost(out, out.untied, out.tied, f"won {losses} of {wins + losses}")
    return Holds(chance / CHANCE) if chance <= CHANCE else lost


def told(case: ClaimCase, out: Outcome) -> str:
    """The race in words."""
    wins, lost = raced(out)
    tied, untied = np.median(numbers(out.tied)), np.median(numbers(out.untied))
    chance = by_chance(max(wins, lost), min(wins, lost))
    lower = int((numbers(out.tied_left) < numbers(out.untied_left)).sum())
    return (
        f"tied first in {wins} of {out.tied.values.size} runs, untied in {lost} (if both were as fast, with probability "
        f"{chance:.1g}; at most {CHANCE:g} is asked); to half the loss in {tied:g} and {untied:g} steps (median); after 480 "
        f"steps the tied loss is the lower one in {lower}"
    )


@claim("tying.converges_faster", "With tied weights the loss converges faster.", f"{PAGE}:27",
       "在这个例子中,使用 weight-tying 后 loss 收敛更快", race,
       gloss="in this example the loss converges faster once weight tying is used",
       fails=("as written, but 30×8", "same first values", "same first values, random targets"),
       otherwise="the table is as small as there (10×3), the targets are the inputs, and the untied table starts "
       "from N(0, 1), as written, and the tied one from Linear's smaller values; otherwise the untied pair is faster",
       instead=untied_first, tells=told,
       draws=losses("Median loss and where four fifths of the runs are", ("tied", "untied"), "curves", "at"))  # fmt: skip
def converges_faster(case: ClaimCase, out: Outcome) -> Finding:
    wins, losses = raced(out)
    chance = by_chance(wins, losses)
    words = f"won {wins} and lost {losses}; chance {chance:.2g}, at most {CHANCE:g}"
    return Holds(chance / CHANCE) if chance <= CHANCE else race_lost(out, out.tied, out.untied, words)
