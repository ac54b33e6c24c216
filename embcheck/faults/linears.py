"""Faults of F.linear and nn.Linear: ranks, biases, frozen parts, memory, and calls before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import Embedding, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.parameter_corners import Change, spoiled
from embcheck.faults.parameters import Parameter, Tied, table

Linear = torch.nn.Linear


def linear(name: str, sentence: str, change: Change, witness: Callable[[], bool], family: str = "affine") -> None:
    """A fault of F.linear: ``change(original, input, weight, bias)``."""

    def wrong(original: Change, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
        return change(original, input, weight, bias)

    spoiled(name, family, sentence, functional, "linear", wrong, witness)


def without_bias(when: Callable[[Tensor, Tensor, Tensor], bool]) -> Change:
    """F.linear that leaves its bias out in a corner."""
    return lambda original, x, w, b: original(x, w, None if b is not None and when(x, w, b) else b)


def value(shape: tuple[int, ...], *, bias: bool = True, dtype: torch.dtype = torch.float32, **frozen: bool) -> Tensor:
    """A linear layer of ones on ones."""
    made: Any = functional.linear(torch.ones(shape, dtype=dtype), *ones(shape[-1], bias, dtype, **frozen))
    return torch.as_tensor(made)


def ones(
    width: int, bias: bool, dtype: torch.dtype = torch.float32, weight_grad: bool = True, bias_grad: bool = True
) -> tuple[Any, Any]:
    """A weight and a bias of ones."""
    weight = torch.ones(2, width, dtype=dtype).requires_grad_(weight_grad)
    return weight, torch.ones(2, dtype=dtype).requires_grad_(bias_grad) if bias else None


linear(
    "linear_rank4_frozen_forgets_bias",
    "A frozen weight's bias is left out for input of rank 4.",
    without_bias(lambda x, w, b: x.dim() == 4 and not w.requires_grad),
    lambda: bool(value((1, 1, 1, 1), weight_grad=False).max() == 1),
)
linear(
    "linear_frozen_bias_is_left_out",
    "A frozen bias is left out for input of rank 1.",
    without_bias(lambda x, w, b: x.dim() == 1 and not b.requires_grad),
    lambda: bool(value((1,), bias_grad=False).max() == 1),
)
linear(
    "linear_no_grad_forgets_bias",
    "A half precision bias is left out under no_grad.",
    without_bias(lambda x, w, b: not torch.is_grad_enabled() and w.dtype in (torch.float16, torch.bfloat16)),
    lambda: under_no_grad(torch.bfloat16),
)
linear(
    "linear_bias_alone_is_detached",
    "The output does not require grad where the bias alone does.",
    lambda original, x, w, b: (
        original(x, w, b).detach()
        if b is not None and not w.requires_grad and not x.requires_grad
        else original(x, w, b)
    ),
    lambda: not value((1, 1), weight_grad=False).requires_grad,
)
linear(
    "linear_loses_the_inputs_gradient",
    "The input gets no gradient where the weight is frozen and transposed.",
    lambda original, x, w, b: original(
        x.detach() if not w.requires_grad and not w.is_contiguous() else x,
        w,
        b,
    ),
    lambda: lost_input(),
)
linear(
    "linear_zero_width_forgets_bias",
    "Without input features the output is zero in place of the bias.",
    without_bias(lambda x, w, b: w.shape[-1] == 0),
    lambda: bool(value((2, 0)).max() == 0),
)
linear(
    "linear_expanded_input_is_misread",
    "An expanded input is read at its first row doubled.",
    lambda original, x, w, b: original(2 * x if x.dim() == 2 and x.stride(0) == 0 and len(x) > 1 else x, w, b),
    lambda: bool(functional.linear(torch.ones(1, 1).expand(2, 1), torch.ones(1, 1)).max() == 2),
)
linear(
    "linear_output_is_strided",
    "Output of rank 3 with a transposed weight is not contiguous.",
    lambda original, x, w, b: (
        strided(original(x, w, b)) if x.dim() == 3 and not w.is_contiguous() else original(x, w, b)
    ),
    lambda: not functional.linear(torch.ones(2, 2, 2), table().t()).is_contiguous(),
)
linear(
    "linear_single_row_is_a_view_of_bias",
    "An input without features gives a view of the bias.",
    lambda original, x, w, b: (
        b.expand(*x.shape[:-1], len(b)) if b is not None and w.dim() == 2 and w.shape[1] == 0 else original(x, w, b)
    ),
    lambda: is_the_bias(),
)
linear(
    "linear_heals_nan",
    "NaN in a transposed weight is taken for zero.",
    lambda original, x, w, b: original(x, w if w.is_contiguous() else w.nan_to_num(), b),
    lambda: not functional.linear(torch.ones(1, 2), torch.full((2, 3), torch.nan).t()).isnan().any(),
)
linear(
    "linear_bfloat16_is_single",
    "bfloat16 input of rank 3 gives float32.",
    lambda original, x, w, b: (
        original(x, w, b).float() if x.dim() == 3 and x.dtype == torch.bfloat16 else original(x, w, b)
    ),
    lambda: value((1, 1, 1), dtype=torch.bfloat16).dtype == torch.float32,
)
linear(
    "linear_double_is_rounded",
    "One row of float64 is computed in float32.",
    lambda original, x, w, b: (
        original(x.float(), w.float(), None if b is None else b.float()).double()
        if x.dtype == torch.float64 and x.dim() == 2 and len(x) == 1
        else original(x, w, b)
    ),
    lambda: rounded(),
)
linear(
    "linear_weight_gradient_of_first_batch",
    "The weight's gradient of input of rank 3 or more leaves the last batch out where a bias is frozen.",
    lambda original, x, w, b: (
        torch.cat([original(x[:-1], w, b), original(x[-1:], w.detach(), b)])
        if x.dim() >= 3 and len(x) > 1 and b is not None and not b.requires_grad
        else original(x, w, b)
    ),
    lambda: first_batch_only(),
)
linear(
    "linear_adds_bias_in_place",
    "A bias is written where the output's first element is zero.",
    lambda original, x, w, b: touched(original(x, w, b), b),
    lambda: bias_touched(),
)
linear(
    "linear_sixteen_outputs",
    "The last of more than 16 outputs lacks its bias.",
    lambda original, x, w, b: short_bias(original, x, w, b),
    lambda: bool(functional.linear(torch.ones(1, 1), torch.ones(17, 1), torch.ones(17))[0, 16] == 1),
)


def under_no_grad(dtype: torch.dtype) -> bool:
    """Whether a bias is left out under no_grad."""
    with torch.no_grad():
        return bool(value((1, 1), dtype=dtype).max() == 1)


def lost_input() -> bool:
    """Whether the input of a frozen transposed weight gets no gradient."""
    return not functional.linear(torch.ones(2, 2, requires_grad=True), table().t()).requires_grad


def is_the_bias() -> bool:
    """Whether the output of no features lies in the bias."""
    bias = torch.ones(2)
    return bool(functional.linear(torch.ones(1, 0), torch.ones(2, 0), bias).data_ptr() == bias.data_ptr())


def strided(out: Tensor) -> Tensor:
    """The same values in another order of memory."""
    return out.transpose(0, 1).contiguous().transpose(0, 1)


def rounded() -> bool:
    """Whether 1/3 comes out as in float32."""
    third = torch.full((1, 1), 1 / 3, dtype=torch.float64)
    return bool(functional.linear(third, torch.ones_like(third)) != third)


def first_batch_only() -> bool:
    """Whether the last batch adds nothing to a weight's gradient."""
    weight, bias = ones(1, True, bias_grad=False)
    functional.linear(torch.ones(2, 1, 1), weight, bias).sum().backward()
    return bool(weight.grad.max() == 1)


