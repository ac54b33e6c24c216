"""What happens when a tied pair is trained: ties, listings, laps, clips, ways to clear gradients, and events between steps.

Plain functions that import nothing but torch.  A *tie* ``(weight, bias, **flags of the embedding) -> (model, path of
the embedding, path of the head)`` says how the parameter is shared; a *listing* how the optimizer gets to know it; a *lap* runs one
backward pass and returns the loss.  An *event* is told the step ``k`` that it comes before, ``model`` and
``optimizer``; what it returns, a model and an optimizer, takes the place of these.
None may change what the steps do, but for the learning rate, which is observed.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import by_name, named
from embcheck.families.tie_preservation.operations import stored

Tensor = torch.Tensor
Tied = tuple[torch.nn.Module, str, str]
Function = Callable[..., Any]


# -- ties --------------------------------------------------------------------------------------------------------


def embedding_of(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)


def head_of(weight: Tensor, bias: Tensor | None) -> Any:
    """A head with a bias and a weight that is none yet."""
    head = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta", weight.dtype)
    if bias is not None:
        head.bias = torch.nn.Parameter(bias)
    return head


def head_takes_embedding(weight: Tensor, bias: Tensor | None, **flags: Any) -> Tied:
    model: Any = torch.nn.Module()
    model.embedding, model.head = embedding_of(weight, **flags), head_of(weight, bias)
    model.head.weight = model.embedding.weight
    return model, "embedding", "head"


def embedding_takes_head(weight: Tensor, bias: Tensor | None, **flags: Any) -> Tied:
    model: Any = torch.nn.Module()
    model.head, model.embedding = head_of(weight, bias), embedding_of(weight.detach(), **flags)
    model.head.weight = torch.nn.Parameter(weight)
    model.embedding.weight = model.head.weight
    return model, "embedding", "head"


def nested(weight: Tensor, bias: Tensor | None, **flags: Any) -> Tied:
    head, embedding = head_of(weight, bias), embedding_of(weight.detach(), **flags)
    encoder = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ModuleDict({"words": embedding}))
    model = torch.nn.ModuleDict({"encoder": encoder, "decoder": torch.nn.ModuleList([torch.nn.Dropout(0.0), head])})
    embedding.weight = torch.nn.Parameter(weight)
    head.register_parameter("weight", model.get_parameter("encoder.1.words.weight"))
    return model, "encoder.1.words", "decoder.1"


def three_way(weight: Tensor, bias: Tensor | None, **flags: Any) -> Tied:
    model: Any = torch.nn.Module()
    model.source, model.target = embedding_of(weight, **flags), embedding_of(weight.detach(), **flags)
    model.head = head_of(weight, bias)
    model.head.weight = model.target.weight = model.source.weight
    return model, "source", "head"


def same_module_twice(weight: Tensor, bias: Tensor | None, **flags: Any) -> Tied:
    model: Any = torch.nn.Module()
    model.source = model.target = embedding_of(weight, **flags)
    model.head = head_of(weight, bias)
    model.head.weight = model.target.weight
    return model, "target", "head"


def tied_again(weight: Tensor, bias: Tensor | None, **flags: Any) -> Tied:
    model: Any = torch.nn.Sequential(embedding_of(weight.detach(), **flags), head_of(weight, bias))
    model[1].weight = model[0].weight
    del model[1].weight
    model[0].weight = torch.nn.Parameter(weight)
    model[1].weight = model[0].weight
    return model, "0", "1"


TIES: dict[str, Function] = by_name(
    head_takes_embedding, embedding_takes_head, nested, three_way, same_module_twice, tied_again
)


# -- listings ----------------------------------------------------------------------------------------------------


def added_last(build: Function, model: Any, table: str, top: str) -> Any:
    weight, bias = model.get_submodule(table).weight, getattr(model.get_submodule(top), "bias", None)
    if bias is None:
        bias = torch.nn.Parameter(torch.zeros_like(weight))
    optimizer = build([bias])
    optimizer.add_param_group({"params": weight})
    return optimizer


def own_rate(build: Function, model: Any, table: str, top: str) -> Any:
    rate = build(model.parameters()).param_groups[0]["lr"]
    return build([{"params": [p], "lr": rate} for p in reversed(list(model.parameters()))], lr=1.0)


LISTINGS = named(
    {
        "parameters": lambda build, model, table, top: build(model.parameters()),
        "named": lambda build, model, table, top: build(model.named_parameters()),
        "bare_groups": lambda build, model, table, top: build([{"params": p} for p in model.parameters()]),
        **by_name(added_last, own_rate),
    },
    prefix="list_",
)


# -- laps --------------------------------------------------------------------------------------------------------


def tied_modules(model: Any, role: str, kind: type) -> list[Any]:
    """The modules that are marked as a tie's table or head, or else those of a ``kind`` of torch's."""
    marked = [m for m in model.modules() if m.__dict__.get("part_of_a_tie") == role]
    return marked or [m for m in model.modules() if isinstance(m, kind)]


def passed(model: Any, indices: Tensor, hidden: Tensor, below: Tensor, above: Tensor, use: str) -> list[Any]:
    """The modules that are used, each with what it is given and the upstream gradient of its output."""
    tables = tied_modules(model, "table", torch.nn.Embedding) if use != "head" else []
    heads = tied_modules(model, "head", torch.nn.Linear) if use != "lookup" else []
    return [*((m, indices, below) for m in tables), *((m, hidden, above) for m in heads)]


def pair(model: Any, *data: Any) -> Any:
    used = passed(model, *data)
    outputs = [m(given) for m, given, _ in used]
    torch.autograd.backward(outputs, [upstream for *_, upstream in used])
    return outputs[0].detach().sum()


def joint(model: Any, *data: Any) -> Any:
    loss: Any = sum((m(given) * upstream).sum() for m, given, upstream in passed(model, *data))
    torch.autograd.backward(loss)
    return loss


def apart(model: Any, *data: Any) -> Any:
    value = torch.zeros(())
    for m, given, upstream in passed(model, *data):
        value = m(given)
        value.backward(upstream)
    return value.detach().sum()


def composed(model: Any, *data: Any) -> Any:
    (table, indices, _), (head, _, above) = passed(model, *data)
    score = head(table(indices))
    score.backward(above)
    return score.detach().sum()


LAPS: dict[str, Function] = by_name(pair, joint, apart, composed)


# -- clearing and clipping gradients -----------------------------------------------------------------------------


def clear_by_hand(model: Any, optimizer: Any) -> None:
    for parameter in model.parameters():
        parameter.grad = None


ZEROS: dict[str, Function] = named(
    {
        "to_none": lambda model, optimizer: optimizer.zero_grad(),
        "to_zeros": lambda model, optimizer: optimizer.zero_grad(set_to_none=False),
        "model_to_none": lambda model, optimizer: model.zero_grad(),
        "model_to_zeros": lambda model, optimizer: model.zero_grad(set_to_none=False),
        "by_hand": clear_by_hand,
        "never": lambda model, optimizer: None,
    },
    prefix="clear_",
)
CLIPS: dict[str, Function] = named(
    {
        "unclipped": lambda parameters: None,
        "value": lambda parameters: torch.nn.utils.clip_grad_value_(parameters, 2.0),
        "loose": lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 2.0**14),
        "norm": lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 0.5),
        "norm_one": lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 0.5, norm_type=1),
    },
    prefix="clip_by_",
)


# -- events between steps ------------------------------------------------------------------------------------------

#: Events that come before each step; the others come before step 1.
EVERY_STEP = frozenset({"frozen"})


def rate_halved(k: int, model: Any, optimizer: Any) -> Any:
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] / 2


def loaded(optimizer: Any, state: Any, build: Function) -> Any:
    """Another optimizer of the same groups, which loads a state."""
    fresh = build([{"params": group["params"]} for group in optimizer.param_groups], lr=8.0)
    return restored(fresh, state)


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, NaNs too; an optimizer may hold sparse ones."""
    one, other = one.to_dense(), other.to_dense()
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def restored(optimizer: Any, state: Any) -> Any:
    """The optimizer once it has loaded a state, which it must then hold, perhaps in another dtype."""
    kept = copy.deepcopy(state["state"])
    optimizer.load_state_dict(state)
    members = [p for group in optimizer.param_groups for p in group["params"]]
    held = {place: optimizer.state[p] for place, p in enumerate(members) if p in optimizer.state}
    if [*held] != sorted(kept) or any(each.keys() != kept[place].keys() for place, each in held.items()):
        raise AssertionError("an optimizer that loaded a state holds other entries")
    for place, each in held.items():
        for name, value in each.items():
            old = kept[place][name]
            if not (alike(old.to(value.dtype), value) if isinstance(value, Tensor) else old == value):
                raise AssertionError(f"an optimizer that loaded a state holds another {name}")
    return optimizer


def reloaded_saved(k: int, model: Any, optimizer: Any) -> Any:
    kept = stored({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.load_state_dict(kept["model"])
    return model, loaded(optimizer, kept["optimizer"], optimizer.__class__)


def frozen(k: int, model: Any, optimizer: Any) -> Any:
    model.requires_grad_(k != 1)


#: What "skipped", "accumulated" and "alternating" say of the steps is the case's matter.
EVENTS: dict[str, Function] = named(
    {
        "nothing": lambda k, model, optimizer: None,
        "rate_halved": rate_halved,
        "reloaded": lambda k, model, optimizer: (model, loaded(optimizer, optimizer.state_dict(), type(optimizer))),
        "reloaded_saved": reloaded_saved,
        "copied": lambda k, model, optimizer: copy.deepcopy((model, optimizer)),
        "frozen": frozen,
        "skipped": lambda k, model, optimizer: None,
        "accumulated": lambda k, model, optimizer: None,
        "alternating": lambda k, model, optimizer: None,
    },
    prefix="event_",
)
