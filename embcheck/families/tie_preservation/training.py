"""Operations of a training loop on a model with tied weights: steps of every optimizer, schedules, clipping."""

from __future__ import annotations

from typing import Any

import torch
from torch import optim

from embcheck.families.tie_preservation import effects
from embcheck.families.tie_preservation.effects import in_turn, moves_about, moves_by
from embcheck.families.tie_preservation.operations import Entry, Module, after


def graded_with_ones(model: Module) -> list[Any]:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    return list(model.parameters())


def step_once(model: Module, optimizer: Any, parameters: list[Any]) -> Module:
    """A step in which each Parameter has one slot."""
    slots = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if [id(slot) for slot in slots] != [id(parameter) for parameter in parameters]:
        raise AssertionError("the optimizer's slots are not the model's Parameters")
    optimizer.step()
    if len(optimizer.state) > len(parameters):
        raise AssertionError("a Parameter has two states")
    model.zero_grad()
    return model


def stepped_with(model: Module, kind: type, **flags: Any) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, kind(parameters, **{"lr": 1.0, **flags}), parameters)


def stepped_lbfgs(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad / 64  # the first step is min(1, 1/Σ|g|)·lr long
    optimizer = optim.LBFGS(parameters, lr=64.0, max_iter=1)
    optimizer.step(lambda: 1.0)
    if len(optimizer.state) != 1:
        raise AssertionError("LBFGS has one state for all")
    model.zero_grad()
    return model


def stepped_sparse_adam(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    for parameter in parameters:
        parameter.grad = None if parameter.grad is None else parameter.grad.to_sparse(1)
    return step_once(model, optim.SparseAdam(parameters, lr=1.0, betas=(0.5, 0.75), eps=1e-30), parameters)


def stepped_muon(model: Module, embedding: Module, head: Module) -> Module:
    """What Muon does to ones is no power of two: so a twin takes the same step, and both are taken back."""
    parameters = [p for p in graded_with_ones(model) if p.dim() == 2]
    twins = [torch.nn.Parameter(p.detach().clone(), p.requires_grad) for p in parameters]
    kept = [p.detach().clone() for p in parameters]
    memories = [p.data_ptr() for p in parameters]
    for p, twin in zip(parameters, twins, strict=True):
        twin.grad = p.grad
    optim.Muon(parameters, lr=0.5).step()
    optim.Muon(twins, lr=0.5).step()
    for p, twin, before in zip(parameters, twins, kept, strict=True):
        if memories.count(p.data_ptr()) == 1 and not torch.equal(p, twin):
            raise AssertionError("a tied Parameter moved otherwise than one that is alone")
        with torch.no_grad():
            p.copy_(before)
    model.zero_grad()
    return model


def scheduled_with(model: Module, kind: type, *options: Any) -> Module:
    optimizer = optim.SGD(graded_with_ones(model), lr=1.0)
    schedule = kind(optimizer, *options)
    for _ in range(2):
        optimizer.step()
        schedule.step()
    model.zero_grad()
    return model


def accumulated(model: Module, embedding: Module, head: Module) -> Module:
    tokens = torch.arange(len(embedding.weight))
    for _ in range(2):
        rows = torch.nn.functional.embedding(tokens, embedding.weight, embedding.padding_idx)
        logits = head(torch.ones(1, head.weight.shape[1], dtype=head.weight.dtype))
        loss = rows.sum() + logits.sum()
        if loss.requires_grad:
            loss.backward()
    return model


def clipped(model: Module, embedding: Module, head: Module) -> Module:
    elements = sum(parameter.numel() for parameter in graded_with_ones(model) if parameter.requires_grad)
    total = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1000.0, norm_type=1.0)
    if float(total) != elements:
        raise AssertionError(f"the gradients' norm is {float(total)}, expected {elements}: a tied one counts once")
    return model


def clipped_by_value(model: Module, embedding: Module, head: Module) -> Module:
    graded_with_ones(model)
    torch.nn.utils.clip_grad_value_(model.parameters(), 0.5)
    return model


#: Moments of a half and a quarter of ones.
HALVES: dict[str, Any] = {"betas": (0.5, 0.75), "eps": 0.0}
NADAM: dict[str, Any] = {"betas": (0.0, 0.75), "eps": 0.0, "momentum_decay": 0.0}
#: The rate is relative to the larger of eps and the weights, so with this rate it is 1.
ADAFACTOR_EPS = 2.0**20

TRAINING: dict[str, Entry] = {
    "stepped_momentum": Entry(lambda m, e, h: stepped_with(m, optim.SGD, momentum=0.5), moves_by(1.0)),
    "stepped_nesterov": Entry(lambda m, e, h: stepped_with(m, optim.SGD, momentum=0.5, nesterov=True), moves_by(1.5)),
    "stepped_foreach": Entry(lambda m, e, h: stepped_with(m, optim.SGD, foreach=True), moves_by(1.0)),
    "stepped_adam": Entry(lambda m, e, h: stepped_with(m, optim.Adam, **HALVES), moves_by(1.0)),
    "stepped_adamw": Entry(lambda m, e, h: stepped_with(m, optim.AdamW, weight_decay=0.0, **HALVES), moves_by(1.0)),
    "stepped_amsgrad": Entry(
        lambda m, e, h: stepped_with(m, optim.Adam, amsgrad=True, foreach=True, **HALVES), moves_by(1.0)
    ),
    "stepped_nadam": Entry(lambda m, e, h: stepped_with(m, optim.NAdam, **NADAM), moves_by(1.0)),
    "stepped_radam": Entry(lambda m, e, h: stepped_with(m, optim.RAdam, **HALVES), moves_by(1.0)),
    "stepped_adamax": Entry(lambda m, e, h: stepped_with(m, optim.Adamax, **HALVES), moves_by(1.0)),
    "stepped_adadelta": Entry(lambda m, e, h: stepped_with(m, optim.Adadelta, rho=0.25, eps=0.25), moves_by(0.5)),
    "stepped_adagrad": Entry(lambda m, e, h: stepped_with(m, optim.Adagrad, eps=0.0), moves_by(1.0)),
    "stepped_lbfgs": Entry(stepped_lbfgs, in_turn(effects.note_flattening, moves_by(1.0))),
    "stepped_asgd": Entry(lambda m, e, h: stepped_with(m, optim.ASGD, lambd=0.0), moves_by(1.0)),
    "stepped_rmsprop": Entry(
        lambda m, e, h: stepped_with(m, optim.RMSprop, lr=0.5, alpha=0.75, eps=0.0), moves_by(1.0)
    ),
    "stepped_rprop": Entry(lambda m, e, h: stepped_with(m, optim.Rprop), moves_by(1.0)),
    "stepped_sparse_adam": Entry(stepped_sparse_adam, in_turn(effects.note_sparse_vector, moves_by(1.0))),
    # Means and norms of up to 15 ones, a reciprocal root, a division, products and a difference: 32 roundings at most.
    "stepped_adafactor": Entry(
        lambda m, e, h: stepped_with(m, optim.Adafactor, lr=1 / ADAFACTOR_EPS, eps=(None, ADAFACTOR_EPS), d=2.0),
        moves_about(32, 1.0),
    ),
    "stepped_muon": Entry(stepped_muon, effects.forgets_gradients),
    "scheduled": Entry(lambda m, e, h: scheduled_with(m, optim.lr_scheduler.StepLR, 1, 0.5), moves_by(1.0, 0.5)),
    "scheduled_by_formula": Entry(
        lambda m, e, h: scheduled_with(m, optim.lr_scheduler.LambdaLR, lambda epoch: 0.25**epoch), moves_by(1.0, 0.25)
    ),
    "accumulated": Entry(accumulated, effects.accumulates),
    "clipped": Entry(clipped, effects.regains_gradients),
    "clipped_by_value": Entry(clipped_by_value, effects.clips_gradients),
    "forgotten": Entry(lambda m, e, h: after(m, optim.SGD(m.parameters()).zero_grad()), effects.forgets_gradients),
    "forgotten_in_place": Entry(
        lambda m, e, h: after(m, optim.SGD(m.parameters()).zero_grad(False)), effects.zeroes_gradients
    ),
}
