"""The claims of *TokenEmbedding*."""

from __future__ import annotations

import math

import numpy as np

from embcheck.claims import paddings
from embcheck.claims.case import ClaimCase
from embcheck.claims.chance import BETWEEN_TWO, BY_DISTANCE, zero_row
from embcheck.claims.claim import claim, told
from embcheck.claims.costs import autocast, elements_held, elements_made
from embcheck.claims.distributions import by_width, distributed, is_normal, kaiming, normal, xavier
from embcheck.claims.drawing import drawn_from
from embcheck.claims.lookups import edges, evaluated, looked_up
from embcheck.claims.paddings import masked, with_the_ecosystem
from embcheck.claims.starts import drawn, zeroed_afterwards
from embcheck.claims.trainings import differentiated, stepped
from embcheck.core.comparison import every, identical, is_false, is_true, same, within
from embcheck.core.format import Floats
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding, Holds

PAGE = "token-embedding.md"


# -- the class and its parameters ----------------------------------------------------------------------------------


claim("token.learnable", "It maps token indices to vectors that are learnt.", f"{PAGE}:30",
      "实现词元索引到高维向量的可学习映射",
      stepped,
      lambda case, out: every(is_true(out.requires_grad, "not trainable"), same(out.after, case.weight - case.scattered)),
      gloss="implements a learnable mapping from token indices to high-dimensional vectors",
      where=("backward and step",))  # fmt: skip
claim("token.discrete_to_continuous", "It turns discrete tokens into real vectors.", f"{PAGE}:31",
      "将离散的词元序列转换为连续的语义空间表示", looked_up,
      lambda case, out: every(is_true(out.floating, "no real numbers"), identical(out.value, case.row_bits)),
      gloss="converts a discrete sequence of tokens to a representation in a continuous semantic space")  # fmt: skip
claim("token.inherits_lookup", "A subclass without a forward of its own looks up as nn.Embedding does.", f"{PAGE}:41",
      "继承nn.Embedding的矩阵运算特性", paddings.inherited,
      lambda case, out: every(is_true(out.module, "no nn.Embedding"), identical(out.value, case.row_bits)),
      gloss="inherits the matrix operations of nn.Embedding")  # fmt: skip
claim("token.padding_idx_is_parameter", "padding_idx is fixed as a trainable parameter.", f"{PAGE}:42",
      "固化填充索引为可训练参数",
      paddings.token_embedding_made,
      lambda case, out: same(out.parameters, ["weight", "padding_idx"]),
      gloss="fixes the padding index as a trainable parameter", fails=("",),
      otherwise="it is an int, in neither parameters() nor state_dict()",
      instead=lambda case, out: every(same(out.kind, "int"), same(out.padding, 1), same(out.parameters, ["weight"]),
          same(out.state, ["weight"])))  # fmt: skip
claim("token.rows_are_vocabulary", "vocab_size is the number of rows.", f"{PAGE}:46,65", "嵌入矩阵行数 = 词表大小",
      paddings.token_embedding_made,
      lambda case, out: same(out.shape, [case.num_embeddings, out.shape.raw[1]]),
      gloss="number of rows of the embedding matrix = size of the vocabulary")  # fmt: skip
claim("token.columns_are_width", "d_model is the number of columns.", f"{PAGE}:47,70", "嵌入矩阵列数 = 模型维度",
      paddings.token_embedding_made,
      lambda case, out: same(out.shape, [out.shape.raw[0], case.embedding_dim]),
      gloss="number of columns of the embedding matrix = dimension of the model")  # fmt: skip
claim("token.elements", "With 10000 tokens and width 512 the weight has 5,120,000 elements.", f"{PAGE}:55-58",
      "weight[10000,512]5,120,000", paddings.large_table,
      lambda case, out: every(same(out.shape, [10000, 512]), same(out.elements, 5_120_000)))  # fmt: skip


def all_but_padding(case: ClaimCase, out: Outcome) -> Finding:
    """Every row but the padding row gets its gradient."""
    expected = np.ones_like(case.weight)
    expected[1] = 0
    return same(out.gradient, expected)


claim("token.all_trainable", "All of the weight's elements are trainable.", f"{PAGE}:58", "可训练的嵌入查询矩阵",
      paddings.all_rows_trained,
      lambda case, out: same(out.gradient, np.ones_like(case.weight)), gloss="a trainable embedding lookup matrix",
      fails=("padding_idx=1",), otherwise="there is no padding_idx: the padding row gets no gradient",
      instead=all_but_padding)  # fmt: skip


