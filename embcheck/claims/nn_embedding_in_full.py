"""The claims of *nn.Embedding in full*."""

from __future__ import annotations

import numpy as np

from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import claim, measured, numbers
from embcheck.claims.conversions import layer_shapes
from embcheck.claims.drawing import density, losses
from embcheck.claims.lookups import (
    edges,
    index_kinds,
    looked_up,
    renormed,
    renormed_rows,
    scaled_by_frequency,
    sentence_lengths,
    sparse_gradient,
    two_sentences,
)
from embcheck.claims.paddings import (
    padding_gradient,
    padding_row_at_start,
    padding_row_changed,
    padding_trained,
    with_padding_appended,
)
from embcheck.claims.starts import drawn
from embcheck.claims.token_embedding import as_moved, is_normal, normal
from embcheck.claims.trainings import einsummed, predicted, simple_train, stepped
from embcheck.comparison import every, identical, is_false, is_true, same, within
from embcheck.outcome import Outcome
from embcheck.renorm.case import renormed as by_definition
from embcheck.result import HOLDS, UNASKED, Difference, Finding, Holds

PAGE = "nn-embedding-in-full.md"


# -- the table and its parameters ----------------------------------------------------------------------------------


@claim("full.lookup_table", "An embedding is an index or lookup table: a token's row takes its place.",
       f"{PAGE}:11,39", "Embedding实际是一个索引表或查找表", looked_up)  # fmt: skip
def lookup_table(case: ClaimCase, out: Outcome) -> Finding:
    return identical(out.value, case.row_bits)


@claim("full.normally_distributed", "The table is drawn from a normal distribution, N(0, 1).", f"{PAGE}:11,32,39",
       "它是符合随机初始化生成的正太分布的表", drawn, where=("Embedding", "TokenEmbedding"),
       tells=measured("values", normal), draws=density("values", normal))  # fmt: skip
def normally_distributed(case: ClaimCase, out: Outcome) -> Finding:
    return is_normal(case, out)


@claim("full.sizes", "num_embeddings is the number of vectors and embedding_dim their length.", f"{PAGE}:13-18",
       "生成num_embeddings个嵌入向量", layer_shapes,
       tells=lambda case, out: f"Embedding({case.num_embeddings}, {case.embedding_dim}): {out.embedding.raw}")  # fmt: skip
def sizes(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.embedding, [case.num_embeddings, case.embedding_dim])


@claim("full.padding_no_gradient", "Entries at padding_idx do not contribute to the gradient.", f"{PAGE}:19",
       "do not contribute to the gradient", padding_gradient, where=("lookup", "sparse lookup"))  # fmt: skip
def padding_no_gradient(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.lookup[1], 0)


@claim("full.padding_not_updated", "The vector at padding_idx is not updated in training: it remains a fixed pad.",
       f"{PAGE}:19", 'it remains as a fixed "pad"', padding_trained,
       where=("SGD", "Adam", "filled row", "SGD with decay, zero row", "SGD with decay, filled row", "tied "
       "head", "max_norm, filled row"),
       fails=("SGD with decay, filled row", "tied head", "max_norm, filled row"),
       otherwise="there is no tied head, and the row is zero or meets neither weight decay nor max_norm",
       instead=as_moved, tells=lambda case, out: f"{out.before.values[0]:.3g}… becomes {out.after.values[0]:.3g}…")  # fmt: skip
def padding_not_updated(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.after, out.before.values)


@claim("full.padding_starts_zero", "A new table's vector at padding_idx is all zeros.", f"{PAGE}:19,27",
       "will default to all zeros", padding_row_at_start,
       where=("zero index", "middle index", "last index, negative"),
       tells=lambda case, out: f"largest element {abs(out.row.values).max():g}")  # fmt: skip
def padding_starts_zero(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.row, 0)


@claim("full.padding_can_be_set", "It can be set to another value, to be used as the padding vector.", f"{PAGE}:19",
       "can be updated to another value to be used as the padding vector", padding_row_changed)  # fmt: skip
def padding_can_be_set(case: ClaimCase, out: Outcome) -> Finding:
    return every(same(out.value, case.weight[[0, 0]]), same(out.after, case.weight[0]))


def is_none(case: ClaimCase, out: Outcome) -> Finding:
    """There is no padding unless asked for."""
    return same(out.default, "None")


