"""Damages: the closed list of what a fault does to a call, each a pure function.

A damage either changes what a call leaves, or makes the call with other arguments.  None writes to what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from selfcheck.site import Call, Site, Tensor
from selfcheck.tensor_plans import Plan, Planner, Spoil, of_rows

#: The arguments that a call is given instead; None if there is nothing to change.
Give = Callable[[Call], "dict[str, Any] | None"]
#: Damages, by how they begin, that change nothing at sites whose names begin so: random values in another order are as good,
#: every dtype holds zeros and ones, and what only refuses changes no result.
_NOTHING = {
    "nn.init.": ("shift", "swap", "stale", "ulp(last)"),
    **dict.fromkeys(("nn.init.eye_", "nn.init.dirac_"), ("cast(",)),
    "nn.init.ones_": ("cast(", "repeat("),
    "nn.init.zeros_": ("cast(", "double(", "negate(", "zero(", "repeat("),
    "nn.init.constant_": ("repeat(",),
    **dict.fromkeys(("nn.init.kaiming_", "F.embedding_bag"), ("give(mode=not)",)),  # which is a word there
    "func.jvp": ("give(strict",),
    "sparse_adam.": ("spill(grads)",),  # which are sparse
    **dict.fromkeys(("F.cross_entropy", "F.nll_loss"), ("give(weight=detached)",)),  # which can't require grad
    # It gives a number without a graph, and that a vector.
    "nn.utils.get_total_norm": ("shift", "swap", "repeat(", "restride", "double(gradient)", "zero(gradient)"),
    "nn.utils.parameters_to_vector": ("restride",),
    # A copy has no gradients, nor has what is new, of which no two Parameters have one shape.
    **dict.fromkeys(("AveragedModel.__init__", "copy.deepcopy"), ("drop(gradient)",)),
    **dict.fromkeys(("Embedding.", "EmbeddingBag."), ("tie", "untie", "drop(gradient)", "give(mode=not)")),
    "Parameter.__deepcopy__": ("leaf(clone)",),  # which has memory of its own already
    **dict.fromkeys(("Module._apply", "Module.to"), ("skip(",)),  # which rounds what was there before as it did
    "Linear.__init__": ("tie", "untie", "drop("),
    "F.embedding": ("give(input=detached)",),  # of indices
    # Rates are single numbers; what else holds tensors holds them in dictionaries of its own.
    "LRScheduler.state_dict": ("shift", "repeat(", "clone("),
    **dict.fromkeys(("Optimizer.state_dict", "GradScaler.state_dict", "Module.named_modules"), ("clone(",)),
}
#: Sites whose dictionaries hold no tensors, and arguments without whose elements nothing comes out of others.
_WITHOUT_TENSORS = ("Module.named_modules", "GradScaler.state_dict")
_ELEMENTS = {
    "nn.init.": "tensor",
    **dict.fromkeys(("nn.utils.clip_grad_", "nn.utils.parameters_to_vector"), "parameters"),
    "nn.utils.parametrizations._WeightNorm": "weight_v",
    "nn.utils.parametrizations._SpectralNorm": "weight",
    "nn.utils.parametrizations._Orthogonal": "X",
    "Parameter.__deepcopy__": "self",
    "Parameter.__new__": "data",
}
_TABLES, _ROWS = ("Embedding", "EmbeddingBag"), ("shift", "swap", "repeat(")
#: What shows of values that are not zero.
_SCALED = ("zero(", "negate(", "double(", "cast(", "stale", *_ROWS)
#: What a call must meet, at sites whose names (with a space behind them) begin so, for damages that begin so to change anything.
_NEEDED: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Linear.__init__ ", _ROWS, ("out_features>=2",)),
    ("Linear.__init__ ", ("restride",), ("out_features>=2", "in_features>=2")),
    ("Linear.__init__ ", ("give(bias=none)",), ("bias",)),  # which is no bias, too
    *((f"{name}.__init__ ", _ROWS, ("num_embeddings>=2",)) for name in _TABLES),
    *((f"{name}.__init__ ", ("restride",), ("num_embeddings>=2", "embedding_dim>=2")) for name in _TABLES),
    *((f"{name}.from_pretrained ", _ROWS, ("embeddings_rows>=2",)) for name in _TABLES),
    *((f"{name}.from_pretrained ", ("restride",), ("embeddings_rows>=2", "embeddings_columns>=2")) for name in _TABLES),
    # Without tokens a table is read nowhere, and of empty bags come zeros.
    ("F.embedding ", (*_SCALED, "ulp(", "nan(", "restride"), ("weight_numel>=1", "input_numel>=1")),
    ("F.embedding ", ("double(gradient)", "zero(gradient)"), ("weight_frozen=False",)),
    ("F.embedding_bag ", _SCALED, ("input_numel>=1", "weight_numel>=1")),
    ("F.embedding", ("give(padding_idx=none)",), ("input_numel>=1", "weight_numel>=1")),
    ("F.embedding", ("give(norm_type=double)",), ("max_norm>0",)),
    ("F.linear ", ("give(input=memory)",), ("weight_numel>=1",)),  # a table of nothing gives zeros
    ("F.linear ", ("restride",), ("input_rank>=2",)),
    ("F.linear ", ("give(weight=memory)",), ("input_numel>=1",)),  # else what comes out is empty, or the bias
    ("radam.", ("give(eps=double)",), ("step>=5",)),  # up to the fifth step it divides by nothing, whatever beta2 is
    ("func.functional_call ", ("give(strict=not)",), ("strict=False",)),  # which else refuses what it is not given
    ("Module.named_parameters ", ("give(remove_duplicate=not)",), ("tied",)),  # else none has two names
    # It lists one part once, and a shared one twice.
    ("Module.named_modules ", ("give(remove_duplicate=not)",), ("shared_part",)),
    ("Module.named_modules ", ("reverse",), ("parts>=2",)),
    ("sgd.", ("skip(states)",), ("momentum>0",)),  # else there are none
)


class Damage(NamedTuple):
    """A damage by its name, at sites of some kinds or names, ``at``, or that take an ``argument``.

    It has a ``planner`` of what comes after a call, or changes its ``rows``, of which there must be so many, or gives other
    arguments.  ``needs`` are conditions without which it changes nothing, ``forbids`` some with which it can't; one
    ``of_zeros`` changes zeros, too.
    """

    name: str
    spoil: Spoil | None = None
    give: Give | None = None
    needs: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()
    rows: int = 1
    floating: bool = False
    of_zeros: bool = False
    argument: str = ""
    at: tuple[str, ...] = ("kernel",)
    planner: Planner | None = None

    def of(self, site: Site) -> bool:
        """Whether a site has this damage."""
        if self.floating and not site.floating:
            return False
        if any(site.name.startswith(name) and self.name.startswith(begins) for name, begins in _NOTHING.items()):
            return False
        if site.name in _WITHOUT_TENSORS and self.spoil is not None:
            return False
        if site.name == "LRScheduler.state_dict" and self.name == "swap":
            return False  # of one row
        if self.argument:
            return self.argument in site.signature.parameters and site.kind != "transform"
        return site.kind in self.at or site.name in self.at

    def conditions(self, site: Site) -> list[str]:
        """What a call must meet for the damage to change anything."""
        if site.kind != "kernel":
            several = {
                "numbers": ["groups>=2"],
                "traced": [f"{site.rows}>=2"],
                "written": [f"{site.writes}_numel>=2"] * (site.writes == "params"),
                "optimizer": ["counts_first=False"],
            }.get(site.kind, [])
            return [*self.needs, *(several if self.rows > 1 else []), *self._of_python(site)]
        columns = [f"{site.columns}>=1"] if site.columns else []
        zeros = site.masks and not self.of_zeros  # where all is padding
        shown = ["all_padding=False"] if self.spoil is not None and (zeros or site.leaves_out) else []
        return [f"{site.rows}>={self.rows}", *columns, *shown, *(self._not_zero(site) if zeros else ()), *self.needs]

    def _of_python(self, site: Site) -> list[str]:
        """What a call in Python must meet: there is something to change, and it has a gradient or axes if these are."""
        found = [
            each
            for begins, names, needed in _NEEDED
            if f"{site.name} ".startswith(begins) and self.name.startswith(names)
            for each in needed
        ]
        tensor = next((name for begins, name in _ELEMENTS.items() if site.name.startswith(begins)), "")
        writes = self.name.startswith(("skip(", "twice(", "spill(memory"))
        if tensor and (self.spoil is not None or writes or self.name.endswith("(gradient)")):
            found.append(f"{tensor}_numel>={self.rows}")
        if tensor in ("weight", "X") and self.name.endswith("(gradient)"):
            found.append(f"{tensor}_frozen=False")  # all else that goes in are buffers
        if site.name == "func.hessian" and self.give is None:
            found.append("args_numel>=1")
        if site.name == "func.grad_and_value" and (self.rows > 1 or self.name == "restride"):
            found.append("has_aux")  # else the value comes last, which is a number
        if "_SpectralNorm" in site.name and self.name != "give(weight=memory)":
            found.append("earlier>=1")  # what the first call gives, registration looks at for its shape and dtype alone
        if tensor in ("weight_v", "weight", "X", "self", "data") and self.name == "restride":
            found += [f"{tensor}_rank>=2", f"{tensor}_columns>=2", f"{tensor}_numel>=4"]
        if site.name in ("F.cross_entropy", "F.nll_loss"):
            if self.name == "restride" or (self.spoil is not None and self.rows > 1):
                found += ["reduction=none", f"input_rank>={3 if self.name == 'restride' else 2}"]
            if site.name == "F.nll_loss" and self.name.endswith("(gradient)"):
                found.append("input_frozen=False")
            # The loss of nothing is zero or NaN, and so is that of the only class there is, whose likelihood is one.
            if self.name.startswith(("double(", "negate(", "cast(", "zero(gradient)")):
                found += ["input_numel>=1", *(["of_one_class=False"] if site.name == "F.cross_entropy" else [])]
        return found

    def _not_zero(self, site: Site) -> list[str]:
        """What says that what it changes is not zero, as a row that no token names and an empty bag are, nor the same in
        another order."""
        row = self.spoil is not None and self.rows == 1
        one = next((place for place in ("first", "last") if row and f"({place})" in self.name), "")
        told = ["largest_bag>=1"] if "_bag" in site.name else []
        if site.leaves_out and self.rows > 1:
            told.append("num_embeddings>=2")
        if one and site.rows == "num_embeddings":
            told.append(f"{one}_row")
        if one and site.rows == "bags":
            told.append(f"empty_{one}=False")
        return told

    def given(self, call: Call) -> dict[str, Any]:
        """The arguments that a call is made with instead of its own; none where nothing changes."""
        return (self.give and self.give(call)) or {}

    def plan(self, site: Site, call: Call, result: Any) -> Plan | None:
        """What is to be done after a call."""
        planner = self.planner if self.spoil is None else of_rows(self.spoil, self.rows)
        return planner and planner(site, call, result)


# -- what comes out -----------------------------------------------------------------------------------------------------


def _at(place: int, change: Callable[[Tensor], Tensor | float]) -> Spoil:
    """The row at a place changed."""

    def spoil(call: Call, rows: Tensor) -> Tensor:
        rows[place] = change(rows[place])
        return rows

    return spoil


def _zero_column(call: Call, rows: Tensor) -> Tensor:
    rows[:, -1] = 0
    return rows


def _swap(call: Call, rows: Tensor) -> Tensor:
    return torch.cat([rows[1:2], rows[:1], rows[2:]])


def _repeat(call: Call, rows: Tensor) -> Tensor:
    rows[-1] = rows[0]
    return rows


def _through(dtype: torch.dtype) -> Spoil:
    return lambda call, rows: rows.to(dtype).to(rows.dtype)


def _ulp(call: Call, rows: Tensor) -> Tensor:
    rows = rows.resolve_conj().resolve_neg()
    numbers = torch.view_as_real(rows) if rows.is_complex() else rows
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[numbers.element_size()]
    numbers.view(bits)[-1, -1] += 1
    return rows


def _nan(call: Call, rows: Tensor) -> Tensor:
    rows[-1, -1] = torch.nan
    return rows


def _stale(call: Call, rows: Tensor) -> Tensor | None:
    before = call.previous
    return before if before is not None and (before.shape, before.dtype) == (rows.shape, rows.dtype) else None


def _zero_padding(call: Call, rows: Tensor) -> Tensor:
    rows[call.given["indices"].reshape(-1) == call.given["padding_idx"]] = 0
    return rows


# -- what is given ------------------------------------------------------------------------------------------------------


def memory(name: str) -> Give:
    """A tensor read as if it were contiguous, from where it starts, if its storage is large enough."""

    def give(call: Call) -> dict[str, Any] | None:
        tensor = call.given.get(name)
        if tensor is None or tensor.is_contiguous() or tensor.layout is not torch.strided:
            return None
        end = tensor.storage_offset() + tensor.numel()
        if end * tensor.element_size() > tensor.untyped_storage().nbytes():
            return None
        dense = torch.empty(tensor.shape, device="meta").stride()
        return {name: tensor.as_strided(tensor.shape, dense, tensor.storage_offset())}

    return give


def _first_again(name: str) -> Give:
    """The last token is taken for the first one."""

    def give(call: Call) -> dict[str, Any] | None:
        tokens = call.given[name].detach().clone().contiguous()
        if tokens.numel() < 2:
            return None
        tokens.view(-1)[-1] = tokens.view(-1)[0].clone()
        return {name: tokens}

    return give


def _sorted_tokens(call: Call) -> dict[str, Any]:
    tokens = call.given["indices"]
    return {"indices": tokens.reshape(-1).sort().values.reshape(tokens.shape)}


def _other_mode(call: Call) -> dict[str, Any] | None:
    # Weights of samples go with sums only.
    return None if call.given["per_sample_weights"] is not None else {"mode": (1, 0, 0)[call.given["mode"]]}


_BAGS = ("_embedding_bag", "_embedding_bag_forward_only")
_BACKWARDS = (
    *("embedding_dense_backward", "embedding_sparse_backward", "_embedding_bag_dense_backward", *_BAGS),
    "_embedding_bag_per_sample_weights_backward",
)

#: Tokens that are not all alike.
_SEVERAL = ("numel>=2", "num_embeddings>=2", "all_padding=False")
#: Where the order of tokens matters.
_ORDERED = ("embedding", *_BACKWARDS)

#: Damages of kernels.
DAMAGES: Mapping[str, Damage] = {
    damage.name: damage
    for damage in (
        Damage("zero(first)", _at(0, torch.zeros_like)),
        Damage("zero(last)", _at(-1, torch.zeros_like)),
        Damage("zero(column)", _zero_column),
        Damage("negate(last)", _at(-1, torch.neg)),
        Damage("double(first)", _at(0, lambda row: 2 * row)),
        Damage("shift", lambda call, rows: rows.roll(1, 0), rows=2),
        Damage("swap", _swap, rows=2),
        Damage("repeat(first)", _repeat, rows=2),
        Damage("cast(bfloat16)", _through(torch.bfloat16), forbids=("dtype=bfloat16",), floating=True),
        Damage("cast(float32)", _through(torch.float32), needs=("dtype=float64",), floating=True),
        Damage("ulp(last)", _ulp, floating=True, of_zeros=True),
        Damage("nan(last)", _nan, floating=True, of_zeros=True),
        Damage("stale", _stale, needs=("earlier>=1",), of_zeros=True),
        Damage("zero(padding)", _zero_padding, needs=("padding_hit",), at=("embedding",)),
        Damage("give(padding_idx=none)", give=lambda call: {"padding_idx": -1}, needs=("padding_hit",), at=_BACKWARDS),
        Damage(
            "give(scale_grad_by_freq=other)",
            give=lambda call: {"scale_grad_by_freq": not call.given["scale_grad_by_freq"]},
            needs=("max_count>=2",),
            at=("embedding_dense_backward", "_embedding_bag_dense_backward"),
        ),
        Damage("give(mode=other)", give=_other_mode, forbids=("per_sample_weights",), at=_BAGS),
        Damage(
            "give(per_sample_weights=none)",
            give=lambda call: {"per_sample_weights": None},
            needs=("per_sample_weights",),
            at=_BAGS,
        ),
        Damage("give(indices=first)", give=_first_again("indices"), needs=_SEVERAL, argument="indices"),
        Damage("give(indices=sorted)", give=_sorted_tokens, needs=_SEVERAL, at=_ORDERED),
        Damage("give(weight=memory)", give=memory("weight"), argument="weight"),
        Damage("give(grad=memory)", give=memory("grad"), at=("_embedding_bag_dense_backward",)),
        Damage("give(grad_output=memory)", give=memory("grad_output"), argument="grad_output"),
        Damage("give(mat2=memory)", give=memory("mat2"), forbids=("right_layout=contiguous",), argument="mat2"),
        Damage(
            "give(max_norm=larger)",
            give=lambda call: {"max_norm": 1.01 * call.given["max_norm"]},
            needs=("rescaled>=1",),
            argument="max_norm",
        ),
        Damage(
            "give(norm_type=2)",
            give=lambda call: {"norm_type": 2.0},
            needs=("embedding_dim>=2",),
            forbids=("norm_type=2",),
            argument="norm_type",
        ),
    )
}