def row_itself(case: ClaimCase, out: Outcome) -> Finding:
    """The padding row comes out like any other, as without padding_idx."""
    rows = np.concatenate([case.rows.reshape(-1, case.embedding_dim), case.weight[[1, 1]]])
    return every(same(out.value, rows), same(out.unpadded, rows))


claim("token.padding_idx_masks", "padding_idx marks positions for a dynamic mask.", f"{PAGE}:59,77",
      "实现动态序列掩码的关键参数",
      paddings.masked,
      lambda case, out: same(out.value[-2:], 0),
      gloss="the key parameter that implements the dynamic masking of sequences", fails=("training", "eval", "no_grad"),
      otherwise="forward masks nothing: the padding row is returned as it is", instead=row_itself)  # fmt: skip
claim("token.vocabulary_is_limit", "vocab_size limits which tokens can be looked up.", f"{PAGE}:66",
      "决定模型可处理的词元种类上限",
      edges,
      lambda case, out: same(out.accepted, case.situation in ("first", "last")),
      gloss="determines the upper limit of the kinds of tokens that the model can process")  # fmt: skip
claim("token.lookup_gives_padding_no_gradient", "The gradient at padding_idx is suppressed.", f"{PAGE}:78",
      "索引位置对应的梯度会被自动抑制", paddings.padding_gradient,
      lambda case, out: same(out.lookup[1], 0),
      gloss="the gradient that belongs to the position of the index is suppressed automatically",
      where=("lookup", "sparse lookup"))  # fmt: skip
claim("token.padding_gradient_always_zero", "The gradient of the padding row is always 0.", f"{PAGE}:104",
      "padding_idx位置梯度始终为0", paddings.padding_gradient,
      lambda case, out: same(out.gradient[1], 0), gloss="the gradient at the position padding_idx is always 0",
      fails=("tied head", "penalty on the weight"),
      otherwise="the lookup is all that uses the table (no tied head, no penalty on the weight)",
      instead=lambda case, out: same(out.gradient[1],
          1.0 if case.situation == "tied head" else 2 * case.weight[1]))  # fmt: skip


def diluted(case: ClaimCase, out: Outcome) -> Finding:
    """Two paddings beside two words: a filled row is added twice, a mean and an equal attention are halved."""
    alone = case.weight[0] + case.weight[2]
    return same(out.padded, alone + 2 if case.situation == "summed, filled row" else alone / 4)


@claim("token.padding_has_no_influence", "padding_idx keeps padding from influencing the sentence's meaning.",
       f"{PAGE}:79", "防止填充符影响模型语义理解", paddings.with_padding_appended,
       gloss="keeps padding from affecting the model's understanding of meaning",
       fails=("summed, filled row", "averaged, zero row", "attended to, zero row"),
       otherwise="its row is zero and the model does nothing but add", instead=diluted)  # fmt: skip
def padding_has_no_influence(case: ClaimCase, out: Outcome) -> Finding:
    alone = case.weight[0] + case.weight[2]
    return same(out.padded, alone if "summed" in str(case.situation) else alone / 2)


# -- forward and backward ------------------------------------------------------------------------------------------


@claim("token.sequence", "[3, 28, 1, 0] gives rows 3 and 28, a zero row for the padding 1, and row 0.", f"{PAGE}:85-94",
       "输入序列:[3, 28, 1, 0] (1为填充符)", paddings.sequence_of_four,
       gloss="input sequence: [3, 28, 1, 0] (1 is padding)")  # fmt: skip
def sequence(case: ClaimCase, out: Outcome) -> Finding:
    expected = case.weight[[3, 28, 1, 0]]
    expected[2] = 0
    return same(out.value, expected)


def by_formula(case: ClaimCase) -> Floats | None:
    """The padding row after three steps of learning rate 1/2; None where only its norm is known."""
    after = {"SGD": 0.0, "Adam": 0.0, "SGD with decay, zero row": 0.0, "SGD with decay, filled row": 3 * 0.875**3,
             "tied head": -1.5, "Xavier, row zeroed": 0.0, "filled row": 3.0}.get(str(case.situation))  # fmt: skip
    return None if after is None else np.full(case.embedding_dim, after)


def as_moved(case: ClaimCase, out: Outcome) -> Finding:
    """Decay, a tied head and renorm move the row by their formulas, and Xavier fills it."""
    expected = by_formula(case)
    if expected is not None:
        return same(out.after, expected)
    if case.situation == "Xavier":
        return identical(out.after, out.before.bits)
    return at_most(out, 0.5, case)