@claim("full.padding_idx_defaults_to_zero", "padding_idx is by default 0 (as the phrase may be read).", f"{PAGE}:27",
       "(初始化为0)", padding_row_at_start, where=("zero index",), fails=("zero index",),
       otherwise="it is None: no row is padding", instead=is_none,
       tells=lambda case, out: f"padding_idx is {out.default.raw}")  # fmt: skip
def padding_idx_defaults_to_zero(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.default, "0")


def attended(case: ClaimCase, out: Outcome) -> Finding:
    """To a query that finds all keys alike, two paddings of four tokens are half."""
    return same(out.attention, 0.5)


@claim("full.padding_is_not_related", "The network does not compute how padding relates to other symbols.",
       f"{PAGE}:27", "就不会计算其与其它符号的相关性", with_padding_appended, where=("attended to, zero row",),
       fails=("attended to, zero row",),
       otherwise="its row enters attention like any other: only a mask keeps it out", instead=attended,
       tells=lambda case, out: f"two paddings beside two words get {out.attention.values:.0%} of the attention")  # fmt: skip
def padding_is_not_related(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.attention, 0)


def untouched(case: ClaimCase, out: Outcome) -> Finding:
    """A row that is not looked up keeps its norm."""
    return same(out.row, case.weight[-1])


@claim("full.max_norm", "Each vector with a norm above max_norm is renormalised to max_norm.", f"{PAGE}:20,28",
       "each embedding vector with norm larger than max_norm is renormalized", renormed_rows,
       fails=("not looked up",), otherwise="it is looked up: forward renormalises just those rows, in place",
       instead=untouched,
       tells=lambda case, out: f"max_norm {out.limit.raw:g}: norm {np.linalg.norm(case.weight[-1]):.4g} becomes "
       f"{np.linalg.norm(out.row.values):.4g}")  # fmt: skip
def max_norm(case: ClaimCase, out: Outcome) -> Finding:
    limit = float(out.limit.raw)
    return same(out.row, case.weight[-1]) if np.linalg.norm(case.weight[-1]) <= limit else norm_is(case, out, limit)


def norm_is(case: ClaimCase, out: Outcome, limit: float) -> Finding:
    """The last row of the table, renormalised by its definition."""
    expected = by_definition(case.weight[-1:], np.array([True]), limit, 2.0, case.format)
    return within(out.row, expected.value[0], expected.bound[0])


@claim("full.norm_type", "norm_type is the p of the norm, by default 2.", f"{PAGE}:21,29",
       "指定利用什么范数计算…默认为2范数", renormed,
       tells=lambda case, out: f"norm_type {out.norm_type.raw:g}: looked-up rows end with p-norms up to "
       f"{max(np.linalg.norm(row, out.norm_type.raw) for row in out.after.values[np.unique(case.tokens)]):.4g} of "
       f"1.5")  # fmt: skip
def norm_type(case: ClaimCase, out: Outcome) -> Finding:
    p = 2.0 if case.situation == "default" else float(case.situation)
    looked = np.isin(np.arange(case.num_embeddings), case.tokens)
    expected = by_definition(case.weight, looked, 1.5, p, case.format)
    return every(same(out.norm_type, p), within(out.after, expected.value, expected.bound),
                 same(out.value, out.after.values[case.tokens]))  # fmt: skip


@claim("full.scale_grad_by_freq",
       "scale_grad_by_freq divides a row's gradient by how often it occurs in the batch; by default it does not.",
       f"{PAGE}:22,30", "scale gradients by the inverse of frequency of the words in the mini-batch",
       scaled_by_frequency)  # fmt: skip
def scale_grad_by_freq(case: ClaimCase, out: Outcome) -> Finding:
    if case.situation == "default":
        return same(out.gradient, case.scattered)
    count = np.maximum(case.table.counts, 1)[:, None]
    magnitude = np.zeros_like(case.weight)
    np.add.at(magnitude, case.table.tokens, np.abs(case.upstream))
    # A division, a product and count additions, each rounded: γ of count + 2.
    u = case.format.unit_roundoff
    gamma = (count + 2) * u / (1 - (count + 2) * u)
    return within(out.gradient, case.scattered / count, gamma * magnitude / count)


@claim("full.sparse", "With sparse=True the weight's gradient is a sparse tensor; by default it is dense.",
       f"{PAGE}:23,31", "gradient w.r.t. weight matrix will be a sparse tensor", sparse_gradient,
       tells=lambda case, out: f"is_sparse {out.sparse.raw}, equal to the sums")  # fmt: skip
