"""The claims of *nn.Embedding in full* on use, training and prediction."""

from __future__ import annotations

import numpy as np

from embcheck.claims.case import ClaimCase, rows_moved
from embcheck.claims.chance import NONE
from embcheck.claims.claim import claim
from embcheck.claims.distributions import numbers
from embcheck.claims.drawing import losses
from embcheck.claims.lookups import index_kinds, sentence_lengths, two_sentences
from embcheck.claims.trainings import einsummed, predicted, simple_train
from embcheck.core.comparison import every, identical, is_false, same, within
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, UNASKED, Difference, Finding, Holds
from embcheck.families.max_norm.cases import renormed as by_definition

PAGE = "nn-embedding-in-full.md"


# -- use -----------------------------------------------------------------------------------------------------------


@claim("full.two_sentences", "Embedding(100, 6) turns 2 sentences of 4 words into 2×4×6 numbers.", f"{PAGE}:34-37",
       "假如你有2句话,每句话有四个词,那么你想对每个词使用6个维度表达", two_sentences,
       gloss="suppose you have 2 sentences of four words each and want to express each word in 6 dimensions",
       chance=NONE,
       tells=lambda case, out: f"shape {tuple(out.value.raw.shape)}")  # fmt: skip
def two_sentences_of_four(case: ClaimCase, out: Outcome) -> Finding:
    rows = out.weight.bits[np.array([[1, 2, 4, 5], [4, 3, 2, 3]])]
    return every(
        same(out.value.meta("shape"), (2, 4, 6)), same(out.weight.meta("shape"), (100, 6)), identical(out.value, rows)
    )


@claim("full.equal_tokens_equal_rows", "Equal words get equal vectors, wherever they stand.", f"{PAGE}:37,39",
       "[[1, 2, 4, 5],[4, 3, 2, 3]]", two_sentences, chance=NONE)  # fmt: skip
def equal_tokens_equal_rows(case: ClaimCase, out: Outcome) -> Finding:
    bits = out.value.bits
    return every(
        identical(out.value[0, 1], bits[1, 2]),
        identical(out.value[0, 2], bits[1, 0]),
        identical(out.value[1, 1], bits[1, 3]),
    )


claim("full.rows_exceed_length", "There must be more rows than a sentence has words.", f"{PAGE}:39", "行必须超过输入句子词语长度",
      sentence_lengths,
      lambda case, out: same(out.accepted, out.rows.raw > out.length.raw),
      gloss="the rows must exceed the length of the input sentence in words",
      fails=("few rows, long sentence", "many rows, short sentence, large index"),
      otherwise="the rows must exceed the largest index, whatever the length",
      instead=lambda case, out: same(out.accepted, case.situation == "few rows, long sentence"),
      tells=lambda case, out: f"{out.rows.raw} rows, {out.length.raw} words: "
      f"{'accepted' if out.accepted.raw else 'refused'}")  # fmt: skip


@claim("full.integer_indices", "Words are coded as integers.", f"{PAGE}:39", "句子每个词使用整数编码成索引", index_kinds,
       gloss="each word of the sentence is encoded as an index by an integer",
       where=("int64", "int32", "float32", "int16", "uint8"), fails=("int16", "uint8"),
       otherwise="of int64 or int32: others are refused, as real numbers are",
       instead=lambda case, out: is_false(out.accepted, "accepted"),
       tells=lambda case, out: "accepted" if out.accepted.raw else f"refused ({out.failed.raw})")  # fmt: skip
def integer_indices(case: ClaimCase, out: Outcome) -> Finding:
    integer = case.situation != "float32"
    return every(
        same(out.accepted, integer),
        same(out.value, case.weight[np.minimum(case.tokens, 1)]) if out.accepted.raw else UNASKED,
    )


# -- training and prediction ---------------------------------------------------------------------------------------


@claim("full.training_changes", "Training changes the weights.", f"{PAGE}:42", "在训练过程中会发生变化", simple_train,
       gloss="will change in the course of training",
       tells=lambda case, out: f"by up to {abs(numbers(out.trained) - numbers(out.before)).max():.3f} in 100 steps")  # fmt: skip
def training_changes(case: ClaimCase, out: Outcome) -> Finding:
    moved = (numbers(out.trained) != numbers(out.before)).any(1).tolist()
    path = f"({out.trained.path} != {out.before.path}).any(1).tolist()"
    return HOLDS if all(moved) else Difference("still", path, moved, [True] * 5, f"rows moved: {moved}")


def written_in_forward(case: ClaimCase, out: Outcome) -> Finding:
    """Forward renormalised the rows that it looked up, and no other."""
    looked = np.isin(np.arange(case.num_embeddings), case.tokens)
    expected = by_definition(case.weight, looked, 0.5, 2.0, case.format)
    # Once renormalised a row may be above max_norm by its rounding, and move by as much at the next lookup.
    return within(out.after, expected.value, 3 * expected.bound)


claim("full.prediction_keeps", "Prediction does not change them.", f"{PAGE}:42", "在预测中将不在变化", predicted,
      lambda case, out: same(out.after, case.weight), gloss="will no longer change in prediction",
      fails=("eval() with max_norm", "no_grad() with max_norm"),
      otherwise="max_norm is None: with it every forward writes, in eval() and no_grad() too",
      instead=written_in_forward, tells=rows_moved)  # fmt: skip