def at_most(out: Outcome, limit: float, case: ClaimCase) -> Finding:
    """The row's norm is max_norm, up to the rounding of norm, quotient and product."""
    norm = float(np.sqrt(np.square(out.after.values).sum()))
    error = (case.embedding_dim / 2 + 8) * case.format.unit_roundoff + 1e-7 / limit
    far = abs(norm / limit - 1)
    if far <= error:
        return Holds(float(far / error))
    path, words = f"{out.after.path}.norm().item()", f"norm {norm:g}, expected {limit:g}"
    return Difference("norm", path, norm, limit, words, error * limit)


claim("token.padding_row_fixed_zero", "The padding row is a fixed vector of zeros.", f"{PAGE}:93", "填充符固定值",
      paddings.padding_trained,
      lambda case, out: every(same(out.before, 0), same(out.after, 0)), gloss="fixed value of padding",
      chance=zero_row(8),
      fails=("SGD with decay, filled row", "tied head", "Xavier", "max_norm, filled row", "filled row"),
      otherwise="nothing fills it (Xavier and its like do, until it is zeroed again) and no tied head trains it",
      instead=as_moved)  # fmt: skip


def only_scaled(case: ClaimCase, out: Outcome) -> Finding:
    """Each element is multiplied by √d, with a rounding of the root's product."""
    expected = case.weight[[3, 28, 1, 0]] * math.sqrt(case.embedding_dim)
    expected[2] = 0
    return within(out.scaled, expected, 2 * case.format.unit_roundoff * np.abs(expected))


@claim("token.scaling_aligns_dimensions", "Multiplying by √d_model aligns dimensions.", f"{PAGE}:98,134-137",
       "维度对齐的数学技巧", paddings.sequence_of_four, gloss="a mathematical trick that aligns dimensions", fails=("",),
       otherwise="the shape is the same before and after; the values grow by √d_model", instead=only_scaled)  # fmt: skip
def scaling_aligns_dimensions(case: ClaimCase, out: Outcome) -> Finding:
    before, after = out.value.plain("shape"), out.scaled.plain("shape")
    return told(before != after, f"{out.scaled.path}.shape != {out.value.path}.shape", f"{after} both times")


claim("token.differentiable", "The whole mapping keeps a path for gradients.", f"{PAGE}:102", "整个映射过程保持梯度通路",
      differentiated,
      lambda case, out: same(out.gradient, case.scattered) if out.possible.raw else is_true(out.possible, "refused"),
      gloss="the whole mapping keeps a path for gradients", fails=("towards the indices",),
      otherwise="the weight is meant; there is none to the indices",
      instead=lambda case, out: is_false(out.possible, "indices require grad"))  # fmt: skip
claim("token.backward_updates", "Backpropagation adjusts the table.", f"{PAGE}:103", "通过反向传播调整嵌入矩阵", stepped,
      lambda case, out: same(out.after, case.weight - case.scattered),
      gloss="adjusts the embedding matrix by backpropagation", where=("backward alone", "backward and step"),
      fails=("backward alone",), otherwise="an optimizer steps afterwards",
      instead=lambda case, out: same(out.after, case.weight))  # fmt: skip


claim("token.own_forward", "A subclass may have a forward of its own.", f"{PAGE}:118", "保留自定义前向传播的可能性",
      with_the_ecosystem,
      lambda case, out: same(out.value, case.rows), gloss="keeps the possibility of a forward pass of one's own",
      where=("own forward",))  # fmt: skip
claim("token.fits_the_ecosystem", "It works with PyTorch's tools without a seam.", f"{PAGE}:117-119", "无缝对接PyTorch生态工具",
      with_the_ecosystem,
      lambda case, out: every(same(out.failed, ""), same(out.value, case.rows)),
      gloss="connects with the tools of the PyTorch ecosystem without a seam", fails=("from_pretrained",),
      otherwise="from_pretrained is not called: it builds cls(num_embeddings=…), which this class refuses",
      instead=lambda case, out: same(out.failed, "TypeError"))  # fmt: skip
claim("token.default_uniform", "By default the table is drawn from U(−√(1/d), √(1/d)).", f"{PAGE}:125", "默认采用均匀分布",
      drawn,
      lambda case, out: distributed(out.values, by_width(case), case),
      gloss="by default a uniform distribution is used", chance=BETWEEN_TWO, where=("TokenEmbedding",),
      fails=("TokenEmbedding",), otherwise="it is drawn from N(0, 1)", instead=is_normal,
      **drawn_from(by_width, normal))  # fmt: skip
claim("token.default_xavier", "Xavier's uniform initialisation is the default.", f"{PAGE}:127", "Xavier均匀初始化(默认)",
      drawn,
      lambda case, out: distributed(out.values, xavier(case), case), gloss="Xavier uniform initialisation (default)",
      chance=BETWEEN_TWO, where=("TokenEmbedding",), fails=("TokenEmbedding",), otherwise="it is drawn from N(0, 1)",
      instead=is_normal, **drawn_from(xavier, normal))  # fmt: skip
