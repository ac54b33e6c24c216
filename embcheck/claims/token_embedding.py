"""The claims of *TokenEmbedding*."""

import math

import numpy as np

from embcheck.claims import paddings
from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import BETWEEN_TWO, BY_DISTANCE, Page, only_if, refuted, told, zero_row
from embcheck.claims.distributions import by_width, distributed, drawn_from, is_normal, kaiming, normal, xavier
from embcheck.claims.lookups import autocast, edges, elements_held, elements_touched, evaluated, looked_up
from embcheck.claims.paddings import masked, with_the_ecosystem
from embcheck.claims.trainings import differentiated, drawn, stepped, zeroed_afterwards
from embcheck.core.comparison import every, identical, is_false, is_true, same, within
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding, Holds


def all_but_padding(case: ClaimCase, out: Outcome) -> Finding:
    """Every row but the padding row gets its gradient."""
    expected = np.ones_like(case.weight)
    expected[1] = 0
    return same(out.gradient, expected)


def row_itself(case: ClaimCase, out: Outcome) -> Finding:
    """The padding row comes out like any other, as without padding_idx."""
    rows = np.concatenate([case.rows.reshape(-1, case.embedding_dim), case.weight[[1, 1]]])
    return every(same(out.value, rows), same(out.unpadded, rows))


def diluted(case: ClaimCase, out: Outcome) -> Finding:
    """Two paddings beside two words: a filled row is added twice, a mean and an equal attention are halved."""
    alone = case.weight[0] + case.weight[2]
    return same(out.padded, alone + 2 if case.situation == "summed, filled row" else alone / 4)


def padding_has_no_influence(case: ClaimCase, out: Outcome) -> Finding:
    alone = case.weight[0] + case.weight[2]
    return same(out.padded, alone if "summed" in str(case.situation) else alone / 2)


def sequence(case: ClaimCase, out: Outcome) -> Finding:
    expected = case.weight[[3, 28, 1, 0]]
    expected[2] = 0
    return same(out.value, expected)


#: The padding row after three steps of learning rate 1/2, in situations in which a formula tells it.
MOVED = {"SGD": 0.0, "Adam": 0.0, "SGD with decay, zero row": 0.0, "SGD with decay, filled row": 3 * 0.875**3,
         "tied head": -1.5, "Xavier, row zeroed": 0.0, "filled row": 3.0, "penalty on the weight": 1.0}  # fmt: skip


def as_moved(case: ClaimCase, out: Outcome) -> Finding:
    """Decay, a tied head, a penalty and renorm move the row by their formulas, and Xavier fills it."""
    if case.situation in MOVED:
        return same(out.after, MOVED[str(case.situation)])
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


def only_scaled(case: ClaimCase, out: Outcome) -> Finding:
    """Each element is multiplied by √d, with a rounding of the root's product."""
    expected = case.weight[[3, 28, 1, 0]] * math.sqrt(case.embedding_dim)
    expected[2] = 0
    return within(out.scaled, expected, 2 * case.format.unit_roundoff * np.abs(expected))


def scaling_aligns_dimensions(case: ClaimCase, out: Outcome) -> Finding:
    before, after = out.value.plain("shape"), out.scaled.plain("shape")
    return told(before != after, f"{out.scaled.path}.shape != {out.value.path}.shape", f"{after} both times")


def row_zeroed_afterwards(case: ClaimCase, out: Outcome) -> Finding:
    others = np.arange(case.num_embeddings) != 1
    filled = bool(out.filled.values[1].any())
    return every(
        told(filled, f"{out.filled.path}[1].any().item()", "the initialiser leaves the padding row zero"),
        same(out.zeroed[1], 0),
        identical(out.zeroed[others], out.filled[others].bits),
        is_true(out.requires_grad, "frozen"),
    )


def touched_by_lookup(case: ClaimCase) -> int:
    """Forward reads the indices and their rows, and writes the rows."""
    return case.numel * (1 + 2 * case.embedding_dim)


