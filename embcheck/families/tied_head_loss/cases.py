"""Tokens that a tied head predicts, and targets by which they are judged, as a case; knows no torch.

With H = W[tokens] and the logits Z = H Wᵀ + b every loss here is Σ A ⊙ (−log softmax(Z)) for some matrix of coefficients A,
which tells its value, and its gradients (`embcheck.families.tied_head_loss.oracle`).
"""

import math
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Input, OfDtype, OfTokens
from embcheck.core.bound import gamma
from embcheck.core.case import Ints
from embcheck.core.format import Floats
from embcheck.families.tied_head_loss.programs import LOSSES, OTHERWISE, RECEIVED

#: Which targets are ignored, by the axis ``ignored``.
IGNORED = ("nothing", "some", "all")
#: The ignore_index of the axis ``ignore``: the default, or a number that stands inside or outside the classes.
IGNORE = ("default", "first", "beyond")
#: What is wrong with a call, of which each must raise.
MISTAKES = ("target_beyond", "target_negative", "weights_short", "targets_fewer", "smoothing_above_one")
#: The roundings to which an exponential or a logarithm may come, of four ulps each.
TRANSCENDENTAL = 8
#: What is ignored unless something else is named (torch.nn.CrossEntropyLoss).
_NOWHERE = -100
#: With more tokens only the mean is looked at, and with more classes the loss: a bound of the gradients would say nothing in
#: half precision.
MANY = 4096
#: The unit roundoff in which half precision adds up what is many (Numerical accuracy).
SINGLE = 2.0**-24
#: Sums above this come near to the largest float16, 65504.
_NEAR_LARGEST = 60000
#: From here on a number is infinite in float16.
_HALF_INFINITE = 65520


