"""A layer of tensors without memory as a case; knows no torch."""

from __future__ import annotations

from typing import Any, NamedTuple

from embcheck.core.axes import Axes

#: The dtype that a conversion makes, None for the one that there is.
CONVERSIONS: dict[str, str | None] = {
    "double": "float64", "float": "float32", "half": "float16", "bfloat16": "bfloat16", "to_dtype": "float64",
    "to_dtype_by_name": "bfloat16", "to_tensor": "float16", "to_type": "float64", "to_meta": None, "to_empty": None,
    "to_cpu": None,
}  # fmt: skip


class _ShadowLayerAxes(NamedTuple):
    """The axes, simplest value first."""

    num_embeddings: int = 3
    embedding_dim: int = 2
    layer: str = "embedding"
    fill: str = "as_made"
    act: str = "nothing"
    #: what has no memory: fake tensors, or those on meta
    kind: str = "fake"
    #: whether the same was done before to layers alike, of which fake tensors keep notes
    warm: bool = False
    dtype: str = "float32"


class FakeModuleCase(Axes, _ShadowLayerAxes):  # type: ignore[misc]
    """A layer is made and filled, and something is done to it, with tensors that have no memory."""

    @property
    def parameters(self) -> list[tuple[str, tuple[int, ...], str, bool, int]]:
        """The layer's parameters: name, sizes, dtype, whether it learns, and the place of the first name that it has."""
        dtype = CONVERSIONS.get(self.act) or self.dtype
        learns = self.layer != "frozen" and self.act != "stopped"
        sizes = (self.num_embeddings, self.embedding_dim)
        if self.layer == "tied":
            return [(f"{name}.weight", sizes, dtype, learns, 0) for name in ("table", "head")]
        bias = [("bias", sizes[:1], dtype, learns, 1)] if self.layer == "linear" else []
        return [("weight", sizes, dtype, learns, 0), *bias]

    def facts(self) -> dict[str, Any]:
        """The axes and: converted."""
        return {**self.axes, "converted": self.act in CONVERSIONS}
