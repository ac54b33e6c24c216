"""A weight that depends on other tensors, as a case: its norm, its rows, its mask or its image."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.families.parametrizations.prunings import PRUNINGS, counted, without_least


class _ParametrizationAxes(NamedTuple):
    """The axes, simplest value first; each kind looks at its own."""

    kind: str = "normed"
    shape: tuple[int, int] = (3, 2)
    side: str = "embedding"
    frozen: bool = False
    #: by the function of torch.nn.utils, not by that of its parametrizations
    old: bool = False
    dim: Any = 0
    signs: str = "positive"
    iterations: int = 1
    evaluating: bool = False
    map: Any = None
    trivial: bool = True
    pruning: str = "least"
    weighed: bool = False
    links: int = 1
    inverse: bool = False
    leave: bool = True
    #: whether the module beside it is a deep copy, or one that was parametrized by itself
    copied: bool = False
    #: how many further modules come and go within cached()
    passing: int = 0
    dtype: str = "float32"
    layout: str = "contiguous"
    seed: int = 0


class ParametrizationCase(Axes, _ParametrizationAxes):  # type: ignore[misc]
    """One side of a tied pair whose weight is made of something else."""

    @property
    def format(self) -> Format:
        return FORMATS[self.dtype]

    def _mixed(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Distinct magnitudes 1, 2, 3, … in some order, with signs."""
        count = math.prod(shape)
        order = np.array(stream.shuffled(stream.derive(name, self.seed), list(range(1, count + 1))), np.float64)
        signs = np.where(stream.words(stream.derive(name, "sign", self.seed), count) >> np.uint64(63), -1.0, 1.0)
        values: Floats = (order * signs).reshape(shape)
        return values

    @cached_property
    def weight(self) -> Floats:
        """The weight at first."""
        return self._mixed("weight", self.shape)

    @cached_property
    def directions(self) -> Floats:
        """What is put in the place of the directions, or of the original."""
        return self._mixed("directions", self.shape)

    @cached_property
    def importance(self) -> Floats:
        """How important each element is: another order than that of the magnitudes."""
        return np.abs(self._mixed("importance", self.shape))

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient of the weight, integers −2…2."""
        code = stream.below(stream.derive("upstream", self.seed), math.prod(self.shape), 5).astype(np.float64)
        return (code - 2).reshape(self.shape)

    @property
    def others(self) -> int | None:
        """The axis along which a norm is taken; None for all."""
        return None if self.dim is None else 1 - self.dim % 2

    def norms(self, values: Floats) -> Floats:
        """The norms that ``dim`` keeps apart, in a shape that broadcasts."""
        found: Floats = np.sqrt((values**2).sum(self.others, keepdims=True))
        return found

    @property
    def gain_shape(self) -> tuple[int, ...]:
        """The shape of the gains."""
        if self.dim is None:
            return ()
        return (self.shape[0], 1) if self.dim % 2 == 0 else (1, self.shape[1])

    @property
    def terms(self) -> int:
        """How many squares are in a norm."""
        return math.prod(self.shape) if self.others is None else self.shape[self.others]

    @cached_property
    def gains(self) -> Floats:
        """What is put in the place of the gains."""
        mixed = self._mixed("gains", self.gain_shape)
        size = np.abs(mixed)
        return {"positive": size, "negative": -size, "zero": np.where(size == 1, 0.0, size), "mixed": mixed}[self.signs]

    def normed(self, gains: Floats, directions: Floats) -> tuple[Floats, Floats]:
        """g v / ‖v‖ and its bound: a norm of n squares, a root, a quotient, a product."""
        value = gains * directions / self.norms(directions)
        return value, (2 * self.terms + 16) * self.format.unit_roundoff * np.abs(value)

    def norm_gradients(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """dL/dg and dL/dv of g v / ‖v‖, each with its bound: the terms of the same formulas by their magnitudes."""
        v, up, norm, u = self.directions, self.upstream, self.norms(self.directions), self.format.unit_roundoff
        along = (up * v).sum(self.others, keepdims=True)
        size = np.abs(up * v).sum(self.others, keepdims=True)
        gain = (along / norm).reshape(self.gain_shape)
        gain_bound = (2 * self.terms + 32) * u * (size / norm).reshape(self.gain_shape)
        direction = self.gains / norm * (up - v * along / norm**2)
        bound = (4 * self.terms + 64) * u * np.abs(self.gains / norm) * (np.abs(up) + np.abs(v) * size / norm**2)
        return (gain, gain_bound), (direction, bound)

    @property
    def matrix(self) -> Floats:
        """The weight with ``dim`` in front."""
        return self.weight.T if self.dim == 1 else self.weight

    def unit(self, name: str, length: int) -> Floats:
        """A vector of length about 1, of positive numbers, as the format holds it."""
        plain = np.abs(self._mixed(name, (length,)))
        return self.format.decode(self.format.encode(plain / np.sqrt((plain**2).sum())))

    @cached_property
    def ends(self) -> tuple[Floats, Floats]:
        """The vectors u and v with which a power iteration begins."""
        return self.unit("u", self.matrix.shape[0]), self.unit("v", self.matrix.shape[1])

    def iterated(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """u and v after the iterations of a call in training, each with the norm of its error."""
        (u, v), eu, ev = self.ends, 0.0, 0.0
        for _ in range(0 if self.evaluating else self.iterations):
            if self.old:
                v, ev = self._half(self.matrix.T, u, eu)
            u, eu = self._half(self.matrix, v, ev)
            if not self.old:
                v, ev = self._half(self.matrix.T, u, eu)
        return (u, np.array(eu)), (v, np.array(ev))

    def _half(self, matrix: Floats, given: Floats, error: float) -> tuple[Floats, float]:
        """Mx/‖Mx‖, and the norm of its error: what was off before grows by 2‖M‖/‖Mx‖ at most."""
        product = matrix @ given
        length = float(np.sqrt((product**2).sum()))
        size = float(np.linalg.norm(np.abs(matrix) @ np.abs(given)))
        own = (len(given) + 2) * self.format.unit_roundoff * size
        if length <= own:
            return product, math.inf  # within rounding of zero, which has no direction
        grown = 2 * (float(np.linalg.norm(matrix, 2)) * error + own) / length
        return product / length, grown + (len(product) + 8) * self.format.unit_roundoff

    def divided(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """W/(uᵀWv) for vectors as they were seen, and its bound."""
        sigma = float(u @ self.matrix @ v)
        terms = sum(self.matrix.shape) + 4
        off = terms * self.format.unit_roundoff * float(np.abs(u) @ np.abs(self.matrix) @ np.abs(v))
        slack = abs(sigma) - off
        value = self.weight / sigma
        share = off / slack if slack > 0 else math.inf
        return value, np.abs(value) * (share + 4 * self.format.unit_roundoff)

    @cached_property
    def masks(self) -> list[Floats]:
        """The mask after each pruning: what is out stays out, and each looks at what is left."""
        return [mask for mask, _ in self._both_masks[1:]]

    @cached_property
    def _both_masks(self) -> list[tuple[Floats, Floats]]:
        """The mask, and that of the weight beside it, at first and after each pruning."""
        found = [(np.ones(self.shape), np.ones(self.shape))]
        for name, options in PRUNINGS[self.pruning]:
            found.append(self._cut(name, options, *found[-1]))
        return found

    def _cut(self, name: str, options: dict[str, Any], mask: Floats, beside: Floats) -> tuple[Floats, Floats]:
        """The mask, and that of the weight beside it, which only global pruning cuts."""
        cut = mask.copy()
        if name == "custom_from_mask":
            cut[self.importance <= 2] = 0
        elif name == "l1_unstructured":
            without_least(cut.reshape(-1), np.abs(self._scores(mask)).reshape(-1), options["amount"])
        elif name == "global_unstructured":
            # Beside it is a weight of other magnitudes; the least go of what is left of both.
            every = np.concatenate([np.abs(self.weight).reshape(-1), self.importance.reshape(-1) + 0.5])
            both = without_least(np.concatenate([mask.reshape(-1), beside.reshape(-1)]), every, options["amount"])
            cut, beside = both.reshape(2, *self.shape)
        elif name == "ln_structured":
            left = (mask.sum(1 - options["dim"] % 2, keepdims=True) != 0).astype(np.float64)
            without_least(left.reshape(-1), self._slices(options, mask), options["amount"])
            cut *= left
        return cut, beside

    def _scores(self, mask: Floats) -> Floats:
        return self.importance if self.weighed else self.weight * mask

    def _slices(self, options: dict[str, Any], mask: Floats) -> Floats:
        """The norms of rows or columns."""
        found: Floats = np.linalg.norm(self._scores(mask), options["n"], 1 - options["dim"] % 2)
        return found

    @property
    def by_chance(self) -> bool:
        """Whether what goes is drawn."""
        return self.kind == "pruned" and self.pruning.endswith("by_chance")

    @property
    def drawn(self) -> tuple[int | None, int]:
        """Along which axis whole slices go by chance (None: single elements), and how many."""
        ((_, options),) = PRUNINGS[self.pruning]
        dim = options.get("dim")
        axis = None if dim is None else dim % 2
        return axis, counted(options["amount"], math.prod(self.shape) if axis is None else self.shape[axis])

    @property
    def overcut(self) -> bool:
        """Whether more are to go than are left, which is refused."""
        for (name, options), (mask, beside) in zip(PRUNINGS[self.pruning], self._both_masks, strict=False):
            left = mask.sum() + (beside.sum() if name == "global_unstructured" else 0)
            if name == "ln_structured":
                left = (mask.sum(1 - options["dim"] % 2) != 0).sum()
            if name != "random_structured" and isinstance(options.get("amount"), int) and options["amount"] > left:
                return True
        return False

    @property
    def tied_scores(self) -> bool:
        """Whether two rows or columns have one norm, so that either may go."""
        for (name, options), (mask, _) in zip(PRUNINGS[self.pruning], self._both_masks, strict=False):
            if name == "ln_structured":
                norms = self._slices(options, mask)
                if len(set(np.round(norms, 6))) < len(norms):
                    return True
        return False

    @property
    def _strided_scores(self) -> bool:
        """Whether the first pruning, or a global one, looks at a weight that view(-1) does not take."""
        (name, options), *later = PRUNINGS[self.pruning]
        looks = name in ("global_unstructured", "random_unstructured") or "global_unstructured" in dict(later)
        looks = looks or (name == "l1_unstructured" and options["amount"] != 0 and not self.weighed)
        return looks and self.layout == "transposed" and min(self.shape) > 1

    def mapped(self, values: Floats) -> Floats:
        """f of an original: 2x, and after two links 2x + 1."""
        return 2 * values + (self.links == 2)

    def unmapped(self, values: Floats) -> Floats:
        """The original of an image."""
        return (values - (self.links == 2)) / 2

    @property
    def wanted(self) -> Floats:
        """A matrix with orthogonal rows or columns: ones with signs, at shifted places."""
        few, many = sorted(self.shape)
        found = np.zeros((few, many))
        for k in range(few):
            found[k, (k + 1) % many] = (-1.0) ** (k + self.seed)
        return found if self.shape == (few, many) else found.T

    def inputs(self) -> dict[str, Input]:
        """The tensors of this kind."""
        further: dict[str, dict[str, Floats]] = {
            "normed": {"gains": self.gains, "directions": self.directions},
            "bounded": dict(zip(("left", "right"), self.ends, strict=True)),
            "orthogonalized": {"wanted": self.wanted},
            "pruned": {"importance": self.importance},
            "mapped": {"values": self.directions},
        }
        upstream = {"upstream": self.upstream} if self.kind != "bounded" else {}
        fed = {name: Input(self.format.encode(v), self.dtype) for name, v in (upstream | further[self.kind]).items()}
        return {"weight": Input(self.format.encode(self.weight), self.dtype, self.layout), **fed}

    def facts(self) -> dict[str, Any]:
        """The axes and: wide, square, triangular (by Householder's map, the default of what is not square),
        several_prunings, by_chance, column_major, strided_scores."""
        square = self.shape[0] == self.shape[1]
        return {
            **self.axes,
            "wide": self.shape[0] < self.shape[1],
            "square": square,
            "triangular": self.kind == "orthogonalized"
            and (self.map or ("", "householder")[not square]) == "householder",
            "several_prunings": self.kind == "pruned" and len(PRUNINGS[self.pruning]) > 1,
            "by_chance": self.by_chance,
            "column_major": self.layout == "transposed",
            "strided_scores": self.kind == "pruned" and self._strided_scores,
        }
