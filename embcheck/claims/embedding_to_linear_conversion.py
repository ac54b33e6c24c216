"""The claims of *Embedding to Linear conversion*."""

from __future__ import annotations

import numpy as np

from embcheck.claims import conversions
from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import claim
from embcheck.claims.lookups import looked_up
from embcheck.core.comparison import every, identical, is_false, is_true, same
from embcheck.core.format import Floats
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding

PAGE = "embedding-to-linear-conversion.md"


claim("conversion.lookup_table", "An embedding is a lookup table: it returns copies of its rows.", f"{PAGE}:5",
      "Embedding层可以看作是一个特殊的查找表", looked_up,
      lambda case, out: identical(out.value, case.row_bits),
      gloss="an Embedding layer can be seen as a special lookup table")  # fmt: skip


def product_of(case: ClaimCase) -> Floats:
    """x Wᵀ for the program's x, in integers, shape (V,) or (D + 1, V)."""
    x = np.arange(1, 1 + case.embedding_dim) % 3 - 1.0
    return (
        np.stack([x] * (case.embedding_dim + 1)) @ case.weight.T
        if "batch" in str(case.situation)
        else x @ case.weight.T
    )


def biased(case: ClaimCase, out: Outcome) -> Finding:
    """The product and the bias 1, 2, …"""
    return same(out.value, product_of(case) + np.arange(1, case.num_embeddings + 1))


claim("conversion.linear_is_product", "A linear layer is the plain matrix product.", f"{PAGE}:5",
      "Linear层则是标准的矩阵乘法操作",
      conversions.multiplied,
      lambda case, out: same(out.value, product_of(case)), gloss="a Linear layer is the standard matrix multiplication",
      fails=("one vector", "batch of vectors"), otherwise="bias=False; else the bias is added", instead=biased)  # fmt: skip


def with_bias(case: ClaimCase, out: Outcome) -> Finding:
    """Each row and the bias 1, 2, …"""
    return same(out.value, case.rows + np.arange(1, case.embedding_dim + 1))


claim("conversion.same_map", "Converted, the linear layer maps one-hot vectors to what the embedding gives.",
      f"{PAGE}:5", "Embedding层和Linear层在数学本质上有着紧密联系", conversions.as_linear,
      lambda case, out: same(out.value, case.rows),
      gloss="in their mathematical nature Embedding and Linear layers are closely related", fails=("with bias",),
      otherwise="the linear layer has no bias", instead=with_bias)  # fmt: skip
claim("conversion.embedding_shape", "An embedding's weight has the shape (vocab_size, embedding_dim).", f"{PAGE}:6",
      "Embedding层的权重矩阵形状为(vocab_size, embedding_dim)", conversions.layer_shapes,
      lambda case, out: same(out.embedding, [case.num_embeddings, case.embedding_dim]),
      gloss="the weight matrix of an Embedding layer has the shape (vocab_size, embedding_dim)")  # fmt: skip
claim("conversion.linear_shape", "A linear layer's weight has the shape (output_features, input_features).",
      f"{PAGE}:7", "Linear层的权重矩阵形状为(output_features, input_features)", conversions.layer_shapes,
      lambda case, out: same(out.linear, [case.embedding_dim, case.num_embeddings]),
      gloss="the weight matrix of a Linear layer has the shape (output_features, input_features)")  # fmt: skip


@claim("conversion.transpose_needed", "To use an embedding's weight in a linear layer it must be transposed.",
       f"{PAGE}:8", "需要进行转置操作来匹配维度要求", conversions.untransposed,
       gloss="it has to be transposed to match the dimensions that are required", fails=("layer from D to V",),
       otherwise="the layer leads from V to D (an output layer from D to V, as in weight tying, takes it as it is)",
       instead=lambda case, out: every(is_true(out.fits, "the shapes differ"), same(out.value, case.weight.T)))  # fmt: skip
def transpose_needed(case: ClaimCase, out: Outcome) -> Finding:
    wrong = Difference("works", out.fits.path, True, False, "it works as it is")
    if case.situation == "layer from V to D, V = D":  # it fits, and gives the columns
        return wrong if (out.value.values == out.table.values).all() else HOLDS
    return wrong if out.fits.raw else HOLDS


claim("conversion.transposed", "linear.weight = Parameter(embedding.weight.T) transposes the table.", f"{PAGE}:13",
      "对Embedding层的权重进行转置(.T操作)", conversions.converted,
      lambda case, out: same(out.made, case.weight.T),
      gloss="transposes the weight of the Embedding layer (the operation .T)")  # fmt: skip


@claim("conversion.trainable", "The result is a Parameter that the model trains.", f"{PAGE}:14", "使其成为模型的可训练参数",
       conversions.converted, gloss="makes it a trainable parameter of the model")  # fmt: skip
def trainable(case: ClaimCase, out: Outcome) -> Finding:
    return every(
        is_true(out.parameter, "no Parameter"),
        same(out.registered, ["weight"]),
        is_true(out.requires_grad, "requires no grad"),
        same(out.gradient, case.scattered.T),
        same(out.after, (case.weight - case.scattered).T),
    )


