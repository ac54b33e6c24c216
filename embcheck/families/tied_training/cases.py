"""The training of a tied pair as a case: which optimizer, how tied, what happens; and the gradients that are due."""

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core.axes import Input, OfDtype
from embcheck.core.bound import Rounded
from embcheck.core.format import Floats
from embcheck.core.layout import view_of
from embcheck.core.pattern import Ints
from embcheck.families.lr_scheduler.oracle import Scheduler, cosine, made
from embcheck.families.param_groups.flat_memory import lies_flat
from embcheck.families.tied_training import optimizers, oracle, training_steps
from embcheck.families.tied_training.algorithms import FORMULAS
from embcheck.families.tied_training.data import LOOKUPS, Data, fed_data, gradients_of, present, sent_by
from embcheck.families.tied_training.exact import exact_sgd
from embcheck.families.tied_training.optimizers import UNSET

#: Learning-rate schedules: what each is made with, and the rate of an epoch by its documentation.
SCHEDULES: dict[str, Scheduler | None] = {
    "constant": None,
    "step_lr": made("StepLR", lambda base, k, g: base * 0.5**k, 1, 0.5),
    "polynomial": made("PolynomialLR", lambda base, k, g: base * max(0.0, 1 - k / 4), 4, 1.0),
    "cosine": made("CosineAnnealingLR", lambda base, k, g: cosine(base, 0.0, k / 4), 4),
    "plateau": made("ReduceLROnPlateau", lambda base, k, g: base * 0.5 ** max(0, k - 1), factor=0.5, patience=0),
}
#: Events that leave the second step without a gradient.
WITHOUT_GRADIENT = frozenset({"frozen", "skipped"})

#: By what faint gradients are smaller than others.
FAINT = 2.0**-12
#: Layouts in which no two elements share memory.
LAYOUTS = ("contiguous", "transposed", "column_slice", "row_strided", "strided", "offset")
SHAPES = ((3, 2), (1, 1), (2, 3), (1, 4), (5, 1), (4, 8), (5, 7), (9, 16), (17, 5), (3, 33), (4, 4), (17, 3), (2, 11))


