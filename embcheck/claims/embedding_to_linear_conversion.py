"""The claims of *Embedding to Linear conversion*."""

import numpy as np

from embcheck.claims import lookups
from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import Page, only_if, refuted
from embcheck.core.comparison import every, identical, is_false, is_true, same
from embcheck.core.format import Floats
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding


def product_of(case: ClaimCase) -> Floats:
    """x Wᵀ for the program's x, in integers, shape (V,) or (D + 1, V)."""
    x = np.arange(1, 1 + case.embedding_dim) % 3 - 1.0
    given = np.stack([x] * (case.embedding_dim + 1)) if "batch" in str(case.situation) else x
    return given @ case.weight.T


def biased(case: ClaimCase, out: Outcome) -> Finding:
    """The product and the bias 1, 2, …"""
    return same(out.value, product_of(case) + np.arange(1, case.num_embeddings + 1))


def with_bias(case: ClaimCase, out: Outcome) -> Finding:
    """Each row and the bias 1, 2, …"""
    return same(out.value, case.rows + np.arange(1, case.embedding_dim + 1))


def transpose_needed(case: ClaimCase, out: Outcome) -> Finding:
    wrong = Difference("works", out.fits.path, True, False, "it works as it is")
    if case.situation == "layer from V to D, V = D":  # it fits, and gives the columns
        return wrong if (out.value.values == out.table.values).all() else HOLDS
    return wrong if out.fits.raw else HOLDS


def trainable(case: ClaimCase, out: Outcome) -> Finding:
    return every(
        is_true(out.parameter, "no Parameter"),
        same(out.registered, ["weight"]),
        is_true(out.requires_grad, "requires no grad"),
        same(out.gradient, case.scattered.T),
        same(out.after, case.trained.T),
    )


def as_in_newer_releases(case: ClaimCase, out: Outcome) -> Finding:
    """The converted layer has the value, the gradient and the step of the formula x W: with detach() and without the same."""
    return every(same(out.value, case.rows), is_true(out.leaf, "no leaf"), trainable(case, out))


# fmt: off
says = Page("conversion", "embedding-to-linear-conversion.md",
            "LLMs-from-scratch项目中Embedding与Linear层的权重转换分析",
            "An analysis of converting weights between Embedding and Linear layers in the project LLMs-from-scratch")
says("lookup_table", "5", "An embedding is a lookup table: it returns copies of its rows.",
     "Embedding层可以看作是一个特殊的查找表", "an Embedding layer can be seen as a special lookup table", lookups.looked_up,
     lambda case, out: identical(out.value, case.row_bits))
says("linear_is_product", "5", "A linear layer is the plain matrix product.", "Linear层则是标准的矩阵乘法操作",
     "a Linear layer is the standard matrix multiplication", lookups.multiplied,
     lambda case, out: same(out.value, product_of(case)),
     only_if("bias=False; else the bias is added", biased, "one vector", "batch of vectors"))
says("same_map", "5", "Converted, the linear layer maps one-hot vectors to what the embedding gives.",
     "Embedding层和Linear层在数学本质上有着紧密联系",
     "in their mathematical nature Embedding and Linear layers are closely related", lookups.as_linear,
     lambda case, out: same(out.value, case.rows), only_if("the linear layer has no bias", with_bias, "with bias"))
says("embedding_shape", "6", "An embedding's weight has the shape (vocab_size, embedding_dim).",
     "Embedding层的权重矩阵形状为(vocab_size, embedding_dim)",
     "the weight matrix of an Embedding layer has the shape (vocab_size, embedding_dim)", lookups.layer_shapes,
     lambda case, out: same(out.embedding, case.size))
says("linear_shape", "7", "A linear layer's weight has the shape (output_features, input_features).",
     "Linear层的权重矩阵形状为(output_features, input_features)",
     "the weight matrix of a Linear layer has the shape (output_features, input_features)", lookups.layer_shapes,
     lambda case, out: same(out.linear, [case.embedding_dim, case.num_embeddings]))