claim("conversion.needs_no_detach", "In newer releases Parameter(embedding.weight.T) works without detach().",
      f"{PAGE}:18", "在较新版本的PyTorch中,直接转换而不使用detach()是完全可行的", conversions.converted,
      lambda case, out: every(is_true(out.leaf, "no leaf"), trainable(case, out)),
      gloss="in newer versions of PyTorch converting directly, without detach(), is entirely possible",
      where=("without detach",))  # fmt: skip


def same_as_stated(case: ClaimCase, out: Outcome) -> Finding:
    """On this release it is as it is stated here for all: with and without detach a leaf that requires grad and shares."""
    return every(
        is_true(out.leaf, "no leaf"), is_true(out.requires_grad, "requires no grad"), is_true(out.shares, "a copy")
    )


@claim("conversion.versions_differ", "Releases differ in how the conversion behaves.", f"{PAGE}:24",
       "注意PyTorch版本差异带来的行为变化", conversions.converted,
       gloss="mind the changes of behaviour that come with different versions of PyTorch",
       fails=("without detach", "with detach"),
       otherwise="each release from 2.4 on makes a leaf that requires grad and shares the table's memory, either way",
       instead=same_as_stated)  # fmt: skip
def versions_differ(case: ClaimCase, out: Outcome) -> Finding:
    finding = same_as_stated(case, out)
    same_here = Difference("same", out.leaf.path, True, False, "as on every other release")
    return HOLDS if isinstance(finding, Difference) else same_here


claim("conversion.detach_copies", "detach() makes a copy.", f"{PAGE}:18", "detach()方法会创建一个…张量副本",
      conversions.detached,
      lambda case, out: every(is_false(out.shares, "the same memory"), same(out.afterwards, case.weight[0, 0])),
      gloss="the method detach() creates a … copy of the tensor", fails=("with detach",),
      otherwise="it shares the table's memory: what is written to it is in the table",
      instead=lambda case, out: every(is_true(out.shares, "other memory"), same(out.afterwards, 99.0)))  # fmt: skip
claim("conversion.detach_stops_gradient", "A detached tensor requires no gradient.", f"{PAGE}:18", "创建一个不需要梯度的张量",
      conversions.detached,
      lambda case, out: is_false(out.requires_grad, "it requires grad"),
      gloss="creates a tensor that needs no gradient")  # fmt: skip
claim("conversion.detach_prevents_training", "Whoever wants to train the weight must not detach it.", f"{PAGE}:18",
      "但在模型训练场景下,我们通常希望保持这些参数的可训练性", conversions.converted,
      lambda case, out: same(out.after, out.made.values),
      gloss="but when training a model we usually want these parameters to stay trainable", where=("with detach",),
      fails=("with detach",), otherwise="Parameter makes a leaf that requires grad and trains, with detach and without",
      instead=trainable)  # fmt: skip
claim("conversion.nothing_else_needed", "Transposing and wrapping is all that is needed.", f"{PAGE}:21",
      "直接进行权重转置并转换为Parameter即可,无需额外操作", conversions.as_linear,
      lambda case, out: every(same(out.value, case.rows), same(out.eye, case.weight)),
      gloss="it is enough to transpose the weight and convert it to a Parameter; nothing else is needed",
      fails=("with bias",), otherwise="the linear layer has no bias (nn.Linear has one by default)",
      instead=with_bias)  # fmt: skip
claim("conversion.weights_are_separate", "The linear layer trains apart from the embedding that it was converted from.",
      f"{PAGE}:18", "张量副本", conversions.converted,
      lambda case, out: same(out.table, case.weight), gloss="a copy of the tensor",
      fails=("without detach", "with detach"),
      otherwise="they share memory, detached or not: a step of the one changes the other",
      instead=lambda case, out: every(is_true(out.shares, "other memory"),
          same(out.table, case.weight - case.scattered)))  # fmt: skip
claim("conversion.requires_grad_freezes", "Setting requires_grad=False freezes the weight.", f"{PAGE}:22",
      "只有在特定需要冻结参数的情况下,才需要设置requires_grad=False", conversions.frozen,
      lambda case, out: every(is_false(out.requires_grad, "requires grad"), same(out.moved, np.zeros_like(case.weight))),
      gloss="only where parameters are specifically to be frozen is setting requires_grad=False needed",
      where=("frozen from the start", "frozen with a gradient left over"), fails=("frozen with a gradient left over",),
      otherwise="no gradient is left in .grad: an optimizer steps by it still",
      instead=lambda case, out: same(out.moved, -case.scattered))  # fmt: skip
claim("conversion.trains_unless_frozen", "Only requires_grad=False freezes it: otherwise it trains.", f"{PAGE}:22",
      "只有在特定需要冻结参数的情况下,才需要设置requires_grad=False", conversions.frozen,
      lambda case, out: every(is_true(out.requires_grad, "frozen"), same(out.moved, -case.scattered)),
      gloss="only where parameters are specifically to be frozen is setting requires_grad=False needed",
      where=("not frozen",))  # fmt: skip