def part_of_the_way(case: ClaimCase, out: Outcome) -> Finding:
    """The loss fell and is not zero; the change has rank 1, a multiple of vec for each row.

    Each of 100 steps rounds an element by at most u·|w| and 3u of its move, and the moves all have one sign, so that an
    element is off by at most 110·u·M, M the largest magnitude.
    """
    first, final = float(out.first_loss.values), float(out.final_loss.values)
    if not 0 < final < first:
        path = f"0 < {out.final_loss.path} < {out.first_loss.path}"
        return Difference("loss", path, False, True, f"the loss went from {first:g} to {final:g}")
    change, vec = numbers(out.trained) - numbers(out.before), numbers(out.vec)[:, 0]
    most = max(np.abs(numbers(out.trained)).max(), np.abs(numbers(out.before)).max())
    cross = change[:, :, None] * vec - change[:, None, :] * vec[:, None]
    bound = 110 * case.format.unit_roundoff * most * (np.abs(vec)[:, None] + np.abs(vec))
    ratio = float(np.max(np.abs(cross) / np.maximum(bound, np.finfo(float).tiny)))
    path = f"torch.linalg.svdvals({out.trained.path} - {out.before.path})[1]"
    second = float(np.linalg.svd(change, compute_uv=False)[1])
    limit = 110 * case.format.unit_roundoff * most * np.sqrt(change.size)
    words = f"rank above 1: {ratio:.3g} of the bound"
    return Holds(ratio) if ratio <= 1 else Difference("rank", f"{path}.item()", second, 0.0, words, float(limit))


def how_far(case: ClaimCase, out: Outcome) -> str:
    """How far the training came, and what each step can do."""
    vec = numbers(out.vec)[:, 0]
    ranks = np.linalg.svd(numbers(out.trained) - numbers(out.before), compute_uv=False)
    first, final = float(out.first_loss.values), float(out.final_loss.values)
    return (
        f"loss {first:.3g} → {final:.3g}, residual ×{1 - 0.006 * vec @ vec:.3f} a step; "
        f"singular values of the change {ranks[0]:.3g}, {ranks[1]:.1g}, {ranks[2]:.1g}"
    )


claim("full.trained_to_the_best", "Training makes of the table the best representation.", f"{PAGE}:42",
      "被训练成最佳词的向量维度表达", simple_train,
      lambda case, out: same(out.final_loss, 0),
      gloss="is trained to be the best expression of the words in the dimensions of the vectors", fails=("",),
      otherwise="100 steps leave a loss, and move each row along vec alone (rank 1)", instead=part_of_the_way,
      tells=how_far, draws=losses("100 steps of SGD on MSE", ("loss",), "losses", "steps"))  # fmt: skip

claim("full.einsum", "einsum('ik, kj -> ij') is the product of the rows with vec.", f"{PAGE}:44",
      "torch.einsum('ik, kj -> ij', emb_vec1, vec)", einsummed,
      lambda case, out: same(out.value, case.weight @ (np.arange(case.embedding_dim) % 3 - 1.0)[:, None]))  # fmt: skip


@claim("full.retain_graph_needed", "The loop needs backward(retain_graph=True).", f"{PAGE}:45",
       "loss.backward(retain_graph=True)", simple_train, fails=("",),
       otherwise="without it the same weights come out, bit for bit",
       instead=lambda case, out: identical(out.trained_without, out.trained.bits),
       tells=lambda case, out: f"{(out.trained.bits != out.trained_without.bits).sum()} of 15 weights differ without "
       f"it")  # fmt: skip
def retain_graph_needed(case: ClaimCase, out: Outcome) -> Finding:
    path = f"torch.equal({out.trained.path}, {out.trained_without.path})"
    alike = (out.trained.bits == out.trained_without.bits).all()
    return Difference("same", path, True, False, "the same weights without it") if alike else HOLDS


claim("full.loaded_equals_saved", "Loaded weights equal the saved ones.", f"{PAGE}:45",
      "ckpt = torch.load('./embeding.pth')", simple_train,
      lambda case, out: identical(out.loaded, out.trained.bits))  # fmt: skip

claim("full.hundred_predictions", "After 100 predictions the loaded weights are what they were.", f"{PAGE}:45",
      "n次预测后emebding参数权重", simple_train,
      lambda case, out: identical(out.predicted, out.loaded.bits),
      gloss="weights of the emebding parameter after n predictions")  # fmt: skip


@claim("full.eval_keeps", "It is eval() that keeps the weights from changing.", f"{PAGE}:45", "model=model.eval()",
       predicted, where=("still train()", "eval() with max_norm"), fails=("still train()", "eval() with max_norm"),
       otherwise="without eval() they stay too, and with it and max_norm they change",
       instead=lambda case, out: eval_is_no_matter(case, out), tells=rows_moved)  # fmt: skip
def eval_keeps(case: ClaimCase, out: Outcome) -> Finding:
    kept = bool((out.after.values == case.weight).all())
    wanted = case.situation != "still train()"
    path = f"torch.equal({out.after.path}, weight)"
    return HOLDS if kept == wanted else Difference("kept", path, kept, wanted, f"kept: {kept}")


def eval_is_no_matter(case: ClaimCase, out: Outcome) -> Finding:
    """A lookup without max_norm writes nothing in training mode; one with max_norm writes in eval()."""
    return same(out.after, case.weight) if case.situation == "still train()" else written_in_forward(case, out)
