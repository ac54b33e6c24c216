"""A layer with hooks as a case: which hook sees what, in which order, and what they make of what passes; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import Floats
from embcheck.core.oracle import accumulate

Tokens = npt.NDArray[np.int64]


class Hook(NamedTuple):
    """How one hook is registered; as a plain tuple an axis of the case.

    ``kind`` is "before" or "after" a call, "sent" (full backward pre) or "through" (full backward); ``where`` is
    "layer", "root" or "common" (to all modules); ``acts`` whether it changes what passes; ``gone`` whether it is removed
    before the call.
    """

    kind: str = "before"
    where: str = "layer"
    front: bool = False
    keywords: bool = False
    acts: bool = True
    always: bool = False
    gone: bool = False


class _HookedAxes(NamedTuple):
    """The axes, simplest value first."""

    layer: str = "embedding"
    #: how many Sequentials are around the layer
    depth: int = 0
    hooks: tuple[tuple[Any, ...], ...] = (tuple(Hook()),)
    #: "position" or "keyword"
    given: str = "position"
    #: "grad" or "no_grad"
    passing: str = "grad"
    evaluating: bool = False
    #: whether a token is outside the table, so that the call fails
    fails: bool = False
    prefix: str = ""
    seed: int = 0


class ModuleHooksCase(Axes, _HookedAxes):  # type: ignore[misc]
    """A table of 5 rows and 2 columns, tokens of 3 bags or rows, and hooks.

    The hook at position k, if it acts, turns tokens t into (2t + k) mod 5, values v into 2v + k, gradients g into
    2g + k: whatever order they come in shows.
    """

    @cached_property
    def listed(self) -> list[Hook]:
        """The hooks, as registered."""
        return [Hook(*hook) for hook in self.hooks]

    def firing(self, kind: str, path: int) -> list[int]:
        """The hooks of a kind that fire for the module at a depth, in order: those common to all modules first."""
        wheres = {where for where, place in (("root", 0), ("layer", self.depth)) if place == path}
        common: list[int] = []
        mine: list[int] = []
        for k, hook in enumerate(self.listed):
            if hook.kind != kind or hook.gone:
                continue
            if hook.where == "common":
                common.append(k)
            elif hook.where in wheres:
                mine.insert(0 if hook.front else len(mine), k)
        return common + mine

    def _integers(self, name: str, shape: tuple[int, ...], size: int) -> npt.NDArray[np.int64]:
        count = int(np.prod(shape))
        found: npt.NDArray[np.int64] = stream.below(stream.derive(name, self.seed), count, size).astype(np.int64)
        return found.reshape(shape)

    @cached_property
    def table(self) -> Floats:
        """The table: −4…4."""
        found: Floats = self._integers("table", (5, 2), 9).astype(np.float64) - 4
        return found

    @cached_property
    def tokens(self) -> Tokens:
        """Three rows of two tokens; one of them is outside the table if the call is to fail."""
        found = self._integers("tokens", (3, 2), 5)
        if self.fails:
            found[1, 1] = 99
        return found

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient: −4…4."""
        shape = (3, 2) if self.layer == "bag" else (3, 2, 2)
        found: Floats = self._integers("upstream", shape, 9).astype(np.float64) - 4
        return found

    def inputs(self) -> dict[str, Input]:
        """What is fed, in float64, where all that the hooks make is exact."""
        return {
            "table": Input(self.table, "float64"),
            "tokens": Input(self.tokens, "int64"),
            "upstream": Input(self.upstream, "float64"),
        }

    # -- what should happen ----------------------------------------------------------------------------------------

    def looked(self, tokens: Tokens) -> Floats:
        """The rows, or their sums."""
        rows: Floats = self.table[tokens]
        return rows.sum(1) if self.layer == "bag" else rows

    def forward(self) -> tuple[list[Any], Floats | None, Tokens]:
        """What the hooks note, what comes out (None if it fails), and the tokens that were looked up."""
        notes: list[Any] = []
        last = self.tokens

        def call(path: int, tokens: Tokens, by: str) -> Floats | None:
            nonlocal last
            for k in self.firing("before", path):
                hook = self.listed[k]
                sees = by == "position" or hook.keywords
                notes.append((k, path, tokens.tolist() if sees else None, None))
                # A token outside the table stays there, so that the lookup is what fails.
                if hook.acts and sees:
                    tokens = np.where(tokens == 99, 99, (2 * tokens + k) % 5)
            last = tokens
            if path == self.depth:
                found = None if (tokens == 99).any() else self.looked(tokens)
            else:
                found = call(path + 1, tokens, "position")
            for k in self.firing("after", path):
                hook = self.listed[k]
                if found is None and not hook.always:
                    continue
                sees = by == "position" or hook.keywords
                notes.append((k, path, tokens.tolist() if sees else None, None if found is None else found.tolist()))
                if hook.acts and found is not None:
                    found = 2 * found + k
            return found

        return notes, call(0, self.tokens, self.given), last

    def backward(self) -> tuple[list[Any], Floats]:
        """What the hooks note of the backward pass, and the table's gradient."""
        notes: list[Any] = []
        grad = self.upstream
        for path in range(self.depth + 1):
            # What a hook made of the value comes before the module's result, seen backwards.
            for k in self.firing("sent", path):
                notes.append((k, path, grad.tolist()))
                grad = 2 * grad + k if self.listed[k].acts else grad
            notes += [(k, path, grad.tolist()) for k in self.firing("through", path)]
            grad = grad * 2.0 ** sum(self.listed[k].acts for k in self.firing("after", path))
        tokens = self.forward()[2]
        spread = np.repeat(grad[:, None], 2, 1) if self.layer == "bag" else grad
        return notes, accumulate(tokens.reshape(-1), 5, spread.reshape(-1, 2))

    @property
    def names(self) -> list[str]:
        """The prefix that each module's hooks of the state see, from the model to the layer."""
        return [self.prefix + "0." * path for path in range(self.depth + 1)]

    def facts(self) -> dict[str, Any]:
        """The axes and: several (hooks), and of any hook that stays: front, keywords, always, common, acts, and kinds."""
        there = [hook for hook in self.listed if not hook.gone]
        return {
            **{name: value for name, value in self.axes.items() if name != "hooks"},
            "several": len(there) > 1,
            "gone": any(hook.gone for hook in self.listed),
            **{name: any(getattr(hook, name) for hook in there) for name in ("front", "keywords", "always", "acts")},
            "common": any(hook.where == "common" for hook in there),
            "root": any(hook.where == "root" for hook in there),
            **{kind: any(hook.kind == kind for hook in there) for kind in ("before", "after", "sent", "through")},
        }


def fitting(hooks: tuple[tuple[Any, ...], ...], depth: int) -> Iterator[tuple[Any, ...]]:
    """The hooks with the flags that their kind has: common ones take no front, only calls have keywords."""
    for each in hooks:
        hook = Hook(*each)
        if hook.where == "common":
            hook = hook._replace(front=False, keywords=False)
        if hook.where == "root" and not depth:
            hook = hook._replace(where="layer")
        if hook.kind in ("sent", "through"):
            hook = hook._replace(keywords=False)
        if hook.kind != "after":
            hook = hook._replace(always=False)
        if hook.kind == "through":
            hook = hook._replace(acts=False)
        yield tuple(hook)