def with_whole_gradient(case: ClaimCase, out: Outcome) -> Finding:
    """Backward reads the indices and the gradient that is sent in, and writes a dense gradient of V·D elements."""
    backward = case.numel * (1 + case.embedding_dim) + case.num_embeddings * case.embedding_dim
    return same(out.elements, touched_by_lookup(case) + backward)


def time(case: ClaimCase, out: Outcome) -> Finding:
    if case.situation == "forward":
        return same(out.elements, touched_by_lookup(case))
    # Backward reads and writes, for each token, a row of the gradient and some indices.
    most = 2 * touched_by_lookup(case) + 6 * case.numel
    return HOLDS if out.elements.raw <= most else same(out.elements, most)


# fmt: off
says = Page("token", "token-embedding.md",
            "Transformer 代码剖析7 - 词元嵌入(TokenEmbedding) (pytorch实现)",
            "Analysis of the Transformer's code 7: token embedding (TokenEmbedding), implemented in pytorch")
says("learnable", "30", "It maps token indices to vectors that are learnt.", "实现词元索引到高维向量的可学习映射",
     "implements a learnable mapping from token indices to high-dimensional vectors", stepped,
     lambda case, out: every(is_true(out.requires_grad, "not trainable"), same(out.after, case.trained)),
     where="backward and step")
says("discrete_to_continuous", "31", "It turns discrete tokens into real vectors.",
     "将离散的词元序列转换为连续的语义空间表示",
     "converts a discrete sequence of tokens to a representation in a continuous semantic space", looked_up,
     lambda case, out: every(is_true(out.floating, "no real numbers"), identical(out.value, case.row_bits)))
says("inherits_lookup", "41", "A subclass without a forward of its own looks up as nn.Embedding does.",
     "继承nn.Embedding的矩阵运算特性", "inherits the matrix operations of nn.Embedding", paddings.inherited,
     lambda case, out: every(is_true(out.module, "no nn.Embedding"), identical(out.value, case.row_bits)))
says("padding_idx_is_parameter", "42", "padding_idx is fixed as a trainable parameter.", "固化填充索引为可训练参数",
     "fixes the padding index as a trainable parameter", paddings.token_embedding_made,
     lambda case, out: same(out.parameters, ["weight", "padding_idx"]),
     refuted("it is an int, in neither parameters() nor state_dict()",
             lambda case, out: every(same(out.kind, "int"), same(out.padding, 1), same(out.parameters, ["weight"]),
                                      same(out.state, ["weight"]))))
says("rows_are_vocabulary", "46,65", "vocab_size is the number of rows.", "嵌入矩阵行数 = 词表大小",
     "number of rows of the embedding matrix = size of the vocabulary", paddings.token_embedding_made,
     lambda case, out: same(out.shape, [case.num_embeddings, out.shape.raw[1]]))
says("columns_are_width", "47,70", "d_model is the number of columns.", "嵌入矩阵列数 = 模型维度",
     "number of columns of the embedding matrix = dimension of the model", paddings.token_embedding_made,
     lambda case, out: same(out.shape, [out.shape.raw[0], case.embedding_dim]))
says("elements", "55-58", "With 10000 tokens and width 512 the weight has 5,120,000 elements.",
     "weight[10000,512]5,120,000", "", paddings.large_table,
     lambda case, out: every(same(out.shape, [10000, 512]), same(out.elements, 5120000)))
says("all_trainable", "58", "All of the weight's elements are trainable.", "可训练的嵌入查询矩阵",
     "a trainable embedding lookup matrix", paddings.all_rows_trained,
     lambda case, out: same(out.gradient, np.ones_like(case.weight)),
     only_if("there is no padding_idx: the padding row gets no gradient", all_but_padding, "padding_idx=1"))
says("padding_idx_masks", "77", "padding_idx implements the dynamic masking of sequences.", "实现动态序列掩码的关键参数",
     "the key parameter that implements the dynamic masking of sequences", paddings.masked,
     lambda case, out: same(out.value[-2:], 0),
     refuted("forward masks nothing: the padding row is returned as it is", row_itself))
