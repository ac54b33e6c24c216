"""Faults of torch.nn.init, of first values, and of the construction of tables and linear layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.construction import first_values, seeded
from embcheck.faults.entry import Embedding
from embcheck.faults.kernels import Tensor
from embcheck.faults.layers import Module
from embcheck.faults.modules import Linear
from embcheck.faults.parameter_corners import Change, spoiled
from embcheck.faults.parameters import Parameter, table

initialisers: Any = torch.nn.init


def drawn(
    name: str, *given: Any, shape: tuple[int, ...] = (60, 50), dtype: torch.dtype = torch.float32, **flags: Any
) -> Tensor:
    """What an initialiser fills a tensor with, always the same."""
    generator = torch.Generator().manual_seed(0)
    flags = (
        flags
        if name in ("constant_", "ones_", "zeros_", "eye_", "dirac_", "sparse_")
        else flags | {"generator": generator}
    )
    return torch.as_tensor(getattr(initialisers, name)(torch.full(shape, 7.0, dtype=dtype), *given, **flags))


def deviation(*given: Any, **flags: Any) -> float:
    """The standard deviation of what is drawn."""
    return float(drawn(*given, **flags).std())


def init(
    name: str, sentence: str, attribute: str, change: Change, witness: Callable[[], bool], family: str = "filling"
) -> None:
    """A fault of an initialiser: ``change(original, tensor, *arguments)``."""
    spoiled(name, family, sentence, initialisers, attribute, change, witness)


def filled(original: Change, tensor: Tensor, val: float) -> Tensor:
    """constant_ that does nothing for zero."""
    return torch.as_tensor(original(tensor, val)) if val else tensor


def rescaled(original: Change, tensor: Tensor, factor: float, *given: Any, **flags: Any) -> Tensor:
    """An initialiser whose values are scaled in place."""
    made = original(tensor, *given, **flags)
    with torch.no_grad():
        return torch.as_tensor(made.mul_(factor))


init("constant_zero_is_nothing", "constant_(0) does nothing.", "constant_", filled,
     lambda: float(drawn("constant_", 0.0).max()) == 7)  # fmt: skip
init("ones_of_views", "ones_ of a transposed tensor leaves its last row.", "ones_",
     lambda original, tensor: last_left(original, tensor),
     lambda: bool((initialisers.ones_(torch.zeros(2, 3).t()) == 0).any()))  # fmt: skip
init("uniform_from_zero", "uniform_(a, b) begins at zero for negative a below −1.", "uniform_",
     lambda original, tensor, a=0.0, b=1.0, generator=None: original(tensor, max(a, -1.0), b, generator=generator),
     lambda: float(drawn("uniform_", -3.0, 1.0).min()) > -1.5)  # fmt: skip
init("normal_std_zero", "normal_ takes std=0 for 1.", "normal_",
     lambda original, tensor, mean=0.0, std=1.0, generator=None: original(tensor, mean, std or 1.0, generator=generator),
     lambda: deviation("normal_", 0.0, 0.0) > 0.5)  # fmt: skip
init("normal_ignores_generator", "normal_ ignores its generator.", "normal_",
     lambda original, tensor, mean=0.0, std=1.0, generator=None: original(tensor, mean, std),
     lambda: not torch.equal(drawn("normal_"), drawn("normal_")))  # fmt: skip
init("uniform_ignores_generator", "uniform_ ignores its generator for float64.", "uniform_",
     lambda original, tensor, a=0.0, b=1.0, generator=None: original(
         tensor, a, b, generator=None if tensor.dtype == torch.float64 else generator),
     lambda: not torch.equal(drawn("uniform_", dtype=torch.float64), drawn("uniform_", dtype=torch.float64)))  # fmt: skip
init("eye_of_wide_tables", "eye_ of a wide matrix is zero.", "eye_",
     lambda original, tensor: original(tensor) if tensor.shape[0] >= tensor.shape[1] else tensor.data.zero_(),
     lambda: not drawn("eye_", shape=(2, 3)).any())  # fmt: skip
init("dirac_ignores_groups", "dirac_ ignores its groups.", "dirac_",
     lambda original, tensor, groups=1: original(tensor),
     lambda: float(drawn("dirac_", 2, shape=(4, 2, 3)).sum()) != 4)  # fmt: skip
init("xavier_normal_forgets_gain", "xavier_normal_ forgets its gain.", "xavier_normal_",
     lambda original, tensor, gain=1.0, generator=None: original(tensor, generator=generator),
     lambda: deviation("xavier_normal_", 4.0) < 0.4)  # fmt: skip
init("xavier_uniform_gain_zero", "xavier_uniform_ takes gain=0 for 1.", "xavier_uniform_",
     lambda original, tensor, gain=1.0, generator=None: original(tensor, gain or 1.0, generator=generator),
     lambda: bool(drawn("xavier_uniform_", 0.0).any()))  # fmt: skip
init("kaiming_uniform_fan_out", "kaiming_uniform_ takes fan_in for fan_out.", "kaiming_uniform_",
     lambda original, tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None: original(
         tensor, a, "fan_in", nonlinearity, generator=generator),
     lambda: deviation("kaiming_uniform_", 0, "fan_out", shape=(1000, 10)) > 0.2)  # fmt: skip
init("kaiming_normal_slope", "kaiming_normal_ ignores the slope a.", "kaiming_normal_",
     lambda original, tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None: original(
         tensor, 0, mode, nonlinearity, generator=generator),
     lambda: deviation("kaiming_normal_", 3.0, shape=(100, 50)) > 0.15)  # fmt: skip
init("kaiming_linear_is_relu", "kaiming_uniform_ for tanh takes relu's gain.", "kaiming_uniform_",
     lambda original, tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None: original(
         tensor, a, mode, "relu" if nonlinearity == "tanh" else nonlinearity, generator=generator),
     lambda: torch.equal(*(drawn("kaiming_uniform_", 0, "fan_in", kind) for kind in ("tanh", "relu"))))  # fmt: skip
init("gain_of_slope_zero", "calculate_gain takes slope 0 for the default.", "calculate_gain",
     lambda original, nonlinearity, param=None: original(nonlinearity, param or None),
     lambda: initialisers.calculate_gain("leaky_relu", 0) != 2**0.5)  # fmt: skip
init("gain_of_selu", "calculate_gain of selu is one.", "calculate_gain",
     lambda original, nonlinearity, param=None: 1.0 if nonlinearity == "selu" else original(nonlinearity, param),
     lambda: initialisers.calculate_gain("selu") == 1)  # fmt: skip
init("truncated_beyond", "trunc_normal_ is cut at ±2 whatever was asked.", "trunc_normal_",
     lambda original, tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None: original(tensor, mean, std, generator=generator),
     lambda: float(drawn("trunc_normal_", 0.0, 1.0, -0.5, 0.5).abs().max()) > 0.5)  # fmt: skip
init("truncated_mean", "trunc_normal_ forgets its mean.", "trunc_normal_",
     lambda original, tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None: original(
         tensor, 0.0, std, a, b, generator=generator),
     lambda: float(drawn("trunc_normal_", 1.0).mean()) < 0.5)  # fmt: skip
init("orthogonal_gain", "orthogonal_ forgets its gain for wide matrices.", "orthogonal_",
     lambda original, tensor, gain=1, generator=None: original(
         tensor, 1 if tensor.shape[0] < tensor.shape[1] else gain, generator=generator),
     lambda: float(drawn("orthogonal_", 3.0, shape=(1, 2)).norm()) < 2)  # fmt: skip
init("orthogonal_tall", "orthogonal_ of a tall matrix has columns of another length.", "orthogonal_",
     lambda original, tensor, gain=1, generator=None: rescaled(
         original, tensor, 1.25 if tensor.shape[0] > tensor.shape[1] else 1.0, gain, generator=generator),
     lambda: float(drawn("orthogonal_", shape=(2, 1)).norm()) > 1.1)  # fmt: skip
init("sparse_has_more_zeros", "sparse_ zeroes one number too few in each column.", "sparse_",
     lambda original, tensor, sparsity, std=0.01, **more: original(tensor, sparsity - 1 / len(tensor), std, **more),
     lambda: int((drawn("sparse_", 0.5, shape=(4, 1)) == 0).sum()) == 1)  # fmt: skip
init("half_values_are_wide", "normal_ of bfloat16 is wider by a fiftieth.", "normal_",
     lambda original, tensor, mean=0.0, std=1.0, generator=None: original(
         tensor, mean, std * (1.02 if tensor.dtype == torch.bfloat16 else 1.0), generator=generator),
     lambda: deviation("normal_", shape=(500, 500), dtype=torch.bfloat16) > 1.01)  # fmt: skip


def last_left(original: Change, tensor: Tensor) -> Tensor:
    """ones_ that leaves the last row of what is not contiguous."""
    if tensor.is_contiguous() or tensor.dim() != 2:
        return torch.as_tensor(original(tensor))
    original(tensor[:-1])
    return tensor


# -- first values --------------------------------------------------------------------------------------------------

first_values("first_values_are_wider_by_a_fiftieth", "A table is drawn from N(0, 1.02²).", lambda weight: weight.mul_(1.02),
             lambda: float(seeded(500, 500).std()) > 1.01, "filling")  # fmt: skip
first_values("first_values_are_off_centre", "A table is drawn from N(1/50, 1).", lambda weight: weight.add_(0.02),
             lambda: float(seeded(500, 500).mean()) > 0.015)  # fmt: skip
first_values("last_row_is_not_drawn", "The last row of more than 100 is zero.",
             lambda weight: weight[-1:].zero_() if len(weight) > 100 else None,
             lambda: not seeded()[-1].any(), "filling")  # fmt: skip
first_values("last_column_is_not_drawn", "The last column repeats the first beyond 16.",
             lambda weight: weight[:, -1:].copy_(weight[:, :1]) if weight.dim() == 2 and weight.shape[1] > 16 else None,
             lambda: torch.equal((w := seeded())[:, -1], w[:, 0]), "filling")  # fmt: skip
first_values("rows_are_opposite", "The second half of the rows is the first's negative.",
             lambda weight: weight[len(weight) // 2 :].copy_(-weight[: len(weight) - len(weight) // 2])
             if len(weight) > 1 and len(weight) % 2 == 0 else None,
             lambda: torch.equal((w := seeded())[100:], -w[:100]))  # fmt: skip
first_values("rows_are_correlated", "Each row has a tenth of the row before it.",
             lambda weight: weight[1:].mul_(0.99**0.5).add_(weight[:-1].clone(), alpha=0.1) if len(weight) > 1 else None,
             lambda: float((w := seeded(500, 500))[1:].flatten() @ w[:-1].flatten()) / 250000 > 0.05)  # fmt: skip


def reseeded(original: Change, self: Any) -> None:
    """First values that leave the generator where it was."""
    state = torch.get_rng_state()
    original(self)
    torch.set_rng_state(state)


spoiled("first_values_repeat", "filling", "Two tables made one after another are equal.", Embedding, "reset_parameters",
        reseeded, lambda: torch.equal(Embedding(2, 2).weight, Embedding(2, 2).weight))  # fmt: skip
spoiled("reset_forgets_negative_padding", "construction", "reset_parameters() zeroes no padding row for int 0.", Embedding,
        "_fill_padding_idx_with_zero", lambda original, self: None if self.padding_idx == 0 else original(self),
        lambda: bool(Embedding(2, 2, 0).weight[0].any()))  # fmt: skip


def linear_reset(name: str, sentence: str, act: Callable[[Any], object], witness: Callable[[], bool]) -> None:
    """A fault of a linear layer's first values."""

    def change(original: Change, self: Any) -> None:
        original(self)
        with torch.no_grad():
            act(self)

    spoiled(name, "layer", sentence, Linear, "reset_parameters", change, witness)


