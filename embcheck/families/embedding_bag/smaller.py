"""Simpler neighbours of a bag's case, for the reducer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.families.embedding_bag.cases import BagCase


def smaller(case: BagCase) -> Iterator[BagCase]:
    """Fewer rows, columns and tokens; then tokens and bags written out."""
    for axis, floor in (("num_embeddings", 1), ("embedding_dim", 1), ("numel", 0), ("trailing", 0)):
        step = getattr(case, axis) - floor
        while step > 0:
            fewer: dict[str, Any] = {axis: getattr(case, axis) - step}
            if axis == "num_embeddings" and isinstance(case.indices, tuple):
                fewer["indices"] = tuple(min(token, fewer[axis] - 1) for token in case.indices)
            written_out = isinstance(case.indices, tuple) or (axis == "numel" and isinstance(case.bags, tuple))
            if axis in ("num_embeddings", "embedding_dim") or not written_out:
                yield case.but(**fewer)
            step //= 2
    if case.mistake is None and case.numel + case.trailing <= 8:
        written = {"indices": tuple(case.tokens.tolist()), "bags": tuple(case.lengths.tolist())}
        if isinstance(case.indices, str) or isinstance(case.bags, str):
            yield case.but(**written)
        elif not case.batch:
            starts = np.r_[0, np.cumsum(case.lengths)].tolist()
            for k, length in enumerate(case.bags):
                rest = (*case.bags[:k], *case.bags[k + 1 :])
                yield case.but(bags=rest, indices=(*case.indices[: starts[k]], *case.indices[starts[k + 1] :]))
                if length:
                    less = (*case.bags[:k], length - 1, *case.bags[k + 1 :])
                    yield case.but(bags=less, indices=(*case.indices[: starts[k]], *case.indices[starts[k] + 1 :]))
            for k, token in enumerate(case.indices):
                if token:
                    yield case.but(indices=(*case.indices[:k], 0, *case.indices[k + 1 :]))