says("vocabulary_is_limit", "66", "vocab_size limits which tokens can be looked up.", "决定模型可处理的词元种类上限",
     "determines the upper limit of the kinds of tokens that the model can process", edges,
     lambda case, out: same(out.accepted, case.situation in ("first", "last")))
says("lookup_gives_padding_no_gradient", "78", "The gradient at padding_idx is suppressed.",
     "索引位置对应的梯度会被自动抑制",
     "the gradient that belongs to the position of the index is suppressed automatically", paddings.padding_gradient,
     lambda case, out: same(out.lookup[1], 0), where=("lookup", "sparse lookup"))
says("padding_gradient_always_zero", "104", "The gradient of the padding row is always 0.",
     "padding_idx位置梯度始终为0", "the gradient at the position padding_idx is always 0", paddings.padding_gradient,
     lambda case, out: same(out.gradient[1], 0),
     only_if("the lookup is all that uses the table (no tied head, no penalty on the weight)",
             lambda case, out: same(out.gradient[1], 1.0 if case.situation == "tied head" else 2 * case.weight[1]),
             "tied head", "penalty on the weight"))
says("padding_has_no_influence", "79", "padding_idx keeps padding from influencing the sentence's meaning.",
     "防止填充符影响模型语义理解", "keeps padding from affecting the model's understanding of meaning",
     paddings.with_padding_appended, padding_has_no_influence,
     only_if("its row is zero and the model does nothing but add", diluted, "summed, filled row", "averaged, zero row",
             "attended to, zero row"))
says("sequence", "85-94", "[3, 28, 1, 0] gives rows 3 and 28, a zero row for the padding 1, and row 0.",
     "输入序列:[3, 28, 1, 0] (1为填充符)", "input sequence: [3, 28, 1, 0] (1 is padding)", paddings.sequence_of_four,
     sequence)
says("padding_row_fixed_zero", "93", "The padding row is a fixed vector of zeros.", "填充符固定值",
     "fixed value of padding", paddings.padding_trained,
     lambda case, out: every(same(out.before, 0), same(out.after, 0)),
     only_if("nothing fills it (Xavier and its like do, until it is zeroed again) and the lookup is all that uses the table "
             "(no tied head, no penalty on the weight)", as_moved,
             "SGD with decay, filled row", "tied head", "Xavier", "max_norm, filled row", "filled row",
             "penalty on the weight"),
     chance=zero_row(8))
says("scaling_aligns_dimensions", "98,134-137", "Multiplying by √d_model aligns dimensions.", "维度对齐的数学技巧",
     "a mathematical trick that aligns dimensions", paddings.sequence_of_four, scaling_aligns_dimensions,
     refuted("the shape is the same before and after; the values grow by √d_model", only_scaled))
says("differentiable", "102", "The whole mapping keeps a path for gradients.", "整个映射过程保持梯度通路",
     "the whole mapping keeps a path for gradients", differentiated,
     lambda case, out: same(out.gradient, case.scattered) if out.possible.raw else is_true(out.possible, "refused"),
     only_if("the weight is meant; there is none to the indices",
             lambda case, out: is_false(out.possible, "indices require grad"), "towards the indices"))
says("backward_updates", "103", "Backpropagation adjusts the table.", "通过反向传播调整嵌入矩阵",
     "adjusts the embedding matrix by backpropagation", stepped, lambda case, out: same(out.after, case.trained),
     only_if("an optimizer steps afterwards", lambda case, out: same(out.after, case.weight), "backward alone"),
     where=("backward alone", "backward and step"))
says("own_forward", "118", "A subclass may have a forward of its own.", "保留自定义前向传播的可能性",
     "keeps the possibility of a forward pass of one's own", with_the_ecosystem,
     lambda case, out: same(out.value, case.rows), where="own forward")
