"""The tutorials that the claims are from, with their titles as the files have them."""

from __future__ import annotations

from embcheck.core.claim_record import Tutorial

#: By file, the title and what it means.  The fifth has none of its own: its first sentence says that it is an introduction to this.
_TITLES = {
    "embedding-and-linear.md": (
        "模型的第一层:详解torch.nn.Embedding和torch.nn.Linear",
        "The first layer of a model: torch.nn.Embedding and torch.nn.Linear in detail",
    ),
    "embedding-to-linear-conversion.md": (
        "LLMs-from-scratch项目中Embedding与Linear层的权重转换分析",
        "An analysis of converting weights between Embedding and Linear layers in the project LLMs-from-scratch",
    ),
    "nn-embedding-in-full.md": ("nn.embedding函数详解(pytorch)", "The function nn.embedding in detail (pytorch)"),
    "token-embedding.md": (
        "Transformer 代码剖析7 - 词元嵌入(TokenEmbedding) (pytorch实现)",
        "Analysis of the Transformer's code 7: token embedding (TokenEmbedding), implemented in pytorch",
    ),
    "weight-tying.md": ("weight-tying探索", "An exploration of weight tying"),
}
TUTORIALS = {file: Tutorial(file, *titles) for file, titles in _TITLES.items()}
