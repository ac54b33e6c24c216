"""Faults of Adam and its kin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from embcheck.faults.entry import entry
from embcheck.faults.optimizer_sgd import after, altered, apart, disagree, fused_apart

_adam, _many_adam = "_single_tensor_adam", "_multi_tensor_adam"
altered(
    "adam_foreach_forgets_amsgrad_decay",
    "foreach Adam forgets weight decay beside amsgrad.",
    "adam",
    _many_adam,
    lambda f: {"weight_decay": 0.0 if f["amsgrad"] else f["weight_decay"]},
    apart("Adam", lr=0.5, weight_decay=0.25, amsgrad=True),
)
altered(
    "adam_plain_squares_eps",
    "Plain Adam adds eps² in place of eps.",
    "adam",
    _adam,
    lambda f: {"eps": f["eps"] ** 2},
    apart("Adam", lr=0.5, eps=0.25),
)
altered(
    "adam_swaps_betas_when_maximizing",
    "Adam swaps its betas where it maximizes.",
    "adam",
    _adam,
    lambda f: {"beta1": f["beta2"], "beta2": f["beta1"]} if f["maximize"] else {},
    apart("Adam", lr=0.5, betas=(0.5, 0.75), maximize=True),
)
altered(
    "adam_fused_couples_nothing",
    "Fused Adam forgets weight decay.",
    "adam",
    "_fused_adam",
    lambda f: {"weight_decay": 0.0},
    fused_apart("Adam", lr=0.5, weight_decay=0.25),
)
altered(
    "adam_foreach_halves_small_rate",
    "foreach Adam halves learning rates of 1/8 and below.",
    "adam",
    _many_adam,
    lambda f: {"lr": f["lr"] / 2} if float(f["lr"]) <= 0.125 else {},
    apart("Adam", lr=0.125),
)
altered(
    "rmsprop_forgets_centered_momentum",
    "Plain RMSprop is not centered beside momentum.",
    "rmsprop",
    "_single_tensor_rmsprop",
    lambda f: {"centered": f["centered"] and not f["momentum"]},
    apart("RMSprop", lr=0.5, alpha=0.5, centered=True, momentum=0.5),
)
altered(
    "adagrad_decays_rate_late",
    "Plain Adagrad ignores lr_decay.",
    "adagrad",
    "_single_tensor_adagrad",
    lambda f: {"lr_decay": 0.0},
    apart("Adagrad", lr=0.5, lr_decay=0.5),
)
altered(
    "adadelta_rho_of_one_half",
    "foreach Adadelta takes 0.75 for any rho.",
    "adadelta",
    "_multi_tensor_adadelta",
    lambda f: {"rho": 0.75},
    apart("Adadelta", lr=0.5, rho=0.5),
)
altered(
    "adamax_foreach_forgets_decay",
    "foreach Adamax forgets weight decay.",
    "adamax",
    "_multi_tensor_adamax",
    lambda f: {"weight_decay": 0.0},
    apart("Adamax", lr=0.5, weight_decay=0.25),
)
altered(
    "nadam_couples_decoupled_decay",
    "Plain NAdam couples decoupled weight decay.",
    "nadam",
    "_single_tensor_nadam",
    lambda f: {"decoupled_weight_decay": False},
    apart("NAdam", lr=0.5, weight_decay=0.25, decoupled_weight_decay=True),
)
altered(
    "radam_eps_doubled",
    "foreach RAdam doubles eps.",
    "radam",
    "_multi_tensor_radam",
    lambda f: {"eps": 2 * f["eps"]},
    lambda: disagree(
        after("RAdam", 9, lr=0.5, eps=0.5, betas=(0.5, 0.75), foreach=True),
        after("RAdam", 9, lr=0.5, eps=0.5, betas=(0.5, 0.75), foreach=False),
    ),
)
altered(
    "rprop_clips_early",
    "Plain Rprop's largest step is a quarter of what was asked.",
    "rprop",
    "_single_tensor_rprop",
    lambda f: {"step_size_max": f["step_size_max"] / 4},
    apart("Rprop", lr=1.0, step_sizes=(0.5, 2.0)),
)
altered(
    "asgd_forgets_lambd",
    "foreach ASGD takes lambd for nothing.",
    "asgd",
    "_multi_tensor_asgd",
    lambda f: {"lambd": 0.0},
    apart("ASGD", lr=0.5, lambd=0.25),
)


def _adamw_in_a_row(original: Callable[..., Any]) -> Callable[..., Any]:
    def step(self: Any, closure: Any = None) -> Any:
        result = original(self, closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p in self.state and self.state[p].get("step") is not None and p.grad is not None:
                    self.state[p]["step"] += 1
        return result

    return step


def counted_wrong(kind: str) -> bool:
    """Whether the count of an optimizer after one step is not one."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    weight.grad = torch.ones(2, 1)
    optimizer = getattr(torch.optim, kind)([weight])
    optimizer.step()
    return int(optimizer.state[weight]["step"]) != 1


for _kind, _sentence in (("AdamW", "counts every step twice"), ("Adagrad", "counts every step twice")):
    entry(
        f"{_kind.lower()}_counts_twice",
        "tying",
        f"{_kind} {_sentence}.",
        getattr(torch.optim, _kind),
        "step",
        _adamw_in_a_row,
        partial(counted_wrong, _kind),
    )


def _sparse_adam(original: Callable[..., Any]) -> Callable[..., Any]:
    def step(self: Any, closure: Any = None) -> Any:
        result = original(self, closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p in self.state and p.grad is not None and int(self.state[p]["step"]) > 1:
                        p.add_(self.state[p]["exp_avg"], alpha=-(2.0**-10))
        return result

    return step


entry(
    "sparse_adam_moves_earlier_rows",
    "tying",
    "SparseAdam moves rows by their momentum from the second step on.",
    torch.optim.SparseAdam,
    "step",
    _sparse_adam,
    lambda: earlier_row_moves(),
)


def earlier_row_moves() -> bool:
    """Whether SparseAdam moves a row that only the step before looked up."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    optimizer = torch.optim.SparseAdam([weight])
    seen = []
    for token in (0, 1):
        optimizer.zero_grad()
        torch.nn.functional.embedding(torch.tensor([token]), weight, sparse=True).sum().backward()
        optimizer.step()
        seen.append(float(weight[0]))
    return seen[0] != seen[1]