claim("token.xavier_works", "It can be initialised by Xavier's rule.", f"{PAGE}:126-128",
      "nn.init.xavier_uniform_(self.weight)", drawn,
      lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, xavier(case), case)),
      chance=BY_DISTANCE, where=("Xavier",), **drawn_from(xavier))  # fmt: skip
claim("token.kaiming_works", "It can be initialised by Kaiming's rule.", f"{PAGE}:126", "可扩展为Xavier/Kaiming初始化", drawn,
      lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, kaiming(case), case)),
      gloss="can be extended to Xavier/Kaiming initialisation", chance=BY_DISTANCE, where=("Kaiming",),
      **drawn_from(kaiming))  # fmt: skip


@claim("token.row_zeroed_afterwards", "After Xavier or Kaiming the padding row must be zeroed, by .data[1].zero_().",
       f"{PAGE}:130-131", "self.weight.data[1].zero_()", zeroed_afterwards, chance=zero_row(4))  # fmt: skip
def row_zeroed_afterwards(case: ClaimCase, out: Outcome) -> Finding:
    others = np.arange(case.num_embeddings) != 1
    filled = bool(out.filled.values[1].any())
    return every(
        told(filled, f"{out.filled.path}[1].any().item()", "the initialiser leaves the padding row zero"),
        same(out.zeroed[1], 0),
        identical(out.zeroed[others], out.filled[others].bits),
        is_true(out.requires_grad, "frozen"),
    )


claim("token.autocast_halves", "Under autocast the lookup gives half precision.", f"{PAGE}:141-143", "自动转换为半精度",
      autocast,
      lambda case, out: same(out.made, "bfloat16"), gloss="automatically converted to half precision", fails=("",),
      otherwise="the rows stay float32; products after it (F.linear) are what autocast makes bfloat16",
      instead=lambda case, out: every(same(out.made, "float32"), identical(out.value, case.row_bits),
          same(out.product, "bfloat16")))  # fmt: skip
claim("token.training_skips_padding", "In training the computation of padding is skipped.", f"{PAGE}:147",
      "训练阶段自动跳过无效位置的计算", masked,
      lambda case, out: same(out.flops, 4 * case.embedding_dim * int((case.tokens != 1).sum())),
      gloss="in training, computation at invalid positions is skipped automatically", where=("training",),
      fails=("training",), otherwise="padding is looked up and multiplied like any token",
      instead=lambda case, out: every(same(out.flops, 4 * case.embedding_dim * (case.numel + 2)),
          row_itself(case, out)))  # fmt: skip
claim("token.inference_keeps_shape", "In inference the sequence keeps its shape.", f"{PAGE}:148", "推理阶段维持序列形状一致性",
      evaluated,
      lambda case, out: same(out.value.meta("shape"), (*case.shape, case.embedding_dim)),
      gloss="in inference, the shape of the sequence is kept consistent")  # fmt: skip


def with_whole_gradient(case: ClaimCase, out: Outcome) -> Finding:
    """The output, the gradient sent into it, and a dense gradient of V·D elements."""
    tokens = case.numel * case.embedding_dim
    return same(out.elements, 2 * tokens + case.num_embeddings * case.embedding_dim)


@claim("token.time", "The time is O(B·S·D).", f"{PAGE}:152", "时间复杂度: O ( B ⋅ S ⋅ D )", elements_made,
       gloss="time complexity: O(B⋅S⋅D)", fails=("forward and backward",),
       otherwise="only forward runs, or with sparse=True: a dense gradient makes V·D elements more",
       instead=with_whole_gradient)  # fmt: skip
def time(case: ClaimCase, out: Outcome) -> Finding:
    tokens = case.numel * case.embedding_dim
    if case.situation == "forward":
        return same(out.elements, tokens)
    # The output, the gradient sent into it, and for each token a row of the gradient and some indices.
    most = 4 * tokens + 8 * case.numel
    return HOLDS if out.elements.raw <= most else same(out.elements, most)


claim("token.space", "The space is O(V·D).", f"{PAGE}:153", "空间复杂度: O ( V ⋅ D )", elements_held,
      lambda case, out: same(out.elements, case.num_embeddings * case.embedding_dim), gloss="space complexity: O(V⋅D)",
      fails=("with what a lookup makes",), otherwise="the table alone is meant: a lookup makes B·S·D elements",
      instead=lambda case, out: same(out.elements, (case.num_embeddings + case.numel) * case.embedding_dim))  # fmt: skip