def sparse(case: ClaimCase, out: Outcome) -> Finding:
    return every(same(out.sparse, case.situation == "sparse=True"), same(out.gradient, case.scattered))


@claim("full.index_range", "With 5000 words the indices are 0 to 4999.", f"{PAGE}:25", "此时index为(0-4999)", edges,
       tells=lambda case, out: f"{case.num_embeddings} rows: {'accepted' if out.accepted.raw else 'refused'}")  # fmt: skip
def index_range(case: ClaimCase, out: Outcome) -> Finding:
    inside = case.situation in ("first", "last")
    row = case.weight[0 if case.situation == "first" else -1]
    return every(same(out.accepted, inside), same(out.value, row) if inside and out.accepted.raw else UNASKED)


@claim("full.trainable", "The table can be trained.", f"{PAGE}:32", "该函数可参与训练", stepped,
       where=("backward and step", "frozen"), fails=("frozen",),
       otherwise="it is not frozen (from_pretrained freezes)", instead=lambda case, out: same(out.after, case.weight),
       tells=lambda case, out: f"requires_grad {out.requires_grad.raw}, "
       f"{(out.after.values != case.weight).any(1).sum()} rows moved")  # fmt: skip
def trainable(case: ClaimCase, out: Outcome) -> Finding:
    return every(is_true(out.requires_grad, "frozen"), same(out.after, case.weight - case.scattered))


# -- use -----------------------------------------------------------------------------------------------------------


@claim("full.two_sentences", "Embedding(100, 6) turns 2 sentences of 4 words into 2×4×6 numbers.", f"{PAGE}:34-37",
       "输出尺寸", two_sentences, tells=lambda case, out: f"shape {tuple(out.value.raw.shape)}")  # fmt: skip
def two_sentences_of_four(case: ClaimCase, out: Outcome) -> Finding:
    rows = out.weight.bits[np.array([[1, 2, 4, 5], [4, 3, 2, 3]])]
    return every(
        same(out.value.meta("shape"), (2, 4, 6)), same(out.weight.meta("shape"), (100, 6)), identical(out.value, rows)
    )


@claim("full.equal_tokens_equal_rows", "Equal words get equal vectors, wherever they stand.", f"{PAGE}:37,39",
       "[[1, 2, 4, 5],[4, 3, 2, 3]]", two_sentences)  # fmt: skip
def equal_tokens_equal_rows(case: ClaimCase, out: Outcome) -> Finding:
    bits = out.value.bits
    return every(
        identical(out.value[0, 1], bits[1, 2]),
        identical(out.value[0, 2], bits[1, 0]),
        identical(out.value[1, 1], bits[1, 3]),
    )


def longest_index(case: ClaimCase, out: Outcome) -> Finding:
    """The largest index must be less than the number of rows; the length does not matter."""
    return same(out.accepted, case.situation == "few rows, long sentence")


@claim("full.rows_exceed_length", "There must be more rows than a sentence has words.", f"{PAGE}:39",
       "行必须超过输入句子词语长度", sentence_lengths,
       fails=("few rows, long sentence", "many rows, short sentence, large index"),
       otherwise="the rows must exceed the largest index, whatever the length", instead=longest_index,
       tells=lambda case, out: f"{out.rows.raw} rows, {out.length.raw} words: "
       f"{'accepted' if out.accepted.raw else 'refused'}")  # fmt: skip
def rows_exceed_length(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.accepted, out.rows.raw > out.length.raw)


def refused_integers(case: ClaimCase, out: Outcome) -> Finding:
    """Narrow integers are no indices."""
    return is_false(out.accepted, "accepted")


@claim("full.integer_indices", "Words are coded as integers.", f"{PAGE}:39", "句子每个词使用整数编码成索引",
       index_kinds, where=("int64", "int32", "float32", "int16", "uint8"), fails=("int16", "uint8"),
       otherwise="of int64 or int32: others are refused, as real numbers are", instead=refused_integers,
       tells=lambda case, out: "accepted" if out.accepted.raw else f"refused ({out.failed.raw})")  # fmt: skip
def integer_indices(case: ClaimCase, out: Outcome) -> Finding:
    integer = case.situation != "float32"
    return every(
        same(out.accepted, integer),
        same(out.value, case.weight[np.minimum(case.tokens, 1)]) if out.accepted.raw else UNASKED,
    )