class TiedHeadLossCase(OfDtype, OfTokens):
    """Tokens that are looked up, logits from the same table, and a loss."""

    num_embeddings: Annotated[int, (4, 3, 1, 7, 33, 2, 8, 17)] = 4
    embedding_dim: Annotated[int, (2, 1, 5, 0)] = 2
    shape: Annotated[tuple[int, ...], ((3,), (), (5,), (2, 3), (3, 3), (0,), (2, 2, 2), (17,))] = (3,)
    call: Annotated[str, tuple(LOSSES)] = "cross_entropy"
    #: "index", or "probability" for a distribution over the classes
    targets: Annotated[str, ("index", "probability")] = "index"
    reduction: Annotated[str, ("mean", "sum", "none")] = "mean"
    ignored: Annotated[str, IGNORED] = "nothing"
    ignore: Annotated[str, IGNORE] = "default"
    #: whether classes have weights, among them zero
    weighted: Annotated[bool, (False, True)] = False
    label_smoothing: Annotated[float, (0.0, 0.25, 1.0)] = 0.0
    bias: Annotated[bool, (False, True)] = False
    padding_idx: Annotated[int | None, (None, 0, -1)] = None
    #: by what the table is multiplied: with 4 exp(z) overflows in float32
    scale: Annotated[int, (1, 4)] = 1
    dtype: Annotated[str, ("float32", "float64", "float16", "bfloat16")] = "float32"
    layout: Annotated[str, ("contiguous", "transposed", "column_slice", "strided")] = "contiguous"
    mistake: str | None = None
    seed: int = 0
    #: what the loss is given: logits as the head made them, as they lie otherwise, a Parameter, or what needs no gradient
    received: Annotated[str, tuple(RECEIVED)] = "made"
    #: whether the classes are the second axis of several, as of an image, and not the last one of a batch
    classes_second: Annotated[bool, (False, True)] = False
    #: how often the loss was computed before, of other logits
    earlier: Annotated[int, (0, 1, 2, 3)] = 0

    @cached_property
    def weight(self) -> Floats:
        """The table: small integers, so that the logits are exact in every format."""
        shape = (self.num_embeddings, self.embedding_dim)
        return stream.small("predicting table", self.seed % 64, shape, 2) * self.scale

    @cached_property
    def tokens(self) -> Ints:
        """What is looked up, shape ``(numel,)``."""
        return stream.below(stream.derive("predicting tokens", self.seed), self.numel, self.num_embeddings)

    @cached_property
    def ignore_index(self) -> int:
        return {"first": 0, "beyond": self.num_embeddings + 3}.get(self.ignore, _NOWHERE)

    @cached_property
    def classes(self) -> Ints:
        """The class of each token, ignored ones included, shape ``(numel,)``."""
        found = stream.below(stream.derive("predicted", self.seed), self.numel, self.num_embeddings)
        if self.ignored == "all":
            found[:] = self.ignore_index
        elif self.ignored == "some":
            found[self.seed % 2 :: 2] = self.ignore_index
        elif 0 <= self.ignore_index < self.num_embeddings:
            found = np.where(found == self.ignore_index, (found + 1) % self.num_embeddings, found)
        return found

    @cached_property
    def kept(self) -> Any:
        """Which targets are judged, shape ``(numel,)``."""
        if self.targets == "probability":
            return np.ones(self.numel, np.bool_)
        return self.classes != self.ignore_index

    @cached_property
    def distribution(self) -> Floats:
        """What the target says of each class, shape ``(numel, num_embeddings)``: one-hot, or multiples of 1/8."""
        if self.targets == "index":
            return np.where(self.kept[:, None], np.arange(self.num_embeddings) == self.classes[:, None], 0.0)
        words = stream.below(stream.derive("distribution", self.seed), self.numel * self.num_embeddings, 4)
        return words.reshape(self.numel, self.num_embeddings) / 8.0

    @property
    def learned(self) -> bool:
        """Whether the distributions need a gradient, which every other case asks of cross_entropy."""
        differentiable = self.call in ("cross_entropy", "module") and self.received != "frozen" and self.mistake is None
        return differentiable and self.targets == "probability" and self.seed % 2 == 1

    @property
    def otherwise(self) -> bool:
        """Whether the loss is what stands for it in every other case; a layer of no numbers warns."""
        return self.call in OTHERWISE and self.seed % 2 == 1 and self.embedding_dim > 0

    @property
    def twice(self) -> bool:
        """Whether there are two backward passes through one graph."""
        return self.call == "chunked" and self.otherwise

    @property
    def of_bytes(self) -> bool:
        """Whether the targets are of uint8, of which torch smooths none and takes no image."""
        plain = self.call == "cross_entropy" and self.targets == "index" and self.mistake is None
        plain = plain and not self.label_smoothing and not self.classes_second
        held = self.ignored == "nothing" and self.ignore == "default" and self.num_embeddings <= 256
        return plain and held and self.seed % 4 == 3

    @cached_property
    def class_weights(self) -> Floats:
        """The weight of each class, powers of two and zero."""
        if not self.weighted:
            return np.ones(self.num_embeddings)
        return np.array([1.0, 2.0, 0.0, 0.5])[(np.arange(self.num_embeddings) + self.seed) % 4]

    @cached_property
    def masked(self) -> Any:
        """Which classes' bias is −inf, shape ``(num_embeddings,)``: of those that are no target every other, never the first."""
        found = np.zeros(self.num_embeddings, np.bool_)
        plain = self.targets == "index" and not self.label_smoothing and not self.wide and self.mistake is None
        if self.bias and plain and self.seed // 2 % 2:
            found[np.setdiff1d(np.arange(1, self.num_embeddings), self.classes)[::2]] = True
        return found

    @cached_property
    def bias_values(self) -> Floats:
        bias = stream.small("predicting bias", self.seed, (self.num_embeddings,), 2) * float(self.bias)
        return np.where(self.masked, -np.inf, bias)

    @cached_property
    def logits(self) -> Floats:
        """Z, exact, shape ``(numel, num_embeddings)``; −inf of masked classes."""
        return self.weight[self.tokens] @ self.weight.T + self.bias_values

    @property
    def exact(self) -> bool:
        """Whether the format holds every sum on the way to the logits."""
        size = abs(self.weight[self.tokens]) @ abs(self.weight).T + 2.0 * self.bias
        return bool((size <= self.format.largest_integer).all())

    @property
    def smoothed_beyond(self) -> bool:
        """Whether what label smoothing adds up over classes and tokens comes near to the largest float16, or above it."""
        if self.dtype != "float16" or not self.label_smoothing or self.targets == "probability":
            return False
        every = -(self.logarithms[0] * self.class_weights).sum(axis=1) * self.kept
        return bool((every.max(initial=0.0) if self.reduction == "none" else every.sum()) > _NEAR_LARGEST)

    @cached_property
    def divisors(self) -> Floats:
        """By what the mean to which a token belongs divides, shape ``(numel,)``: the weights of the targets that are judged,
        or the number of distributions."""
        if self.reduction != "mean":
            return np.ones(self.numel)
        shares = np.ones(self.numel)
        if self.targets == "index":
            shares = self.class_weights[self.classes % self.num_embeddings]
        return np.full(self.numel, np.where(self.kept, shares, 0.0).sum())

    @property
    def empty(self) -> bool:
        """Whether a mean is taken over nothing."""
        return self.reduction == "mean" and not (self.numel and self.divisors.all())

    @cached_property
    def coefficients(self) -> Floats:
        """A, of which the loss is Σ A ⊙ (−log softmax(Z)); nothing of what is ignored (torch.nn.CrossEntropyLoss)."""
        smooth = self.label_smoothing
        mixed: Floats = (1 - smooth) * self.distribution + smooth / self.num_embeddings * self.kept[:, None]
        return mixed * self.class_weights / np.where(self.divisors, self.divisors, 1.0)[:, None]

    @cached_property
    def logarithms(self) -> tuple[Floats, Floats]:
        """log softmax(Z) and how far a computed one may be off.

        Σ exp(z − max) has C terms with `TRANSCENDENTAL` roundings each, its logarithm as many of its own; max and
        logarithm may be added before they are subtracted.  Very many terms are added up in float32.
        """
        u, eta = self.roundoff, self.format.smallest_subnormal
        if not self.num_embeddings or not self.numel:
            return np.zeros_like(self.logits), np.zeros_like(self.logits)
        most = self.logits.max(axis=1, keepdims=True)
        total = np.log(np.exp(self.logits - most).sum(axis=1, keepdims=True))
        found = self.logits - most - total
        rounded = TRANSCENDENTAL * total + total + abs(most) + np.where(self.masked, 0.0, abs(found))
        each, added = gamma(TRANSCENDENTAL, u), gamma(self.num_embeddings, min(u, SINGLE) if self.wide else u)
        return found, each + added + each * added + 2 * u * rounded + self.num_embeddings * eta

    @property
    def mean_beyond(self) -> bool:
        """Whether the losses whose mean is taken add up to nearly the largest float16, or to more."""
        half = self.dtype == "float16" and self.reduction == "mean"
        return half and bool((self.losses[0] * self.divisors).sum() > _NEAR_LARGEST)

    @cached_property
    def entropies(self) -> Floats:
        """What a divergence takes off for each token, shape ``(numel,)``: A's share of Σ −p log p."""
        if self.call != "divergence":
            return np.zeros(self.numel)
        inside = np.where(self.distribution > 0, self.distribution, 1.0)
        return np.asarray(-(self.coefficients * np.log(inside)).sum(axis=1))

    @cached_property
    def losses(self) -> tuple[Floats, Floats]:
        """Σ A ⊙ (−log softmax(Z)) for each token, less its entropy, and its bound, shape ``(numel,)``."""
        logarithms, off = self.logarithms
        logarithms = np.where(self.masked, 0.0, logarithms)  # whose coefficients are zero
        size = (self.coefficients * (abs(logarithms) + off)).sum(axis=1)
        # Terms that are zero add exactly.
        terms = self.num_embeddings if self.label_smoothing or self.targets == "probability" else 1
        rounded = gamma(terms + 12, self.roundoff) * size
        bound = (self.coefficients * off).sum(axis=1) + rounded + self.format.smallest_subnormal * (size > 0)
        if self.call == "divergence":
            bound += gamma(self.num_embeddings + 12 + TRANSCENDENTAL, self.roundoff) * 2 * self.entropies
        return -(self.coefficients * logarithms).sum(axis=1) - self.entropies, bound

    @cached_property
    def loss(self) -> tuple[Floats, Floats]:
        """The loss and its bound: of each token, or one number, NaN for the mean of nothing (0/0)."""
        each, off = self.losses
        if self.reduction == "none":
            return each.reshape(self.shape), off.reshape(self.shape)
        if self.empty:
            return np.array(np.nan), np.array(0.0)
        # In half precision as in single: sums are added up in float32 (Numerical accuracy), which `MANY` tokens show.
        u = self.roundoff
        added = gamma(self.numel, min(u, SINGLE) if self.numel > MANY else u) + 4 * u
        return np.array(each.sum()), np.array(off.sum() + (added * (abs(each) + off + 2 * self.entropies)).sum())

    @cached_property
    def upstream(self) -> Floats:
        """What arrives at the loss: a power of two, or small integers for each token."""
        if self.reduction != "none":
            return np.array(2.0)
        return stream.small("predicted upstream", self.seed, self.shape)

    @property
    def wide(self) -> bool:
        """Whether there are very many classes."""
        return self.num_embeddings > MANY

    @property
    def differentiated(self) -> bool:
        """Whether there is a bound for the gradients."""
        return self.numel <= MANY and not (self.wide and self.dtype in ("float16", "bfloat16"))

    @property
    def roundoff(self) -> float:
        """The format's unit roundoff, and that of what is expected here, which is computed in float64."""
        return self.format.unit_roundoff + 2.0**-53

    def flags(self) -> dict[str, Any]:
        """What is passed to the loss beside tensors, where it is not the default."""
        found: dict[str, Any] = {"reduction": self.reduction}
        if self.label_smoothing:
            found["label_smoothing"] = self.label_smoothing
        if self.ignore != "default":
            found["ignore_index"] = self.ignore_index
        return found | ({"label_smoothing": 1.5} if self.mistake == "smoothing_above_one" else {})

    def inputs(self) -> dict[str, Input]:
        """The table, tokens, targets and upstream gradient, and a bias and weights of the classes where there are any."""
        fmt = self.format
        found = {
            "weight": Input(fmt.encode(self.weight), self.dtype, self.layout),
            "tokens": Input(self.tokens.reshape(self.shape), "int64"),
            "targets": self._targets(),
            "upstream": Input(fmt.encode(self.upstream), self.dtype),
        }
        if self.bias:
            found["bias"] = Input(fmt.encode(self.bias_values), self.dtype)
        short = self.mistake == "weights_short"
        if self.weighted or short:
            lie = "strided" if self.seed % 2 else "contiguous"
            found["class_weights"] = Input(fmt.encode(self.class_weights[: -1 if short else None]), self.dtype, lie)
        return found

    def _targets(self) -> Input:
        """The targets as they are fed, with what is wrong with them."""
        if self.targets == "probability":
            return Input(self.format.encode(self.distribution.reshape(*self.shape, self.num_embeddings)), self.dtype)
        classes = self.classes.astype(np.int64)
        if self.mistake == "targets_fewer":
            return Input(classes[:-1], "int64")
        if self.mistake in ("target_beyond", "target_negative"):
            classes[-1] = self.num_embeddings if self.mistake == "target_beyond" else -1
        if self.of_bytes:
            return Input(classes.astype(np.uint8).reshape(self.shape), "uint8")
        return Input(classes.reshape(self.shape), "int64")

    @property
    def _exponentials_beyond(self) -> bool:
        """Whether Σ exp(z − max) of a judged token, whose logarithm is −max log softmax(z), is infinite in float16."""
        if self.dtype != "float16" or self.num_embeddings < _HALF_INFINITE:
            return False
        return bool((-self.logarithms[0][self.kept].max(1) >= np.log(_HALF_INFINITE)).any())

    def facts(self) -> dict[str, Any]:
        """inner_size: how many elements of an image's logits lie behind each class."""
        padding, own = self.padding_idx, ("numel", "wide", "empty", "learned", "otherwise", "of_bytes")
        return {
            **self.axes,
            **{name: getattr(self, name) for name in (*own, "smoothed_beyond", "mean_beyond")},
            "rank": len(self.shape),
            "inner_size": math.prod(self.shape[1:]) if self.classes_second else 1,
            "many": self.numel > MANY,
            "few_tokens": self.numel <= self.num_embeddings,
            "repeated": len(set(self.tokens.tolist())) < self.numel,
            "inside": 0 <= self.ignore_index < self.num_embeddings,
            "judged": bool(self.kept.any()),
            "padding_hit": padding is not None and padding in self.tokens,
            "refused": self.mistake is not None,
            "exponentials_beyond": self._exponentials_beyond,
            "masked": bool(self.masked.any()),
            "largest_class": int(self.classes[self.kept].max(initial=0)),
            "largest_logit": float(self.logits[self.kept].max(initial=0.0)),
        }
