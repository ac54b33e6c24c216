"""The claims of *Weight tying*."""

import math

import numpy as np

from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import Page, only_if
from embcheck.claims.distributions import losses
from embcheck.claims.embedding_to_linear_conversion import biased, product_of
from embcheck.claims.lookups import multiplied, untransposed
from embcheck.claims.pairs import TOKENS, counted, race, size_of, trained_pair, unified
from embcheck.core.comparison import every, identical, is_false, is_true, same, within
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import Difference, Finding, Holds

#: The probability that a race between equals is called won, in a sign test.
CHANCE = 1e-6


def fewer_parameters(case: ClaimCase, out: Outcome) -> Finding:
    table, tables = case.num_embeddings * case.embedding_dim, 1 if case.situation == "tied" else 2
    return same(out.elements, tables * table + case.num_embeddings)


def linear_formula(case: ClaimCase, out: Outcome) -> Finding:
    expected = product_of(case) + np.arange(1, case.num_embeddings + 1)
    return every(same(out.failed, ""), same(out.direct, expected), same(out.value, expected))


def by_chance(wins: int, losses: int) -> float:
    """P(at least so many wins of wins + losses) if either is as likely: the sign test."""
    games = wins + losses
    return float(sum(math.comb(games, k) for k in range(wins, games + 1)) / 2**games)


def raced(first: Field, second: Field) -> tuple[int, int]:
    """How often the first and the second of two pairs came first to half of the smaller first loss."""
    one, other = first.values, second.values
    return int((one < other).sum()), int((other < one).sum())


def is_faster(first: Field, second: Field) -> Finding:
    """The first of two pairs came first more often than chance allows."""
    wins, lost = raced(first, second)
    chance, games = by_chance(wins, lost), wins + lost
    if chance <= CHANCE:
        return Holds(chance / CHANCE)
    enough = next(wins for wins in range(games + 2) if by_chance(wins, games - wins) <= CHANCE)
    words = f"won {wins} and lost {lost}; chance {chance:.2g}, at most {CHANCE:g}"
    return Difference("race", f"int(({first.path} < {second.path}).sum()) >= {enough}", False, True, words)


def is_of_models(case: ClaimCase, out: Outcome) -> Finding:
    """What all runs at once have is what nn.Embedding and nn.Linear have, tied by one Parameter or not, up to rounding.

    No weight is above M, for Adam moves none by more than 3.2 lr in a step.

    A logit's rounding is at most γ·z of D + 4 operations, z = D M² + M, which changes an output p by at
    most p·ε, ε the double of it and V + 8 roundings of softmax; p and p - y are at most 1.  The gradient of a logit is then off
    by 4/NV of 2ε and V + 7 roundings, and that of a weight, a sum over N tokens and V logits, twice for a tied one, by 8M times
    2ε and 2V + N + 7 of them; two computations are compared.  Adam's first step is lr·g/(|g| + eps), no steeper than lr/eps.
    """
    rows, width = size_of(str(case.situation), *case.size)
    u = case.format.unit_roundoff
    largest = 1 + 320 * 3.2e-3 + float(np.abs(out.stepped.values).max())
    error = 2 * (width + 4) * u * (width * largest**2 + largest) + (rows + 8) * u
    bound = 16 * largest * (2 * error + (2 * rows + len(TOKENS) + 7) * u)
    moved = bound * 1e-3 / 1e-8 + 20 * u * largest
    return every(within(out.at_once, out.models.values, bound), within(out.stepped, out.models_stepped.values, moved))


def untied_first(case: ClaimCase, out: Outcome) -> Finding:
    """The untied pair is the faster one, more often than chance allows."""
    return every(is_of_models(case, out), is_faster(out.untied, out.tied))


def converges_faster(case: ClaimCase, out: Outcome) -> Finding:
    return every(is_of_models(case, out), is_faster(out.tied, out.untied))


