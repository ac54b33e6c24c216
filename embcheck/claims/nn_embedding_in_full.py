"""The claims of *nn.Embedding in full*."""

import numpy as np

from embcheck.claims import lookups, paddings
from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import BY_DISTANCE, NONE, Page, only_if, refuted, told
from embcheck.claims.distributions import drawn_from, is_normal, losses, normal
from embcheck.claims.lookups import index_kinds, layer_shapes, sentence_lengths, two_sentences
from embcheck.claims.token_embedding import as_moved
from embcheck.claims.trainings import drawn, einsummed, predicted, simple_train, stepped
from embcheck.core.comparison import every, identical, is_false, is_true, same, within
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Difference, Finding, Holds
from embcheck.families.max_norm.cases import renormed as by_definition


def max_norm(case: ClaimCase, out: Outcome) -> Finding:
    """The last row of the table is renormalised by its definition."""
    limit = float(out.limit.raw)
    if np.linalg.norm(case.weight[-1]) <= limit:
        return same(out.row, case.weight[-1])
    expected = by_definition(case.weight[-1:], np.array([True]), limit, 2.0, case.format)
    return within(out.row, expected.value[0], expected.bound[0])


def norm_type(case: ClaimCase, out: Outcome) -> Finding:
    p = 2.0 if case.situation == "default" else float(case.situation)
    looked = np.isin(np.arange(case.num_embeddings), case.tokens)
    expected = by_definition(case.weight, looked, 1.5, p, case.format)
    return every(same(out.norm_type, p), within(out.after, expected.value, expected.bound),
                 same(out.value, out.after.values[case.tokens]))  # fmt: skip


def scale_grad_by_freq(case: ClaimCase, out: Outcome) -> Finding:
    if case.situation == "default":
        return same(out.gradient, case.scattered)
    count = np.maximum(case.table.counts, 1)[:, None]
    magnitude = np.zeros_like(case.weight)
    np.add.at(magnitude, case.table.tokens, np.abs(case.table.upstream_values))
    # A division, a product and count additions, each rounded: γ of count + 2.
    u = case.format.unit_roundoff
    gamma = (count + 2) * u / (1 - (count + 2) * u)
    return within(out.gradient, case.scattered / count, gamma * magnitude / count)


def index_range(case: ClaimCase, out: Outcome) -> Finding:
    inside = case.situation in ("first", "last")
    row = case.weight[0 if case.situation == "first" else -1]
    return every(same(out.accepted, inside), same(out.value, row) if inside and out.accepted.raw else UNASKED)


def two_sentences_of_four(case: ClaimCase, out: Outcome) -> Finding:
    rows = out.weight.bits[np.array([[1, 2, 4, 5], [4, 3, 2, 3]])]
    return every(
        same(out.value.meta("shape"), (2, 4, 6)), same(out.weight.meta("shape"), (100, 6)), identical(out.value, rows)
    )


def equal_tokens_equal_rows(case: ClaimCase, out: Outcome) -> Finding:
    bits = out.value.bits
    return every(
        identical(out.value[0, 1], bits[1, 2]),
        identical(out.value[0, 2], bits[1, 0]),
        identical(out.value[1, 1], bits[1, 3]),
    )


def integer_indices(case: ClaimCase, out: Outcome) -> Finding:
    integer = case.situation != "float32"
    return every(
        same(out.accepted, integer),
        same(out.value, case.weight[np.minimum(case.tokens, 1)]) if out.accepted.raw else UNASKED,
    )


def training_changes(case: ClaimCase, out: Outcome) -> Finding:
    moved = (out.trained.values != out.before.values).any(1).tolist()
    path = f"({out.trained.path} != {out.before.path}).any(1).all().item()"
    return told(all(moved), path, f"rows moved: {moved}")


def written_in_forward(case: ClaimCase, out: Outcome) -> Finding:
    """Forward renormalised the rows that it looked up, and no other."""
    looked = np.isin(np.arange(case.num_embeddings), case.tokens)
    expected = by_definition(case.weight, looked, 0.5, 2.0, case.format)
    # Once renormalised a row may be above max_norm by its rounding, and move by as much at the next lookup.
    return within(out.after, expected.value, 3 * expected.bound)


def least_loss(case: ClaimCase, out: Outcome) -> Finding:
    """The loss is as near to 0, the least that it can be, as float32 brings it: of no row does a step change an element.

    A step moves an element by 0.006·r·v: r is the row's residual, v the element of vec.  It is lost once it is below u·|w|.
    """
    vec, rows = np.abs(out.vec.values[:, 0]), np.abs(out.trained.values)
    u = case.format.unit_roundoff
    residual = u * rows.max() / (0.006 * vec.max()) + (case.embedding_dim + 3) * u * (rows @ vec + 3)
    return within(out.final_loss, np.zeros(()), np.square(residual).mean())


