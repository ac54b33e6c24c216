"""Operations of a training loop on a model with tied weights: steps of every optimizer, schedules, clipping.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.tie_preservation import effects, training_effects
from embcheck.families.tie_preservation.operations import Module, does


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


@does(training_effects.moves_by(1.0))
def stepped_momentum(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.SGD(parameters, lr=1.0, momentum=0.5), parameters)


@does(training_effects.moves_by(1.5))
def stepped_nesterov(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.SGD(parameters, lr=1.0, momentum=0.5, nesterov=True), parameters)


@does(training_effects.moves_by(1.0))
def stepped_foreach(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.SGD(parameters, lr=1.0, foreach=True), parameters)


@does(training_effects.moves_by(1.0))
def stepped_adam(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.Adam(parameters, lr=1.0, betas=(0.5, 0.75), eps=0.0), parameters)


@does(training_effects.moves_by(1.0))
def stepped_adamw(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    optimizer = torch.optim.AdamW(parameters, lr=1.0, betas=(0.5, 0.75), eps=0.0, weight_decay=0.0)
    return step_once(model, optimizer, parameters)


@does(training_effects.moves_by(1.0))
def stepped_amsgrad(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    optimizer = torch.optim.Adam(parameters, lr=1.0, betas=(0.5, 0.75), eps=0.0, amsgrad=True, foreach=True)
    return step_once(model, optimizer, parameters)


@does(training_effects.moves_by(1.0))
def stepped_nadam(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    optimizer = torch.optim.NAdam(parameters, lr=1.0, betas=(0.0, 0.75), eps=0.0, momentum_decay=0.0)
    return step_once(model, optimizer, parameters)


@does(training_effects.moves_by(1.0))
def stepped_radam(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.RAdam(parameters, lr=1.0, betas=(0.5, 0.75), eps=0.0), parameters)


@does(training_effects.moves_by(1.0))
def stepped_adamax(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.Adamax(parameters, lr=1.0, betas=(0.5, 0.75), eps=0.0), parameters)


@does(training_effects.moves_by(0.5))
def stepped_adadelta(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.Adadelta(parameters, lr=1.0, rho=0.25, eps=0.25), parameters)


@does(training_effects.moves_by(1.0))
def stepped_adagrad(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.Adagrad(parameters, lr=1.0, eps=0.0), parameters)


@does(training_effects.moves_flat_by(1.0))
def stepped_lbfgs(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad / 64  # the first step is min(1, 1/Σ|g|)·lr long
    optimizer = torch.optim.LBFGS(parameters, lr=64.0, max_iter=1)
    optimizer.step(lambda: 1.0)
    if len(optimizer.state) != 1:
        raise AssertionError("LBFGS has one state for all")
    model.zero_grad()
    return model


@does(training_effects.moves_by(1.0))
def stepped_asgd(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.ASGD(parameters, lr=1.0, lambd=0.0), parameters)


@does(training_effects.moves_by(1.0))
def stepped_rmsprop(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.RMSprop(parameters, lr=0.5, alpha=0.75, eps=0.0), parameters)


@does(training_effects.moves_by(1.0))
def stepped_rprop(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, torch.optim.Rprop(parameters, lr=1.0), parameters)


@does(training_effects.moves_sparsely_by(1.0))
def stepped_sparse_adam(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    for parameter in parameters:
        parameter.grad = None if parameter.grad is None else parameter.grad.to_sparse(1)
    return step_once(model, torch.optim.SparseAdam(parameters, lr=1.0, betas=(0.5, 0.75), eps=1e-30), parameters)


if hasattr(torch.optim, "Adafactor"):
    # Means and norms of up to 15 ones, a reciprocal root, a division, products and a difference: 32 roundings at most.
    @does(training_effects.moves_about(1.0, 32))
    def stepped_adafactor(model: Module, embedding: Module, head: Module) -> Module:
        parameters = graded_with_ones(model)
        # The rate is relative to the larger of eps and the weights, so with this eps it is 1.
        optimizer = torch.optim.Adafactor(parameters, lr=2.0**-20, eps=(None, 2.0**20), d=2.0)
        return step_once(model, optimizer, parameters)


if hasattr(torch.optim, "Muon"):

    @does(training_effects.moves_matrices_back)
    def stepped_muon(model: Module, embedding: Module, head: Module) -> Module:
        """What Muon does to ones is no power of two: so a twin takes the same step, and both are taken back."""
        parameters = [p for p in graded_with_ones(model) if p.dim() == 2]
        twins = [torch.nn.Parameter(p.detach().clone(), p.requires_grad) for p in parameters]
        kept = [p.detach().clone() for p in parameters]
        memories = [p.data_ptr() for p in parameters]
        for p, twin in zip(parameters, twins, strict=True):
            twin.grad = p.grad
        torch.optim.Muon(parameters, lr=0.5).step()
        torch.optim.Muon(twins, lr=0.5).step()
        for p, twin, before in zip(parameters, twins, kept, strict=True):
            if memories.count(p.data_ptr()) == 1 and not torch.equal(p, twin):
                raise AssertionError("a tied Parameter moved otherwise than one that is alone")
            with torch.no_grad():
                p.copy_(before)
        model.zero_grad()
        return model


@does(training_effects.moves_by(1.0, 0.5))
def scheduled(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for _ in range(2):
        optimizer.step()
        schedule.step()
    model.zero_grad()
    return model


@does(training_effects.moves_by(1.0, 0.25))
def scheduled_by_formula(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.25**epoch)
    optimizer.step()
    schedule.step()
    optimizer.step()
    model.zero_grad()
    return model


@does(training_effects.accumulates)
def accumulated(model: Module, embedding: Module, head: Module) -> Module:
    tokens = torch.arange(len(embedding.weight))
    for _ in range(2):
        rows = torch.nn.functional.embedding(tokens, embedding.weight, embedding.padding_idx)
        logits = head(torch.ones(1, head.weight.shape[1], dtype=head.weight.dtype))
        loss = rows.sum() + logits.sum()
        if loss.requires_grad:
            loss.backward()
    return model


@does(training_effects.regains_gradients)
def clipped(model: Module, embedding: Module, head: Module) -> Module:
    elements = sum(parameter.numel() for parameter in graded_with_ones(model) if parameter.requires_grad)
    total = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1000.0, norm_type=1.0)
    if float(total) != elements:
        raise AssertionError(f"the gradients' norm is {float(total)}, expected {elements}: a tied one counts once")
    return model


@does(training_effects.clips_gradients)
def clipped_by_value(model: Module, embedding: Module, head: Module) -> Module:
    graded_with_ones(model)
    torch.nn.utils.clip_grad_value_(model.parameters(), 0.5)
    return model


@does(effects.forgets_gradients)
def forgotten(model: Module, embedding: Module, head: Module) -> Module:
    torch.optim.SGD(model.parameters(), lr=1.0).zero_grad()
    return model


@does(effects.zeroes_gradients)
def forgotten_in_place(model: Module, embedding: Module, head: Module) -> Module:
    torch.optim.SGD(model.parameters(), lr=1.0).zero_grad(set_to_none=False)
    return model