def told(case: ClaimCase, out: Outcome) -> str:
    """The race in words."""
    wins, lost = raced(out.tied, out.untied)
    tied, untied = np.median(out.tied.values), np.median(out.untied.values)
    chance = by_chance(max(wins, lost), min(wins, lost))
    lower = int((out.tied_left.values < out.untied_left.values).sum())
    return (
        f"tied first in {wins} of {out.tied.values.size} runs, untied in {lost} (if both were as fast, with probability "
        f"{chance:.1g}; at most {CHANCE:g} is asked); to half the loss in {tied:g} and {untied:g} steps (median); after 480 "
        f"steps, the last of those that are run, the tied loss is the lower one in {lower}"
    )


# fmt: off
says = Page("tying", "weight-tying.md",
            "weight-tying探索",
            "An exploration of weight tying")
says("fewer_parameters", "2", "Tying reduces the number of parameters (by V·D).", "以达到减少参数量",
     "so as to reduce the number of parameters", counted, fewer_parameters)
says("one_space", "2", "Tying gives a token one vector for input and output.", "使得相同token保持统一的embedding空间",
     "so that the same token keeps one common embedding space", unified,
     lambda case, out: every(identical(out.rows, case.row_bits), identical(out.outputs, case.row_bits),
                              same(out.logits, case.weight.sum(1))),
     where="tied")
says("head_shape", "3-4", "nn.Linear(3, 10) has a weight of 10×3.", "的权重矩阵的尺寸是10*3",
     "the size of the weight matrix of … is 10*3", counted,
     lambda case, out: same(out.shapes, [out.shapes.raw[0], case.size]))
says("linear_formula", "4", "A linear layer computes y = W @ x + b.", "即y = W @ x + b", "that is, y = W @ x + b",
     multiplied, linear_formula,
     only_if("x is one vector; a batch of rows gives x @ W.T + b",
             lambda case, out: every(same(out.failed, "RuntimeError"), biased(case, out)), "batch of vectors"),
     where=("one vector", "batch of vectors"))
says("same_size", "5-6", "So it is as large as that of nn.Embedding(10, 3).",
     "因此跟nn.Embedding(10, 3)…的权重矩阵大小相等",
     "so it is equal in size to the weight matrix of nn.Embedding(10, 3)", counted,
     lambda case, out: same(out.shapes, [case.size] * 2))
says("no_transpose", "9", "The head takes the embedding's weight as it is (other than the layer of the conversion).",
     "self.embedding.weight = self.head.weight", "", untransposed,
     lambda case, out: every(is_true(out.fits, "the shapes differ"), same(out.value, case.weight.T)),
     where="layer from D to V")
says("updates_together", "9", "One assignment makes both weights update together.",
     "使用下面这行代码,二者权重会同步更新", "with the line of code below the weights of both are updated in step",
     trained_pair, lambda case, out: every(is_true(out.always, "they parted"), is_true(out.moved, "nothing moved")),
     where="tied")
says("prints_all_true", "21", "After training the tied weights compare equal, element by element.",
     "print(model_2.embedding.weight==model_2.head.weight)", "", trained_pair,
     lambda case, out: same(out.elements, case.weight.size), where="tied")
says("untied_differ", "20", "The untied weights do not.", "print(model_1.embedding.weight==model_1.head.weight)", "",
     trained_pair, lambda case, out: every(is_false(out.ever, "they were equal"), same(out.elements, 0)),
     where="not tied")
says("converges_faster", "27", "With tied weights the loss converges faster.",
     "在这个例子中,使用 weight-tying 后 loss 收敛更快",
     "in this example the loss converges faster once weight tying is used", race, converges_faster,
     only_if("faster means fewer steps to half of the smaller first loss (of the text's 2000 steps 480 are run), the table is "
             "as small as there (10×3), the targets are the inputs, and the untied table starts from N(0, 1), as written, and "
             "the tied one from Linear's smaller values; otherwise the untied pair is faster",
             untied_first, "as written, but 30×8", "same first values", "same first values, random targets"),
     tells=told, draws=losses("Median loss and where four fifths of the runs are", ("tied", "untied"), "curves", "at"))