says("fits_the_ecosystem", "117-119", "It works with PyTorch's tools without a seam.", "无缝对接PyTorch生态工具",
     "connects with the tools of the PyTorch ecosystem without a seam", with_the_ecosystem,
     lambda case, out: every(same(out.failed, ""), same(out.value, case.rows)),
     only_if("from_pretrained is not called: it builds cls(num_embeddings=…), which this class refuses",
             lambda case, out: same(out.failed, "TypeError"), "from_pretrained"))
says("default_uniform", "125", "By default the table is drawn from U(−√(1/d), √(1/d)).", "默认采用均匀分布",
     "by default a uniform distribution is used", drawn,
     lambda case, out: distributed(out.values, by_width(case), case), refuted("it is drawn from N(0, 1)", is_normal),
     where="TokenEmbedding", chance=BETWEEN_TWO, **drawn_from(by_width, normal))
says("default_xavier", "127", "Xavier's uniform initialisation is the default.", "Xavier均匀初始化(默认)",
     "Xavier uniform initialisation (default)", drawn, lambda case, out: distributed(out.values, xavier(case), case),
     refuted("it is drawn from N(0, 1)", is_normal), where="TokenEmbedding", chance=BETWEEN_TWO,
     **drawn_from(xavier, normal))
says("xavier_works", "126-128", "It can be initialised by Xavier's rule.", "nn.init.xavier_uniform_(self.weight)", "",
     drawn,
     lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, xavier(case), case)),
     where="Xavier", chance=BY_DISTANCE, **drawn_from(xavier))
says("kaiming_works", "126", "It can be initialised by Kaiming's rule.", "可扩展为Xavier/Kaiming初始化",
     "can be extended to Xavier/Kaiming initialisation", drawn,
     lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, kaiming(case), case)),
     where="Kaiming", chance=BY_DISTANCE, **drawn_from(kaiming))
says("row_zeroed_afterwards", "130-131", "After Xavier or Kaiming the padding row must be zeroed, by .data[1].zero_().",
     "self.weight.data[1].zero_()", "", zeroed_afterwards, row_zeroed_afterwards, chance=zero_row(4))
says("autocast_halves", "141-143", "Under autocast the lookup gives half precision.", "自动转换为半精度",
     "automatically converted to half precision", autocast, lambda case, out: same(out.made, "bfloat16"),
     refuted("the rows stay float32; products after it (F.linear) are what autocast makes bfloat16",
             lambda case, out: every(same(out.made, "float32"), identical(out.value, case.row_bits),
                                      same(out.product, "bfloat16"))))
says("training_skips_padding", "147", "In training the computation of padding is skipped.",
     "训练阶段自动跳过无效位置的计算", "in training, computation at invalid positions is skipped automatically", masked,
     lambda case, out: same(out.indices, int((case.tokens != 1).sum())),
     refuted("padding is looked up and multiplied like any token; only its row gets no gradient",
             lambda case, out: every(same(out.indices, case.numel + 2), row_itself(case, out), same(out.gradient[1], 0),
                                      same(out.flops, 4 * case.embedding_dim * (case.numel + 2)))),
     where="training")
says("inference_keeps_shape", "148", "In inference the sequence keeps its shape.", "推理阶段维持序列形状一致性",
     "in inference, the shape of the sequence is kept consistent", evaluated,
     lambda case, out: same(out.value.meta("shape"), (*case.shape, case.embedding_dim)))
says("time", "152", "The time is O(B·S·D).", "时间复杂度: O ( B ⋅ S ⋅ D )", "time complexity: O(B⋅S⋅D)",
     elements_touched, time,
     only_if("only forward runs, or with sparse=True: a dense gradient writes V·D elements more", with_whole_gradient,
             "forward and backward"))
says("space", "153", "The space is O(V·D).", "空间复杂度: O ( V ⋅ D )", "space complexity: O(V⋅D)", elements_held,
     lambda case, out: same(out.elements, case.num_embeddings * case.embedding_dim),
     only_if("the table alone is meant: a lookup makes B·S·D elements",
             lambda case, out: same(out.elements, (case.num_embeddings + case.numel) * case.embedding_dim),
             "with what a lookup makes"))
