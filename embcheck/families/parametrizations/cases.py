"""A weight that depends on other tensors, as a case: its norm, its rows or its image."""

import math
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Input, OfDtype
from embcheck.core.format import Floats
from embcheck.core.layout import preserved_strides, view_of
from embcheck.core.wrong_results.numbers import DEGREE_8

SHAPES = ((3, 2), (2, 3), (3, 3), (1, 1), (4, 1), (1, 4), (5, 4))


class ParametrizationCase(OfDtype):
    """One side of a tied pair whose weight is made of something else; each kind looks at its own axes."""

    kind: Annotated[str, ("normed", "bounded", "orthogonalized", "mapped")] = "normed"
    shape: Annotated[tuple[int, ...], SHAPES] = (3, 2)
    side: Annotated[str, ("embedding", "head")] = "embedding"
    frozen: Annotated[bool, (False, True)] = False
    #: by the function of torch.nn.utils, not by that of its parametrizations
    old: Annotated[bool, (False, True)] = False
    dim: Annotated[Any, (0, 1, None, -1)] = 0
    signs: Annotated[str, ("positive", "negative", "mixed", "zero")] = "positive"
    iterations: Annotated[int, (1, 2, 3)] = 1
    evaluating: Annotated[bool, (False, True)] = False
    map: Annotated[Any, (None, "matrix_exp", "cayley", "householder")] = None
    links: Annotated[int, (1, 2)] = 1
    inverse: Annotated[bool, (False, True)] = False
    leave: Annotated[bool, (True, False)] = True
    #: whether the module beside it is a deep copy, or one that was parametrized by itself
    copied: Annotated[bool, (False, True)] = False
    dtype: Annotated[str, ("float32", "float64")] = "float32"
    layout: Annotated[str, ("contiguous", "transposed", "offset")] = "contiguous"
    seed: int = 0

    def _mixed(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Distinct magnitudes 1, 2, 3, … in some order, with signs."""
        count = math.prod(shape)
        order = np.array(stream.shuffled(stream.derive(name, self.seed), list(range(1, count + 1))), np.float64)
        signs = np.where(stream.words(stream.derive(name, "sign", self.seed), count) >> np.uint64(63), -1.0, 1.0)
        return (order * signs).reshape(shape)

    @property
    def _unit(self) -> float:
        """What no narrower format holds, as far as twice the largest number is exact; of what is decomposed 1."""
        exact = 2 * math.prod(self.shape) < (1 << 10 if self.dtype == "float32" else 1 << 12)
        return self.format.fine if exact and self.kind != "orthogonalized" else 1.0

    @cached_property
    def weight(self) -> Floats:
        """The weight at first."""
        return self._unit * self._mixed("weight", self.shape)

    @cached_property
    def directions(self) -> Floats:
        """What is put in the place of the directions, or of the original."""
        return self._unit * self._mixed("directions", self.shape)

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient of the weight, integers −2…2."""
        return stream.small("upstream", self.seed, self.shape, 2)

    @property
    def others(self) -> tuple[int, ...] | None:
        """The axes along which a norm is taken; None for all."""
        rank = len(self.shape)
        return None if self.dim is None else tuple(axis for axis in range(rank) if axis != self.dim % rank)

    def norms(self, values: Floats) -> Floats:
        """The norms that ``dim`` keeps apart, in a shape that broadcasts."""
        found: Floats = np.sqrt((values**2).sum(self.others, keepdims=True))
        return found

    @property
    def gain_shape(self) -> tuple[int, ...]:
        others = self.others
        return () if others is None else tuple(1 if axis in others else n for axis, n in enumerate(self.shape))

    @property
    def terms(self) -> int:
        """How many squares are in a norm."""
        return math.prod(n for axis, n in enumerate(self.shape) if self.others is None or axis in self.others)

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
        # A sum that the format may not hold is infinite.
        gain_bound = np.where(size.reshape(self.gain_shape) < 2.0**self.format.emax, gain_bound, np.inf)
        direction = self.gains / norm * (up - v * along / norm**2)
        share, part = np.abs(self.gains / norm), np.abs(v) * size / norm**2
        # A square that the format may not hold makes a part vanish, and so does a quotient that is too small for it.
        lost = np.where(norm**2 < 2.0**self.format.emax, self.format.smallest_subnormal * (1 + np.abs(v)), part)
        bound = share * ((4 * self.terms + 64) * u * (np.abs(up) + part) + lost)
        return (gain, gain_bound), (direction, bound)

    @property
    def matrix(self) -> Floats:
        """The weight with ``dim`` in front, and the others as one; a vector is a row."""
        dim = self.dim or 0
        return np.moveaxis(self.weight, dim, 0).reshape(1 if len(self.shape) < 2 else self.shape[dim], -1)

    def unit(self, name: str, length: int) -> Floats:
        """A vector of length about 1, of positive numbers, as the format holds it."""
        plain = np.abs(self._mixed(name, (length,)))
        return self.format.rounded(plain / np.sqrt((plain**2).sum()))

    @cached_property
    def ends(self) -> tuple[Floats, Floats]:
        """The vectors u and v with which a power iteration begins; of a vector there is none, and they are 1 and its direction."""
        if len(self.shape) < 2:
            return np.ones(1), self.format.rounded(self.weight / np.sqrt((self.weight**2).sum()))
        return self.unit("u", self.matrix.shape[0]), self.unit("v", self.matrix.shape[1])

    def iterated(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """u and v after the iterations of a call in training, each with the norm of its error."""
        (u, v), eu, ev = self.ends, 0.0, 0.0
        for _ in range(0 if self.evaluating or len(self.shape) < 2 else self.iterations):
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

    def _sigma(self, u: Floats, v: Floats) -> tuple[float, float]:
        """σ = uᵀWv, and what share of it a computed one may be off."""
        sigma, size = float(u @ self.matrix @ v), float(np.abs(u) @ np.abs(self.matrix) @ np.abs(v))
        off = (sum(self.matrix.shape) + 4) * self.format.unit_roundoff * size
        return sigma, off / (abs(sigma) - off) if off < abs(sigma) else math.inf

    def divided(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """W/σ for vectors as they were seen, and its bound."""
        sigma, share = self._sigma(u, v)
        value = self.weight / sigma
        return value, np.abs(value) * (share + 4 * self.format.unit_roundoff)

    def bounded_gradient(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """dL/dW of W/σ: G/σ − (Σ G W) uvᵀ/σ², and its bound, which is infinite where half of σ may be lost."""
        sigma, share = self._sigma(u, v)
        moved = np.moveaxis(self.weight, self.dim, 0).shape
        ends = np.moveaxis(np.outer(u, v).reshape(moved), 0, self.dim)
        products = self.upstream * self.weight
        first, second = self.upstream / sigma, products.sum() * ends / sigma**2
        terms = np.abs(first) + np.abs(products).sum() * np.abs(ends) / sigma**2
        rounded = (self.weight.size + 32) * self.format.unit_roundoff
        return first - second, terms * (4 * share + rounded if share < 1 else math.inf)

    @property
    def reflects(self) -> bool:
        """Whether an orthogonal weight is made by Householder's reflections, the default of what is not square."""
        return (self.map or ("", "householder")[self.shape[-2:-1] != self.shape[-1:]]) == "householder"

    @property
    def exponential(self) -> bool:
        """Whether an orthogonal weight is made by torch.matrix_exp."""
        return self.kind == "orthogonalized" and not self.reflects and self.map != "cayley"

    @property
    def by_degree_8(self) -> bool:
        """Whether torch.matrix_exp may take its polynomial of degree 8: of one matrix that has such a norm after a step.

        Where the weight is not square, the gradient depends on random columns.
        """
        if not self.exponential or self.frozen or math.prod(self.shape[:-2]) != 1:
            return False
        if self.shape[-2] != self.shape[-1]:
            return True
        base, triangle = np.linalg.qr(self.weight)
        base = base * np.sign(np.diagonal(triangle, 0, -2, -1))[..., None, :]
        norm = 0.125 * np.abs(_skew(self.orthogonal_gradient(base)[0])).sum(-2).max(initial=0.0)
        least, most = DEGREE_8[self.dtype]
        return any(least < share * norm <= most for share in (1.0, 0.9375))

    def tall(self, values: Floats) -> Floats:
        """Matrices, or their transposes where the weight is wide."""
        return np.swapaxes(values, -1, -2) if self.shape[-2] < self.shape[-1] else values

    def orthogonal(self, base: Floats, original: Floats) -> Floats:
        """The base times the map of an original: of the skew matrix of its lower triangle, or of its columns' reflections."""
        lower = self.tall(original)
        rows, columns = lower.shape[-2:]
        unit = np.eye(rows)
        if self.reflects:
            image = unit
            for k in range(columns):
                mirror = np.tril(lower, -1)[..., k, None] + unit[:, k, None]
                shares = 2 / (mirror**2).sum(-2, keepdims=True)
                image = image - shares * (image @ mirror) @ np.swapaxes(mirror, -1, -2)
            signs = np.diagonal(lower, 0, -2, -1)[..., None, :]
            return self.tall(base @ (image[..., :columns] * signs))
        skew = _skew(np.tril(lower))
        if self.map == "cayley":
            return self.tall(base @ np.linalg.solve(unit - skew / 2, unit + skew / 2)[..., :columns])
        rates, vectors = np.linalg.eigh(1j * skew)
        image = ((vectors * np.exp(-1j * rates)[..., None, :]) @ np.conj(np.swapaxes(vectors, -1, -2))).real
        return self.tall(base @ image[..., :columns])

    def orthogonal_gradient(self, base: Floats) -> tuple[Floats, Floats]:
        """dL/dX at X = −I, where each map is 1 and that of reflections twice as steep; and how large its terms are."""
        up, turned, steep = self.tall(self.upstream), np.swapaxes(base, -1, -2), 1 + self.reflects
        columns = up.shape[-1]
        size = np.abs(turned) @ np.abs(up)
        gradient = steep * np.tril(_skew(turned @ up), -1)[..., :columns]
        return self.tall(gradient), self.tall(steep * np.full_like(gradient, 2 * size.max()))

    @property
    def strides(self) -> tuple[int, ...]:
        """How the weight lies: as its original if it is divided, column by column if it is wide and orthogonal, else by rows."""
        if self.kind == "bounded":
            return preserved_strides(view_of(self.shape, self.layout).strides, self.shape)
        wide = self.kind == "orthogonalized" and self.shape[0] < self.shape[1]
        return (1, self.shape[0]) if wide else view_of(self.shape, "contiguous").strides

    def mapped(self, values: Floats) -> Floats:
        """f of an original: 2x, and after two links 2x + 1."""
        return 2 * values + (self.links == 2)

    def unmapped(self, values: Floats) -> Floats:
        """The original of an image."""
        return (values - (self.links == 2)) / 2

    def inputs(self) -> dict[str, Input]:
        further: dict[str, dict[str, Floats]] = {
            "normed": {"gains": self.gains, "directions": self.directions},
            "bounded": dict(zip(("left", "right"), self.ends, strict=True)),
            "orthogonalized": {},
            "mapped": {"values": self.directions},
        }
        further[self.kind]["upstream"] = self.upstream
        fed = {name: Input(self.format.encode(v), self.dtype) for name, v in further[self.kind].items()}
        return {"weight": Input(self.format.encode(self.weight), self.dtype, self.layout), **fed}

    def facts(self) -> dict[str, Any]:
        """triangular: by Householder's map, the default of what is not square; by_degree_8: an exponential may be that polynomial,
        for which one matrix has such a norm after a step; terms: of how many elements weight_norm takes a norm."""
        return {
            **self.axes,
            "wide": len(self.shape) > 1 and self.shape[-2] < self.shape[-1],
            "square": self.shape[-2:-1] == self.shape[-1:],
            "triangular": self.kind == "orthogonalized" and self.reflects,
            "column_major": self.layout == "transposed",
            "by_degree_8": self.by_degree_8,
            "terms": self.terms if self.kind == "normed" else 0,
        }


def _skew(values: Floats) -> Floats:
    """Tall matrices beside columns of zeros, less the transpose."""
    square = np.zeros((*values.shape[:-1], values.shape[-2]))
    square[..., : values.shape[-1]] = values
    return square - np.swapaxes(square, -1, -2)