says("transpose_needed", "5,8", "To use an embedding's weight in a linear layer it usually has to be transposed.",
     "通常需要进行转置操作…来匹配维度要求", "it usually has to be transposed … to match the dimensions that are required",
     lookups.untransposed, transpose_needed,
     only_if("the layer leads from V to D, as it usually does (one from D to V, as in weight tying, takes it as it is)",
             lambda case, out: every(is_true(out.fits, "the shapes differ"), same(out.value, case.weight.T)),
             "layer from D to V"))
says("transposed", "13", "linear.weight = Parameter(embedding.weight.T) transposes the table.",
     "对Embedding层的权重进行转置(.T操作)", "transposes the weight of the Embedding layer (the operation .T)",
     lookups.converted, lambda case, out: same(out.made, case.weight.T))
says("trainable", "14", "The result is a Parameter that the model trains.", "使其成为模型的可训练参数",
     "makes it a trainable parameter of the model", lookups.converted, trainable)
says("needs_no_detach", "18", "In newer releases Parameter(embedding.weight.T) works without detach().",
     "在较新版本的PyTorch中,直接转换而不使用detach()是完全可行的",
     "in newer versions of PyTorch converting directly, without detach(), is entirely possible", lookups.converted,
     lambda case, out: every(is_true(out.leaf, "no leaf"), trainable(case, out)), where="without detach")
says("release_is_new_enough", "18,24",
     "The release that runs is new enough: value and gradient are those of the lookup, without detach() and with it.",
     "在较新版本的PyTorch中…注意PyTorch版本差异带来的行为变化",
     "in newer versions of PyTorch … mind the changes of behaviour that come with different versions of PyTorch",
     lookups.converted, as_in_newer_releases)
says("detach_copies", "18", "detach() makes a copy.", "detach()方法会创建一个…张量副本",
     "the method detach() creates a … copy of the tensor", lookups.detached,
     lambda case, out: every(is_false(out.shares, "the same memory"), same(out.afterwards, case.weight[0, 0])),
     refuted("it shares the table's memory: what is written to it is in the table",
             lambda case, out: every(is_true(out.shares, "other memory"), same(out.afterwards, 99.0))))
says("detach_stops_gradient", "18", "A detached tensor requires no gradient.", "创建一个不需要梯度的张量",
     "creates a tensor that needs no gradient", lookups.detached,
     lambda case, out: is_false(out.requires_grad, "it requires grad"))
says("detach_prevents_training", "18", "Whoever wants to train the weight must not detach it.",
     "但在模型训练场景下,我们通常希望保持这些参数的可训练性",
     "but when training a model we usually want these parameters to stay trainable", lookups.converted,
     lambda case, out: same(out.after, out.made.values),
     refuted("Parameter makes a leaf that requires grad and trains, with detach and without", trainable),
     where="with detach")
says("nothing_else_needed", "21", "Transposing and wrapping is all that is needed.",
     "直接进行权重转置并转换为Parameter即可,无需额外操作",
     "it is enough to transpose the weight and convert it to a Parameter; nothing else is needed",
     lookups.as_linear, lambda case, out: every(same(out.value, case.rows), same(out.eye, case.weight)),
     only_if("the linear layer has no bias (nn.Linear has one by default)", with_bias, "with bias"))
says("requires_grad_freezes", "22", "Setting requires_grad=False freezes the weight.",
     "只有在特定需要冻结参数的情况下,才需要设置requires_grad=False",
     "only where parameters are specifically to be frozen is setting requires_grad=False needed", lookups.frozen,
     lambda case, out: every(is_false(out.requires_grad, "requires grad"), same(out.moved, np.zeros_like(case.weight))),
     only_if("no gradient is left in .grad: an optimizer steps by it still",
             lambda case, out: same(out.moved, -case.scattered), "frozen with a gradient left over"),
     where=("frozen from the start", "frozen with a gradient left over"))
says("trains_unless_frozen", "22", "Only requires_grad=False freezes it: otherwise it trains.",
     "只有在特定需要冻结参数的情况下,才需要设置requires_grad=False",
     "only where parameters are specifically to be frozen is setting requires_grad=False needed", lookups.frozen,
     lambda case, out: every(is_true(out.requires_grad, "frozen"), same(out.moved, -case.scattered)),
     where="not frozen")