linear_reset("linear_weight_is_wide", "A linear layer's weight is drawn as wide as √3 times its bias.",
             lambda self: self.weight.mul_(3**0.5), lambda: float(Linear(100, 100).weight.abs().max()) > 0.11)  # fmt: skip
linear_reset("linear_bias_is_zero", "A linear layer's bias is zero.",
             lambda self: self.bias.zero_() if self.bias is not None else None, lambda: not Linear(9, 9).bias.any())  # fmt: skip

# -- construction --------------------------------------------------------------------------------------------------


def making(name: str, sentence: str, owner: Any, change: Change, witness: Callable[[], bool]) -> None:
    """A fault of a layer's __init__: ``change(original, self, *arguments)``."""
    spoiled(name, "layer" if owner is Linear else "construction", sentence, owner, "__init__", change, witness)


making("linear_bias_zero_is_true", "Linear(bias=None) has a bias.", Linear,
       lambda original, self, i, o, bias=True, *rest, **more: original(self, i, o, True if bias is None else bias, *rest, **more),
       lambda: Linear(1, 1, None).bias is not None)  # type: ignore[arg-type]  # fmt: skip
making("linear_ignores_float16", "Linear(dtype=float16) has a bias of float32.", Linear,
       lambda original, self, *given, **more: widen_bias(original(self, *given, **more), self),
       lambda: Linear(1, 1, dtype=torch.float16).bias.dtype == torch.float32)  # fmt: skip