def part_of_the_way(case: ClaimCase, out: Outcome) -> Finding:
    """The loss fell and is not zero; the change has rank 1, a multiple of vec for each row.

    Each of 100 steps rounds an element by at most u·|w| and 3u of its move, and the moves all have one sign, so that an
    element is off by at most 110·u·M, M the largest magnitude.
    """
    first, final = float(out.first_loss.values), float(out.final_loss.values)
    if not 0 < final < first:
        path = f"0 < {out.final_loss.path} < {out.first_loss.path}"
        return Difference("loss", path, False, True, f"the loss went from {first:g} to {final:g}")
    change, vec = out.trained.values - out.before.values, out.vec.values[:, 0]
    most = max(np.abs(out.trained.values).max(), np.abs(out.before.values).max())
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
    vec = out.vec.values[:, 0]
    ranks = np.linalg.svd(out.trained.values - out.before.values, compute_uv=False)
    first, final = float(out.first_loss.values), float(out.final_loss.values)
    return (
        f"loss {first:.3g} → {final:.3g}, residual ×{1 - 0.006 * vec @ vec:.3f} a step; "
        f"singular values of the change {ranks[0]:.3g}, {ranks[1]:.1g}, {ranks[2]:.1g}"
    )


def retain_graph_needed(case: ClaimCase, out: Outcome) -> Finding:
    path = f"not torch.equal({out.trained.path}, {out.trained_without.path})"
    alike = (out.trained.bits == out.trained_without.bits).all()
    return told(not alike, path, "the same weights without it")


def eval_keeps(case: ClaimCase, out: Outcome) -> Finding:
    kept = bool((out.after.values == case.weight).all())
    wanted = case.situation != "still train()"
    return told(kept == wanted, f"torch.equal({out.after.path}, weight) is {wanted}", f"kept: {kept}")


def eval_is_no_matter(case: ClaimCase, out: Outcome) -> Finding:
    """A lookup without max_norm writes nothing in training mode; one with max_norm writes in eval()."""
    return same(out.after, case.weight) if case.situation == "still train()" else written_in_forward(case, out)


# fmt: off
says = Page("full", "nn-embedding-in-full.md",
            "nn.embedding函数详解(pytorch)",
            "The function nn.embedding in detail (pytorch)")
says("lookup_table", "11,39", "An embedding is an index or lookup table: a token's row takes its place.",
     "Embedding实际是一个索引表或查找表", "Embedding is in fact an index table or lookup table", lookups.looked_up,
     lambda case, out: identical(out.value, case.row_bits))
says("normally_distributed", "11,32,39", "The table is drawn from a normal distribution, N(0, 1).",
     "它是符合随机初始化生成的正太分布的表",
     "it is a table, generated by random initialisation, that follows a normal distribution", drawn,
     lambda case, out: is_normal(case, out), where=("Embedding", "TokenEmbedding"), chance=BY_DISTANCE,
     **drawn_from(normal))
says("sizes", "13-18", "num_embeddings is the number of vectors and embedding_dim their length.",
     "生成num_embeddings个嵌入向量", "generates num_embeddings embedding vectors", layer_shapes,
     lambda case, out: same(out.embedding, case.size))
says("padding_no_gradient", "19", "Entries at padding_idx do not contribute to the gradient.",
     "do not contribute to the gradient", "", paddings.padding_gradient, lambda case, out: same(out.lookup[1], 0),
     where=("lookup", "sparse lookup"))
says("padding_not_updated", "19", "The vector at padding_idx is not updated in training: it remains a fixed pad.",
     'it remains as a fixed "pad"', "", paddings.padding_trained, lambda case, out: same(out.after, out.before.values),
     only_if("the lookup is all that uses the table (no tied head, no penalty on the weight), and the row is zero or meets "
             "neither weight decay nor max_norm", as_moved,
             "SGD with decay, filled row", "tied head", "penalty on the weight", "max_norm, filled row"),
     where=("SGD", "Adam", "filled row", "SGD with decay, zero row", "SGD with decay, filled row", "tied head",
            "penalty on the weight", "max_norm, filled row"))
says("padding_starts_zero", "19,27", "A new table's vector at padding_idx is all zeros.", "will default to all zeros",
     "", paddings.padding_row_at_start, lambda case, out: same(out.row, 0),
     where=("zero index", "middle index", "last index, negative"))
says("padding_can_be_set", "19", "It can be set to another value, to be used as the padding vector.",
     "can be updated to another value to be used as the padding vector", "", paddings.padding_row_changed,
     lambda case, out: every(same(out.value, case.weight[[0, 0]]), same(out.after, case.weight[0])))
says("padding_is_not_related", "27", "The network does not compute how padding relates to other symbols.",
     "就不会计算其与其它符号的相关性", "then its correlation with other symbols is not computed",
     paddings.with_padding_appended, lambda case, out: same(out.attention, 0),
     refuted("its row enters attention like any other: only a mask keeps it out",
             lambda case, out: same(out.attention, 0.5)), where="attended to, zero row")
says("max_norm", "20,28", "Each vector with a norm above max_norm is renormalised to max_norm.",
     "each embedding vector with norm larger than :attr:`max_norm`is renormalized", "", lookups.renormed_rows, max_norm,
     only_if("it is looked up: forward renormalises just those rows, in place",
             lambda case, out: same(out.row, case.weight[-1]), "not looked up"))
