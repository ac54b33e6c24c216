"""The claims of *TokenEmbedding* on practice."""

from __future__ import annotations

import numpy as np

from embcheck.claims.case import ClaimCase
from embcheck.claims.chance import BETWEEN_TWO, BY_DISTANCE, zero_row
from embcheck.claims.claim import claim
from embcheck.claims.costs import autocast, elements_held, elements_made
from embcheck.claims.distributions import by_width, distributed, is_normal, kaiming, measured, normal, xavier
from embcheck.claims.drawing import density
from embcheck.claims.lookups import evaluated
from embcheck.claims.paddings import masked, with_the_ecosystem
from embcheck.claims.starts import drawn, zeroed_afterwards
from embcheck.claims.token_embedding import row_itself
from embcheck.core.comparison import every, identical, is_true, same
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding

PAGE = "token-embedding.md"


claim("token.own_forward", "A subclass may have a forward of its own.", f"{PAGE}:118", "保留自定义前向传播的可能性",
      with_the_ecosystem,
      lambda case, out: same(out.value, case.rows), gloss="keeps the possibility of a forward pass of one's own",
      where=("own forward",))  # fmt: skip

claim("token.fits_the_ecosystem", "It works with PyTorch's tools without a seam.", f"{PAGE}:117-119", "无缝对接PyTorch生态工具",
      with_the_ecosystem,
      lambda case, out: every(same(out.failed, ""), same(out.value, case.rows)),
      gloss="connects with the tools of the PyTorch ecosystem without a seam", fails=("from_pretrained",),
      otherwise="from_pretrained is not called: it builds cls(num_embeddings=…), which this class refuses",
      instead=lambda case, out: same(out.failed, "TypeError"),
      tells=lambda case, out: out.failed.raw or "the same rows")  # fmt: skip

claim("token.default_uniform", "By default the table is drawn from U(−√(1/d), √(1/d)).", f"{PAGE}:125", "默认采用均匀分布",
      drawn,
      lambda case, out: distributed(out.values, by_width(case), case),
      gloss="by default a uniform distribution is used", chance=BETWEEN_TWO, where=("TokenEmbedding",),
      fails=("TokenEmbedding",), otherwise="it is drawn from N(0, 1)", instead=is_normal,
      tells=measured("values", by_width, normal), draws=density("values", by_width, normal))  # fmt: skip

claim("token.default_xavier", "Xavier's uniform initialisation is the default.", f"{PAGE}:127", "Xavier均匀初始化(默认)",
      drawn,
      lambda case, out: distributed(out.values, xavier(case), case), gloss="Xavier uniform initialisation (default)",
      chance=BETWEEN_TWO, where=("TokenEmbedding",), fails=("TokenEmbedding",), otherwise="it is drawn from N(0, 1)",
      instead=is_normal, tells=measured("values", xavier, normal), draws=density("values", xavier, normal))  # fmt: skip

claim("token.xavier_works", "It can be initialised by Xavier's rule.", f"{PAGE}:126-128",
      "nn.init.xavier_uniform_(self.weight)", drawn,
      lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, xavier(case), case)),
      chance=BY_DISTANCE, where=("Xavier",), tells=measured("values", xavier),
      draws=density("values", xavier))  # fmt: skip

claim("token.kaiming_works", "It can be initialised by Kaiming's rule.", f"{PAGE}:126", "可扩展为Xavier/Kaiming初始化", drawn,
      lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, kaiming(case), case)),
      gloss="can be extended to Xavier/Kaiming initialisation", chance=BY_DISTANCE, where=("Kaiming",),
      tells=measured("values", kaiming), draws=density("values", kaiming))  # fmt: skip


@claim("token.row_zeroed_afterwards", "After Xavier or Kaiming the padding row must be zeroed, by .data[1].zero_().",
       f"{PAGE}:130-131", "self.weight.data[1].zero_()", zeroed_afterwards, chance=zero_row(4),
       tells=lambda case, out: f"largest element {abs(out.filled.values[1]).max():.2f} before, "
       f"{abs(out.zeroed.values[1]).max():g} after")  # fmt: skip
def row_zeroed_afterwards(case: ClaimCase, out: Outcome) -> Finding:
    others = np.arange(case.num_embeddings) != 1
    if not out.filled.values[1].any():
        return Difference(
            "zero", f"{out.filled.path}[1].any().item()", False, True, "the initialiser leaves the padding row zero"
        )
    return every(
        same(out.zeroed[1], 0),
        identical(out.zeroed[others], out.filled[others].bits),
        is_true(out.requires_grad, "frozen"),
    )


claim("token.autocast_halves", "Under autocast the lookup gives half precision.", f"{PAGE}:141-143", "自动转换为半精度",
      autocast,
      lambda case, out: same(out.made, "bfloat16"), gloss="automatically converted to half precision", fails=("",),
      otherwise="the rows stay float32; products after it (F.linear) are what autocast makes bfloat16",
      instead=lambda case, out: every(same(out.made, "float32"), identical(out.value, case.row_bits),
      same(out.product, "bfloat16")),
      tells=lambda case, out: f"lookup {out.made.raw}, linear {out.product.raw}")  # fmt: skip

claim("token.training_skips_padding", "In training the computation of padding is skipped.", f"{PAGE}:147",
      "训练阶段自动跳过无效位置的计算", masked,
      lambda case, out: same(out.flops, 4 * case.embedding_dim * int((case.tokens != 1).sum())),
      gloss="in training, computation at invalid positions is skipped automatically", where=("training",),
      fails=("training",), otherwise="padding is looked up and multiplied like any token",
      instead=lambda case, out: every(same(out.flops, 4 * case.embedding_dim * (case.numel + 2)), row_itself(case, out)),
      tells=lambda case, out: f"{out.flops.raw} operations in the next layer for {case.numel + 2} tokens, "
      f"{int((case.tokens == 1).sum()) + 2} of them padding")  # fmt: skip

claim("token.inference_keeps_shape", "In inference the sequence keeps its shape.", f"{PAGE}:148", "推理阶段维持序列形状一致性",
      evaluated,
      lambda case, out: same(out.value.meta("shape"), (*case.shape, case.embedding_dim)),
      gloss="in inference, the shape of the sequence is kept consistent",
      tells=lambda case, out: f"{case.shape} gives {tuple(out.value.raw.shape)}")  # fmt: skip


def with_whole_gradient(case: ClaimCase, out: Outcome) -> Finding:
    """The output, the gradient sent into it, and a dense gradient of V·D elements."""
    tokens = case.numel * case.embedding_dim
    return same(out.elements, 2 * tokens + case.num_embeddings * case.embedding_dim)


@claim("token.time", "The time is O(B·S·D).", f"{PAGE}:152", "时间复杂度: O ( B ⋅ S ⋅ D )", elements_made,
       gloss="time complexity: O(B⋅S⋅D)", fails=("forward and backward",),
       otherwise="only forward runs, or with sparse=True: a dense gradient makes V·D elements more",
       instead=with_whole_gradient,
       tells=lambda case, out: f"{case.numel} tokens, D {case.embedding_dim}, V {case.num_embeddings}: "
       f"{out.elements.raw:,} elements made")  # fmt: skip
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
      instead=lambda case, out: same(out.elements, (case.num_embeddings + case.numel) * case.embedding_dim),
      tells=lambda case, out: f"V {case.num_embeddings}, {case.numel} tokens, D {case.embedding_dim}: "
      f"{out.elements.raw:,} elements")  # fmt: skip