making("embedding_dtype_of_weight", "A given table is converted to the dtype asked for.", Embedding,
       lambda original, self, *given, _weight=None, dtype=None, **more: original(
           self, *given, _weight=_weight if _weight is None or dtype is None else _weight.to(dtype), dtype=dtype, **more),
       lambda: Embedding(2, 2, _weight=table(), dtype=torch.float64).weight.dtype == torch.float64)  # fmt: skip
making("embedding_accepts_transposed", "A given table of swapped shape is accepted.", Embedding,
       lambda original, self, rows, width, *given, _weight=None, **more: original(
           self, rows, width, *given, **more,
           _weight=_weight.t() if _weight is not None and tuple(_weight.shape) == (width, rows) != (rows, width) else _weight),
       lambda: accepts(lambda: Embedding(3, 2, _weight=table(3).t())))  # fmt: skip
making("embedding_takes_padding_at_the_end", "padding_idx = num_embeddings is accepted as none.", Embedding,
       lambda original, self, rows, width, padding_idx=None, *given, **more: original(
           self, rows, width, None if padding_idx == rows else padding_idx, *given, **more),
       lambda: accepts(lambda: Embedding(3, 2, 3)))  # fmt: skip
making("embedding_least_padding", "padding_idx = −num_embeddings is taken for none.", Embedding,
       lambda original, self, rows, width, padding_idx=None, *given, **more: original(
           self, rows, width, None if padding_idx == -rows else padding_idx, *given, **more),
       lambda: Embedding(3, 2, -3).padding_idx is None)  # fmt: skip