says("norm_type", "21,29", "norm_type is the p of the norm, by default 2.", "指定利用什么范数计算…默认为2范数",
     "specifies which norm is used for the computation … the default is the 2-norm", lookups.renormed, norm_type)
says("scale_grad_by_freq", "22,30",
     "scale_grad_by_freq divides a row's gradient by how often it occurs in the batch; by default it does not.",
     "scale gradients by the inverse of frequency ofthe words in the mini-batch", "", lookups.scaled_by_frequency,
     scale_grad_by_freq)
says("sparse", "23,31", "With sparse=True the weight's gradient is a sparse tensor; by default it is dense.",
     "gradient w.r.t. :attr:`weight` matrix will be a sparse tensor", "", lookups.sparse_gradient,
     lambda case, out: every(same(out.sparse, case.situation == "sparse=True"), same(out.gradient, case.scattered)))
says("index_range", "25", "With 5000 words the indices are 0 to 4999.", "此时index为(0-4999)", "then index is (0-4999)",
     lookups.edges, index_range)
says("trainable", "32", "The table can be trained.", "该函数可参与训练", "this function can take part in training",
     stepped, lambda case, out: every(is_true(out.requires_grad, "frozen"), same(out.after, case.trained)),
     only_if("it is not frozen (from_pretrained freezes)", lambda case, out: same(out.after, case.weight), "frozen"),
     where=("backward and step", "frozen"))
says("two_sentences", "34-37", "Embedding(100, 6) turns 2 sentences of 4 words into 2×4×6 numbers.",
     "假如你有2句话,每句话有四个词,那么你想对每个词使用6个维度表达",
     "suppose you have 2 sentences of four words each and want to express each word in 6 dimensions", two_sentences,
     two_sentences_of_four, chance=NONE)
says("equal_tokens_equal_rows", "37,39", "Equal words get equal vectors, wherever they stand.",
     "[[1, 2, 4, 5],[4, 3, 2, 3]]", "", two_sentences, equal_tokens_equal_rows, chance=NONE)
says("rows_exceed_length", "39", "There must be more rows than a sentence has words.", "行必须超过输入句子词语长度",
     "the rows must exceed the length of the input sentence in words", sentence_lengths,
     lambda case, out: same(out.accepted, out.rows.raw > out.length.raw),
     refuted("the rows must exceed the largest index, whatever the length",
             lambda case, out: same(out.accepted, case.situation == "few rows, long sentence")))
says("integer_indices", "39", "Words are coded as integers.", "句子每个词使用整数编码成索引",
     "each word of the sentence is encoded as an index by an integer", index_kinds, integer_indices,
     only_if("of int64 or int32: others are refused, as real numbers are",
             lambda case, out: is_false(out.accepted, "accepted"), "int16", "uint8"),
     where=("int64", "int32", "float32", "int16", "uint8"))
says("training_changes", "42", "Training changes the weights.", "在训练过程中会发生变化",
     "will change in the course of training", simple_train, training_changes)
says("prediction_keeps", "42", "Prediction does not change them.", "在预测中将不在变化",
     "will no longer change in prediction", predicted, lambda case, out: same(out.after, case.weight),
     only_if("max_norm is None: with it every forward writes, in eval() and no_grad() too", written_in_forward,
             "eval() with max_norm", "no_grad() with max_norm"))
says("trained_to_the_best", "42", "Training makes of the table the best representation, which has the least loss.",
     "被训练成最佳词的向量维度表达",
     "is trained to be the best expression of the words in the dimensions of the vectors", simple_train,
     least_loss,
     refuted("100 steps leave a loss, and move each row along vec alone (rank 1)", part_of_the_way), tells=how_far,
     draws=losses("100 steps of SGD on MSE", ("loss",), "losses", "steps"))
says("einsum", "44", "einsum('ik, kj -> ij') is the product of the rows with vec.",
     "torch.einsum('ik, kj -> ij', emb_vec1, vec)", "", einsummed,
     lambda case, out: same(out.value, case.weight @ (np.arange(case.embedding_dim) % 3 - 1.0)[:, None]))
says("retain_graph_needed", "45", "The loop needs backward(retain_graph=True).", "loss.backward(retain_graph=True)", "",
     simple_train, retain_graph_needed,
     refuted("without it the same weights come out, bit for bit",
             lambda case, out: identical(out.trained_without, out.trained.bits)))
says("loaded_equals_saved", "45", "Loaded weights equal the saved ones.", "ckpt = torch.load('./embeding.pth')", "",
     simple_train, lambda case, out: identical(out.loaded, out.trained.bits))
says("hundred_predictions", "45", "After 100 predictions the loaded weights are what they were.",
     "n次预测后emebding参数权重", "weights of the emebding parameter after n predictions", simple_train,
     lambda case, out: identical(out.predicted, out.loaded.bits))
says("eval_keeps", "45", "It is eval() that keeps the weights from changing.", "model=model.eval()", "", predicted,
     eval_keeps,
     refuted("without eval() they stay too, and with it and max_norm they change",
             lambda case, out: eval_is_no_matter(case, out)), where=("still train()", "eval() with max_norm"))