class TiedTrainingCase(OfDtype):
    """``steps`` steps of ``optimizer`` on a table of ``shape`` that an embedding and a head share."""

    optimizer: Annotated[str, tuple(optimizers.KINDS)] = "SGD"
    shape: Annotated[tuple[int, int], SHAPES] = (3, 2)
    steps: Annotated[int, (1, 2, 3, 4)] = 1
    tie: Annotated[str, tuple(training_steps.TIES)] = "head_takes_embedding"
    uses: Annotated[str, ("both", "lookup", "head", "turns")] = "both"
    bias: Annotated[bool, (False, True)] = False
    sparse: Annotated[bool, (False, True)] = False
    dtype: Annotated[str, ("float32", "float64", "bfloat16", "float16")] = "float32"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    grad_layout: Annotated[str, ("fresh", *LAYOUTS)] = "fresh"
    listing: Annotated[str, tuple(training_steps.LISTINGS)] = "parameters"
    backward_pass: Annotated[str, tuple(training_steps.LAPS)] = "pair"
    zero: Annotated[str, tuple(training_steps.ZEROS)] = "to_none"
    event: Annotated[str, tuple(training_steps.EVENTS)] = "nothing"
    schedule: Annotated[str, tuple(SCHEDULES)] = "constant"
    clip: Annotated[str, tuple(training_steps.CLIPS)] = "unclipped"
    closure: Annotated[bool, (False, True)] = False
    tensor_hyperparameters: Annotated[str, ("", "lr", "betas")] = ""
    #: instead of training: "once" lists the parameter twice in a group, "groups" in two, "named" under a name in
    #: each, "groups_apart" with another group between them, "bare" in no list in the second; "half_named" names those of one
    #: group, and "non_leaf" lists what is no leaf
    twice: str = ""
    lr: Any = UNSET
    weight_decay: Any = UNSET
    momentum: Any = UNSET
    dampening: Any = UNSET
    nesterov: Any = UNSET
    maximize: Any = UNSET
    foreach: Any = UNSET
    fused: Any = UNSET
    differentiable: Any = UNSET
    capturable: Any = UNSET
    betas: Any = UNSET
    eps: Any = UNSET
    amsgrad: Any = UNSET
    decoupled_weight_decay: Any = UNSET
    lr_decay: Any = UNSET
    initial_accumulator_value: Any = UNSET
    alpha: Any = UNSET
    centered: Any = UNSET
    momentum_decay: Any = UNSET
    rho: Any = UNSET
    lambd: Any = UNSET
    t0: Any = UNSET
    etas: Any = UNSET
    step_sizes: Any = UNSET
    beta2_decay: Any = UNSET
    d: Any = UNSET
    ns_steps: Any = UNSET
    ns_coefficients: Any = UNSET
    adjust_lr_fn: Any = UNSET
    max_iter: Any = UNSET
    max_eval: Any = UNSET
    tolerance_grad: Any = UNSET
    tolerance_change: Any = UNSET
    history_size: Any = UNSET
    line_search_fn: Any = UNSET
    #: whether gradients are so small that all their elements together are less than one
    faint: bool = False
    seed: int = 0
    #: the padding row of each embedding, which gets the gradient of the head only
    padding_idx: Annotated[int | None, (None, 0, -1)] = None

    @cached_property
    def flags(self) -> dict[str, Any]:
        """The hyperparameters, those not passed at their documented defaults."""
        return optimizers.hyperparameters(self)

    @cached_property
    def data(self) -> Data:
        """What is fed; one seed in four has a table of whole significands, which rounds at every step."""
        rough = self.dtype if self.seed % 4 == 3 and self.backward_pass != "composed" else ""
        found = fed_data(self.shape, self.steps, self.seed % 16, rough)
        return found._replace(below=found.below * FAINT, above=found.above * FAINT) if self.faint else found

    @property
    def padding_row(self) -> int | None:
        return None if self.padding_idx is None else self.padding_idx % self.shape[0]

    @cached_property
    def sending(self) -> list[Ints]:
        """Those tokens of each step that send a gradient to the table."""
        return [tokens[tokens != (-1 if self.padding_row is None else self.padding_row)] for tokens in self.data.tokens]

    @cached_property
    def passes(self) -> tuple[int, ...]:
        """How many backward passes come before each step."""
        second = 0 if self.event in WITHOUT_GRADIENT else 2 if self.event == "accumulated" else 1
        return tuple(second if k == 1 else 1 for k in range(self.steps))

    @cached_property
    def routes(self) -> tuple[str, ...]:
        """Which of the two paths each step takes: both, lookup or head."""
        if self.uses == "turns":
            return tuple(("lookup", "head")[k % 2] for k in range(self.steps))
        return (self.uses,) * self.steps

    @property
    def turns(self) -> int:
        return 2 if self.event == "alternating" else 1

    @cached_property
    def gradients(self) -> tuple[Floats, Floats]:
        """dL/dW and dL/db that each step should find, before clipping, shapes ``(steps, V, D)`` and ``(steps, V)``.

        Zero where there is none (`missing`).  Sums of small integers: exact in every format and order.
        """
        weight, bias = gradients_of(self)
        return (weight * FAINT, bias * FAINT) if self.faint else (weight, bias)

    @cached_property
    def missing(self) -> list[bool]:
        """Whether each step finds no gradient at all."""
        keeps = self.zero in ("to_zeros", "model_to_zeros", "never")
        return [count == 0 and not keeps for count in self.passes]

    @cached_property
    def due(self) -> list[Rounded]:
        """dL/dW of each step after clipping, with its bound."""
        return [self._clipped(gradient, step) for step, gradient in enumerate(self.gradients[0])]

    @property
    def expected_weights(self) -> tuple[Floats, Floats]:
        """The weights after each step and their bound, shape ``(steps, V, D)`` each."""
        due = [None if gone else each for each, gone in zip(self.due, self.missing, strict=True)]
        multiple = oracle.MULTIPLE
        if self.optimizer == "SGD" and not self.clip.startswith("norm"):
            sent = sent_by(self) if self.is_sparse else None
            exact = exact_sgd(self._steps(self.data.weight, due), sent, FAINT if self.faint else 1.0)
            if exact is not None:
                return exact
        if self.is_sparse:
            # SGD adds the duplicates of a sparse gradient to the weight one by one, which rounds each time.
            most = max(int(np.bincount(tokens).max(initial=1)) for tokens in self.sending)
            multiple *= most * LOOKUPS.get(self.tie, 1) * max(self.passes)
        if self.is_sparse and self.optimizer == "SGD":  # nor is the weight as before where they cancel
            u = self.format.unit_roundoff
            due = [
                d and Rounded(d.value, d.fmt, d.error + u * each) for d, each in zip(due, sent_by(self), strict=True)
            ]
        if self.is_sparse and self.optimizer == "SparseAdam":
            due = [None if d is None else present(d, tokens) for d, tokens in zip(due, self.sending, strict=True)]
        return self._after(self.data.weight, due, multiple)

    @property
    def expected_biases(self) -> tuple[Floats, Floats]:
        """The biases after each step and their bound, shape ``(steps, V)`` each."""
        due = [Rounded(each, self.format) for each in self._clipped_biases]
        return self._after(self.data.bias, due, oracle.MULTIPLE)

    @property
    def _clipped_biases(self) -> Floats:
        _, gradients = self.gradients
        return np.clip(gradients, -2.0, 2.0) if self.clip.startswith("value") else gradients

    def _after(self, start: Floats, due: Sequence[Rounded | None], multiple: float) -> tuple[Floats, Floats]:
        single = bool(self.tensor_hyperparameters)
        return oracle.run(FORMULAS[self.optimizer], self._steps(start, due), single, multiple)

    def _steps(self, start: Floats, due: Sequence[Rounded | None]) -> oracle.Steps:
        return oracle.Steps(self.flags, start, due, self.rates, self.format, self.turns)

    def norm(self, step: int) -> Rounded:
        """The norm of all gradients of a step together before clipping, the tied one counted once."""
        gradient, bias = (part[step] for part in self.gradients)
        every = np.concatenate([gradient.ravel(), bias if self.bias else bias[:0]])
        u, size = self.format.unit_roundoff, gradient.size + bias.size
        value = float(np.abs(every).sum() if self.clip == "norm_one" else np.sqrt((every**2).sum()))
        # A sum of n terms in any order, accumulated in float32 for the narrow formats, then a root, a square, a root.
        return Rounded(value, self.format, (size * min(u, 2.0**-24) + 8 * u) * value)

    def _clipped(self, gradient: Floats, step: int) -> Rounded:
        fmt = self.format
        if self.clip.startswith("value"):
            return Rounded(np.clip(gradient, -2.0, 2.0), fmt)
        if not self.clip.startswith("norm"):
            return Rounded(gradient, fmt)
        coefficient = 0.5 / (self.norm(step) + 1e-6)
        if coefficient.value - coefficient.error >= 1:
            return Rounded(gradient, fmt)
        return Rounded(gradient, fmt) * coefficient

    @cached_property
    def rates(self) -> list[float]:
        first = float(self.flags["lr"])
        if self.event == "rate_halved":
            return [first if k < 1 else first / 2 for k in range(self.steps)]
        schedule = SCHEDULES[self.schedule]
        return [schedule.rate(first, k, 0) if schedule else first for k in range(self.steps)]

    @property
    def refused(self) -> bool:
        """Whether the documentation says that this must raise."""
        return optimizers.invalid(self) or self.twice not in ("", "once")

    @property
    def curved(self) -> bool:
        """Whether L-BFGS also takes a step on a loss that is not linear, in which what is generated has no part."""
        return self.optimizer == "LBFGS" and self.seed % 8 == 0

    @property
    def is_sparse(self) -> bool:
        return self.sparse and set(self.routes) == {"lookup"}

    @cached_property
    def circumstances(self) -> frozenset[str]:
        """What may make a release refuse the case."""
        flags = self.flags
        found = {name for name in ("fused", "foreach", "differentiable", "capturable", "weight_decay", "momentum")
                 if flags.get(name)}  # fmt: skip
        found |= {"sparse" if self.is_sparse else "dense"} | ({"bias"} if self.bias else set())
        found |= {f"tensor_{self.tensor_hyperparameters}"} if self.tensor_hyperparameters else set()
        found |= {"sparse_path"} if self.sparse else set()
        several = self.listing in ("bare_groups", "own_rate", "added_last")
        return frozenset(found | {self.dtype} | ({"groups"} if several else set()))

    def facts(self) -> dict[str, Any]:
        absent = bool((np.abs(self.gradients[0]).sum((0, 2)) == 0).any()) if not self.refused else False
        return {
            **self.axes,
            "refused": self.refused,
            "elements": self.shape[0] * self.shape[1],
            "rows": self.shape[0],
            "whole_vector": self.shape[0] * self.shape[1] >= 8,
            "two_groups": self.listing in ("own_rate", "added_last", "bare_groups"),
            "state_copied": self.event == "copied",
            "state_reloaded": self.event in ("reloaded", "reloaded_saved", "copied"),
            "sparse_gradient": self.is_sparse,
            "curved": self.curved,
            "row_left_out": self._row_left_out,
            "several_steps": self.steps > 1,
            "absent_row": absent,
            "eps_vanishes": self.dtype == "float16" and isinstance(self.eps, float) and self.eps < 2.0**-25,
            "half": self.dtype in ("float16", "bfloat16"),
            "fused_strides": self.flags.get("fused") is True
            and not lies_flat(self.shape, self._strides, self._gradient_strides),
            "default_path": self.flags.get("foreach") is None and not self.flags.get("fused"),
            "flat_gradient": self._flat(self._gradient_strides),
            "no_gradient": any(self.missing),
            "single_bias_step": self.bias and len(set(self.routes)) > 1,
        }

    @property
    def _row_left_out(self) -> bool:
        """Whether a step's tokens lack a row that those of the step before have."""
        return any(
            set(before) - set(after) for before, after in itertools.pairwise(map(np.ndarray.tolist, self.sending))
        )

    @property
    def wide(self) -> list[int]:
        """The axes of more than one element, of which alone strides say anything."""
        return [axis for axis, length in enumerate(self.shape) if length > 1]

    @property
    def _strides(self) -> tuple[int, ...]:
        return view_of(self.shape, self.layout).strides

    @property
    def _gradient_strides(self) -> tuple[int, ...]:
        """Those of a given gradient; else autograd follows a parameter that is dense in memory."""
        if self.grad_layout != "fresh":
            return view_of(self.shape, self.grad_layout).strides
        if self.backward_pass == "apart" and self.sparse and "both" in self.routes:
            return self.shape[1], 1  # a dense gradient that is added to a sparse one lies row by row
        return self._strides if self.layout in ("contiguous", "offset", "transposed") else (self.shape[1], 1)

    def _flat(self, strides: tuple[int, ...]) -> bool:
        """Whether the gradient can be viewed as a vector."""
        return 1 in self.shape or strides[0] == self.shape[1] * strides[1]

    @cached_property
    def inputs(self) -> dict[str, Input]:
        data, fmt = self.data, self.format
        values = {"hidden": data.hidden, "below": data.below, "above": data.above}
        values["summed"] = np.stack([due.value for due in self.due])
        if self.bias:
            values |= {"bias": data.bias, "twin_bias": data.bias, "summed_bias": self._clipped_biases}
        weight = Input(fmt.encode(data.weight), self.dtype, self.layout)
        fed = {"weight": weight, "twin": weight, "indices": Input(data.tokens, "int64")}
        fed |= {name: Input(fmt.encode(each), self.dtype) for name, each in values.items()}
        if self.grad_layout != "fresh":
            fed["grad"] = Input(fmt.encode(np.zeros(self.shape)), self.dtype, self.grad_layout)
        return fed