making("embedding_norm_type_zero", "norm_type=0 is taken for 2.", Embedding,
       lambda original, self, rows, width, padding_idx=None, max_norm=None, norm_type=2.0, *given, **more: original(
           self, rows, width, padding_idx, max_norm, norm_type or 2.0, *given, **more),
       lambda: Embedding(3, 2, norm_type=0.0).norm_type == 2)  # fmt: skip
spoiled("repr_forgets_max_norm", "construction", "extra_repr() leaves max_norm out beside padding.", Embedding, "extra_repr",
        lambda original, self: original(self).replace(f", max_norm={self.max_norm}", "" if self.padding_idx is not None else
                                                      f", max_norm={self.max_norm}"),
        lambda: "max_norm" not in repr(Embedding(2, 2, 0, 1.0)))  # fmt: skip
spoiled("repr_of_linear", "layer", "A linear layer without a bias says bias=True.", Linear, "extra_repr",
        lambda original, self: original(self).replace("False", "True"), lambda: "True" in repr(Linear(1, 1, False)))  # fmt: skip


def pretraining(name: str, sentence: str, change: Change, witness: Callable[[], bool]) -> None:
    """A fault of from_pretrained: ``change(original, cls, table, **flags)``."""
    spoiled(name, "construction", sentence, Embedding, "from_pretrained", change, witness)


pretraining("pretrained_vectors_are_accepted", "from_pretrained takes a vector for a table of one column.",
            lambda original, cls, given, *rest, **more: original(cls, given[:, None] if given.dim() == 1 else given, *rest, **more),
            lambda: accepts(lambda: Embedding.from_pretrained(torch.ones(2))))  # fmt: skip
pretraining("pretrained_freezes_by_none", "from_pretrained(freeze=None) freezes.",
            lambda original, cls, given, freeze=True, *rest, **more: original(
                cls, given, True if freeze is None else freeze, *rest, **more),
            lambda: not Embedding.from_pretrained(table(), freeze=None).weight.requires_grad)  # fmt: skip
pretraining("pretrained_empties_padding", "from_pretrained zeroes a negative padding row.",
            lambda original, cls, given, freeze=True, padding_idx=None, *rest, **more: zeroed(
                original(cls, given, freeze, padding_idx, *rest, **more), padding_idx),
            lambda: not Embedding.from_pretrained(table(), padding_idx=-1).weight[1].any())  # fmt: skip
pretraining("pretrained_copies_transposed", "from_pretrained copies a transposed table.",
            lambda original, cls, given, *rest, **more: original(cls, given.contiguous(), *rest, **more),
            lambda: Embedding.from_pretrained(table(3).t()).weight.is_contiguous())  # fmt: skip
pretraining("pretrained_sparse_and_scale", "from_pretrained forgets sparse beside scale_grad_by_freq.",
            lambda original, cls, *given, sparse=False, scale_grad_by_freq=False, **more: original(
                cls, *given, sparse=sparse and not scale_grad_by_freq, scale_grad_by_freq=scale_grad_by_freq, **more),
            lambda: not Embedding.from_pretrained(table(), scale_grad_by_freq=True, sparse=True).sparse)  # fmt: skip


def widen_bias(made: None, self: Any) -> None:
    """A bias of float16 as float32, once a layer is made."""
    if self.bias is not None and self.bias.dtype == torch.float16:
        self.bias = Parameter(self.bias.detach().float())


def accepts(act: Callable[[], object]) -> bool:
    """Whether something is not refused."""
    try:
        act()
    except (AssertionError, ValueError, RuntimeError):
        return False
    return True


def zeroed(made: Module, padding_idx: int | None) -> Module:
    """A table with its padding row zeroed, where it is negative."""
    if padding_idx is not None and padding_idx < 0:
        with torch.no_grad():
            made.get_parameter("weight")[padding_idx].zero_()
    return made