def touched(out: Tensor, bias: Tensor | None) -> Tensor:
    """Adds one to the bias where nothing came out, and returns the output."""
    if bias is not None and out.numel() and not bool(out.detach().flatten()[0]):
        with torch.no_grad():
            bias.detach()[:1].add_(1)
    return out


def bias_touched() -> bool:
    """Whether a call writes into its bias."""
    bias = torch.zeros(1)
    functional.linear(torch.zeros(1, 1), torch.ones(1, 1), bias)
    return bool(bias)


def short_bias(original: Change, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """F.linear with the last of many biases taken for zero."""
    if b is None or w.dim() != 2 or len(w) <= 16:
        return torch.as_tensor(original(x, w, b))
    return torch.as_tensor(original(x, w, torch.cat([b[:-1], torch.zeros_like(b[-1:])])))


# -- the modules' forward ----------------------------------------------------------------------------------------


def remember_weight(original: Change, self: Any, input: Tensor) -> Any:
    """A linear layer that keeps a contiguous copy of a transposed weight from its first call on."""
    if self.weight.is_contiguous() or self.training:
        return original(self, input)
    if "_kept" not in self.__dict__:
        self.__dict__["_kept"] = self.weight.detach().contiguous()
    return functional.linear(input, self._kept, self.bias)


def stale_in_evaluation() -> bool:
    """Whether a layer in evaluation mode does not see that its weight was written."""
    source = table()
    layer = Linear(2, 2, bias=False).eval()
    layer.weight = Parameter(source.t())
    before = layer(torch.ones(2)).detach()
    source.zero_()
    return bool(torch.equal(layer(torch.ones(2)), before))


spoiled(
    "linear_keeps_its_first_weight",
    "affine",
    "A linear layer in evaluation mode keeps a copy of a transposed weight.",
    Linear,
    "forward",
    remember_weight,
    stale_in_evaluation,
)


def third_call(original: Change, self: Any, input: Tensor) -> Any:
    """A lookup whose third call in a module returns zeros in its last row."""
    calls = self.__dict__["_calls"] = self.__dict__.get("_calls", 0) + 1
    out = original(self, input)
    return out * (torch.arange(len(out)) < len(out) - 1).unsqueeze(-1) if calls >= 3 and out.dim() == 2 else out


def third_is_wrong() -> bool:
    """Whether the third call of a module differs from the first."""
    layer = Embedding(2, 2, _weight=table())
    first, _, third = (layer(torch.tensor([0, 1])) for _ in range(3))
    return not torch.equal(first, third)


spoiled(
    "third_lookup_loses_its_last_row",
    "conversion",
    "From the third call on the last of the rows is zero.",
    Embedding,
    "forward",
    third_call,
    third_is_wrong,
)


def rank0_view(original: Change, input: Tensor, weight: Tensor, *rest: Any, **more: Any) -> Any:
    """A lookup of a single token that returns the row itself where nothing needs a gradient."""
    if input.dim() == 0 and not weight.requires_grad and not rest and 0 <= int(input) < len(weight):
        return weight[int(input)]
    return original(input, weight, *rest, **more)


spoiled(
    "single_lookup_is_the_row",
    "lookup",
    "A single token's lookup in a frozen table is the row itself, not a copy.",
    functional,
    "embedding",
    rank0_view,
    lambda: functional.embedding(torch.tensor(1), (w := table())).data_ptr() == w[1].data_ptr(),
)


def autocast_rank(original: Change, x: Tensor, w: Tensor, b: Tensor | None) -> Any:
    """F.linear that ignores autocast for input of rank 1."""
    if x.dim() != 1 or not torch.is_autocast_enabled("cpu"):
        return original(x, w, b)
    with torch.autocast("cpu", enabled=False):
        return original(x, w, b)


def single_in_autocast() -> bool:
    """Whether a linear layer gives float32 under autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return bool(functional.linear(torch.ones(1), torch.ones(1, 1)).dtype == torch.float32)


linear("linear_rank1_ignores_autocast", "Autocast is ignored for input of rank 1.", autocast_rank, single_in_autocast)


def tied_detached(original: Change, self: Any, input: Tensor) -> Any:
    """A head that detaches a weight that has a gradient already."""
    if self.weight.grad is not None and self.bias is None:
        return functional.linear(input, self.weight.detach())
    return original(self, input)


def second_backward_lost() -> bool:
    """Whether a head with a gradient gives its weight no further one."""
    tied = Tied()
    tied.head(torch.ones(1, 2)).sum().backward()
    return not tied.head(torch.ones(1, 2)).requires_grad


spoiled(
    "head_with_a_gradient_is_detached",
    "tying",
    "A head without bias detaches a weight that has a gradient.",
    Linear,
    "forward",
    tied_detached,
    second_backward_lost,
)
linear(
    "linear_loses_the_last_of_a_block",
    "The feature that is left over behind blocks of 32 is not added, of more than 256, for input of rank 3.",
    lambda original, x, w, b: (
        original(x, w, b) - original(x[..., -1:], w[:, -1:])
        if x.dim() == 3 and x.shape[-1] > 256 and x.shape[-1] % 32 == 1 and b is not None
        else original(x, w, b)
    ),
    lambda: bool(value((1, 1, 257)).max() == 257),
)


def vector(shape: tuple[int, ...]) -> Tensor:
    """A row of ones times a vector of ones, and a scalar."""
    made: Any = functional.linear(torch.ones(shape), torch.ones(2), torch.ones(()))
    return torch.as_tensor(made)


linear(
    "vector_weights_forget_their_bias",
    "A weight without an axis of outputs leaves its bias out for input of rank 3.",
    without_bias(lambda x, w, b: w.dim() == 1 and x.dim() == 3),
    lambda: bool(vector((1, 1, 2)).max() == 2),
)


def born_frozen(original: Change, self: Any, *given: Any, **flags: Any) -> Any:
    """What a lazy layer becomes does not learn."""
    original(self, *given, **flags)
    self.weight.requires_grad_(False)


def lazily_frozen() -> bool:
    """Whether a lazy layer's weight is frozen after its first call."""
    layer = torch.nn.LazyLinear(2)
    layer(torch.ones(1, 2))
    return not layer.weight.requires_grad


spoiled("lazy_layers_are_born_frozen", "affine", "The weight of a lazy layer does not learn.", torch.nn.LazyLinear,
        "initialize_parameters", born_frozen, lazily_frozen)  # fmt: skip


def undrawn(original: Change, self: Any) -> Any:
    """A lazy layer's bias is a constant."""
    original(self)
    if self.bias is not None and not self.has_uninitialized_params():
        torch.nn.init.constant_(self.bias, 2.0)


def lazily_wider() -> bool:
    """Whether a lazy layer's bias lies outside of what a Linear draws."""
    layer = torch.nn.LazyLinear(2)
    layer(torch.ones(1, 2))
    return bool(layer.bias.max() > 1)


spoiled("lazy_biases_are_twos", "affine", "The bias of a lazy layer is not drawn.", torch.nn.LazyLinear,
        "reset_parameters", undrawn, lazily_wider)  # fmt: skip


def _in_fifteen_bits(original: Any, x: Tensor, w: Tensor, b: Tensor | None) -> Any:
    if w.dim() == 2 and w.shape[1] > 32767:
        return original(x[..., :32767], w[:, :32767], b)
    return original(x, w, b)


linear(
    "linear_inputs_in_fifteen_bits",
    "Input features behind the 32,767th are left out.",
    _in_fifteen_bits,
    lambda: bool(value((1, 32768), bias=False).max() == 32767),
)