# -- training and prediction ---------------------------------------------------------------------------------------


@claim("full.training_changes", "Training changes the weights.", f"{PAGE}:42", "在训练过程中会发生变化", simple_train,
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


@claim("full.prediction_keeps", "Prediction does not change them.", f"{PAGE}:42", "在预测中将不在变化", predicted,
       fails=("eval() with max_norm", "no_grad() with max_norm"),
       otherwise="max_norm is None: with it every forward writes, in eval() and no_grad() too",
       instead=written_in_forward,
       tells=lambda case, out: f"{(out.after.values != case.weight).any(1).sum()} of {case.num_embeddings} rows "
       f"changed")  # fmt: skip
def prediction_keeps(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.after, case.weight)


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


@claim("full.trained_to_the_best", "Training makes of the table the best representation.", f"{PAGE}:42",
       "被训练成最佳词的向量维度表达", simple_train, fails=("",),
       otherwise="100 steps leave a loss, and move each row along vec alone (rank 1)", instead=part_of_the_way,
       tells=how_far, draws=losses("100 steps of SGD on MSE", ("loss",), "losses", "steps"))  # fmt: skip
def trained_to_the_best(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.final_loss, 0)


@claim("full.einsum", "einsum('ik, kj -> ij') is the product of the rows with vec.", f"{PAGE}:44",
       "torch.einsum('ik, kj -> ij', emb_vec1, vec)", einsummed)  # fmt: skip
def einsum(case: ClaimCase, out: Outcome) -> Finding:
    return same(out.value, case.weight @ (np.arange(case.embedding_dim) % 3 - 1.0)[:, None])


def needless(case: ClaimCase, out: Outcome) -> Finding:
    """Without it the same table comes out, bit for bit."""
    return identical(out.trained_without, out.trained.bits)


@claim("full.retain_graph_needed", "The loop needs backward(retain_graph=True).", f"{PAGE}:45",
       "loss.backward(retain_graph=True)", simple_train, fails=("",),
       otherwise="without it the same weights come out, bit for bit", instead=needless,
       tells=lambda case, out: f"{(out.trained.bits != out.trained_without.bits).sum()} of 15 weights differ without "
       f"it")  # fmt: skip
def retain_graph_needed(case: ClaimCase, out: Outcome) -> Finding:
    path = f"torch.equal({out.trained.path}, {out.trained_without.path})"
    alike = (out.trained.bits == out.trained_without.bits).all()
    return Difference("same", path, True, False, "the same weights without it") if alike else HOLDS


@claim("full.loaded_equals_saved", "Loaded weights equal the saved ones.", f"{PAGE}:45",
       "ckpt = torch.load('./embeding.pth')", simple_train)  # fmt: skip
def loaded_equals_saved(case: ClaimCase, out: Outcome) -> Finding:
    return identical(out.loaded, out.trained.bits)


@claim("full.hundred_predictions", "After 100 predictions the loaded weights are what they were.", f"{PAGE}:45",
       "n次预测后emebding参数权重", simple_train)  # fmt: skip
def hundred_predictions(case: ClaimCase, out: Outcome) -> Finding:
    return identical(out.predicted, out.loaded.bits)


@claim("full.eval_keeps", "It is eval() that keeps the weights from changing.", f"{PAGE}:45", "model=model.eval()",
       predicted, where=("still train()", "eval() with max_norm"), fails=("still train()", "eval() with max_norm"),
       otherwise="without eval() they stay too, and with it and max_norm they change",
       instead=lambda case, out: eval_is_no_matter(case, out),
       tells=lambda case, out: f"{(out.after.values != case.weight).any(1).sum()} of {case.num_embeddings} rows "
       f"changed")  # fmt: skip
def eval_keeps(case: ClaimCase, out: Outcome) -> Finding:
    kept = bool((out.after.values == case.weight).all())
    wanted = case.situation != "still train()"
    path = f"torch.equal({out.after.path}, weight)"
    return HOLDS if kept == wanted else Difference("kept", path, kept, wanted, f"kept: {kept}")


def eval_is_no_matter(case: ClaimCase, out: Outcome) -> Finding:
    """A lookup without max_norm writes nothing in training mode; one with max_norm writes in eval()."""
    return same(out.after, case.weight) if case.situation == "still train()" else written_in_forward(case, out)
