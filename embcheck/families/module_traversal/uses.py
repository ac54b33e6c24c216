"""Programs: a module is copied, averaged and called, and one of its Parameters is parametrized."""

import copy
from typing import Any

import torch
from torch.nn.utils import parametrize

from embcheck.families.tie_export.programs import Doubling

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any


def held(model: Module) -> dict[str, Tensor]:
    """A module's tensors under all of their names, buffers first."""
    return {**dict(model.named_buffers(remove_duplicate=False)), **dict(model.named_parameters(remove_duplicate=False))}


def values(model: Module) -> dict[str, Any]:
    """Each name with the first name of its tensor, the dtype, requires_grad and the numbers."""
    named = sorted(held(model).items())
    first = {id(tensor): name for name, tensor in reversed(named)}
    return {name: (first[id(t)], dtype_of(t), t.requires_grad, t.tolist()) for name, t in named}


def marks(model: Module) -> list[Any]:
    """What each module is besides its tensors."""
    return [(getattr(m, "padding_idx", None), getattr(m, "max_norm", None), m.training) for m in model.modules()]


def strides(model: Module) -> dict[str, tuple[int, ...]]:
    return {name: tensor.stride() for name, tensor in held(model).items()}


def gradients_of(model: Module) -> set[int]:
    """Which tensors the gradients of a module are."""
    return {id(parameter.grad) for parameter in model.parameters()}


def graded(model: Module) -> list[tuple[str, bool, bool]]:
    """Of each gradient of a module the dtype, whether it is sparse, and whether it is of ones."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return [(dtype_of(g), g.is_sparse, bool((g.to_dense() == 1).all())) for g in grads]


def dtype_of(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def pictured(model: Module) -> dict[str, list[Any]]:
    """A module's tensors under all of their names, each with the place of its first name, and its modules."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    things = [id(thing) for _, thing in named]
    return {
        "names": [(name, things.index(id(thing))) for name, thing in named],
        "kinds": [
            (dtype_of(t), tuple(t.shape), t.stride(), t.requires_grad, t.is_leaf, type(t).__name__) for _, t in named
        ],
        "values": [thing.tolist() for _, thing in named],
        "modules": [
            (path, type(m).__name__, getattr(m, "padding_idx", None), getattr(m, "max_norm", None), m.training)
            for path, m in model.named_modules(remove_duplicate=False)
        ],
    }


def negate(model: Module) -> None:
    for p in model.parameters():
        p.data.neg_()


def shallow(model: Module) -> list[bool]:
    """Of four shallow copies whether each shows what the model does, whose numbers are others each time, with its gradients."""
    found = []
    for _ in range(4):
        negate(model)
        before, other = (pictured(model), gradients_of(model)), copy.copy(model)
        found.append((pictured(other), gradients_of(other)) == before)
    return found


def own_entries(model: Module) -> list[tuple[str, bool]]:
    """The keys of a module's state_dict, and whether each entry shares memory with the Parameter or buffer of that name."""
    own = held(model)
    return [(key, key in own and value.data_ptr() == own[key].data_ptr()) for key, value in model.state_dict().items()]


def copied(model: Module) -> list[Any]:
    """A deep copy and two that are unpickled: whether a gradient came along, whether it has memory of the model's, and whether its
    state has other keys, or an entry of either state does not share its module's memory; whether both give the same again of other
    numbers, twice; and whether views stay views, hooks keep their keywords and share_memory() shares all."""
    import pickle

    def told(other: Module) -> list[Any]:
        places = [{t.data_ptr() for t in (*m.parameters(), *m.buffers()) if t.numel()} for m in (model, other)]
        states = [own_entries(m) for m in (other, model)]
        wrong = states[0] != states[1] or not all(own for _, own in states[0])
        return [
            pictured(other),
            any(p.grad is not None for p in other.parameters()),
            bool(places[0] & places[1]),
            wrong,
        ]

    data = pickle.dumps(model)
    twin = copy.deepcopy(model)
    found = [told(twin), *(told(pickle.loads(data)) for _ in range(2))]
    again, lying = [], (strides(twin), strides(model))
    for _ in range(2):
        negate(model)
        others = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        kept = values(model), marks(model)
        again += [(values(o), marks(o), strides(o)) == (*kept, lie) for o, lie in zip(others, lying, strict=True)]
    return [*found, *again, views_stay_views(), hooks_keep_keywords(), all_is_shared()]


def hooks_keep_keywords() -> bool:
    """Whether the hooks of a deep copy are given keywords as those of the module are."""
    told: list[list[str]] = []
    layer = torch.nn.Identity()
    layer.register_forward_pre_hook(lambda module, args, kwargs: told.append(list(kwargs)), with_kwargs=True)
    layer.register_forward_hook(lambda module, args, kwargs, value: told.append(list(kwargs)), with_kwargs=True)
    layer.register_forward_hook(lambda *given: told.append(["always"]), always_call=True)
    copy.deepcopy(layer)(input=torch.ones(1))
    return told == [["input"], ["input"], ["always"]]


def views_stay_views() -> bool:
    """Whether buffers that are views of one memory are so in a deep copy, too."""
    model = torch.nn.Module()
    model.register_buffer("whole", torch.ones(3))
    model.register_buffer("part", model.get_buffer("whole")[1:])
    twin = copy.deepcopy(model)
    twin.get_buffer("whole").zero_()
    return not twin.get_buffer("part").any() and bool(model.get_buffer("part").all())


def all_is_shared() -> bool:
    """Whether share_memory() moves Parameters and buffers to shared memory."""
    model = torch.nn.BatchNorm1d(2)
    return model.share_memory() is model and all(t.is_shared() for t in (*model.parameters(), *model.buffers()))


def averaged(model: Module, use_buffers: bool, before: int) -> list[Any]:
    """An average as it is made and after each of four updates, between which two is added to each number; and whether a
    deep copy and each average, when it is made, are copies.  Twice ``before`` others are made first, of other numbers."""
    if not list(model.parameters()):  # which an update does not take
        return []
    storages = {p.untyped_storage().data_ptr(): p for p in reversed(list(model.parameters())) if p.numel()}
    moved = [*storages.values(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
    twin = copy.deepcopy(model)
    lying, same = strides(twin), (values(twin), marks(twin)) == (values(model), marks(model))
    for turn in range(2 * before + 1):
        with torch.no_grad():
            for tensor in moved if turn else ():
                tensor.neg_()
        average: Any = torch.optim.swa_utils.AveragedModel(model, use_buffers=use_buffers)
        same = same and values(average.module) == values(model) and strides(average.module) == lying
        same = same and marks(average.module) == marks(model)
    found, behind = [values(average.module)], list[Tensor]()
    for parameter in average.parameters():
        parameter.grad = torch.ones_like(parameter)
        room = torch.zeros(parameter.numel() + 1, dtype=parameter.dtype)
        parameter.data = room.as_strided(parameter.shape, parameter.stride()).copy_(parameter.detach())
        behind.append(room[-1])
    with torch.no_grad():
        for _ in range(4):
            average.update_parameters(model)
            found.append(values(average.module))
            same = same and strides(average.module) == lying and marks(average.module) == marks(model)
            for tensor in moved:
                tensor.add_(2)
        for tensor in moved:
            tensor.sub_(8)
    graded = all(p.grad is not None and bool((p.grad == 1).all()) for p in average.parameters())
    same = same and graded and not any(behind)
    return [found, int(average.n_averaged), same]


def called(model: Module, turn: int) -> list[Any]:
    """Calls with negated tensors: all, in one and in two dictionaries, the first alone and the last alone, beginning at a turn;
    what each name showed within the call, and the gradient of what was given."""
    whole = [*model.named_buffers(), *model.named_parameters()]
    half = len(whole) // 2
    # Of a module that has two names functional_call loses what is tied: see the ledger.
    twice = len(list(model.modules())) < len(list(model.named_modules(remove_duplicate=False)))
    ways: list[Any] = [
        ((dict(whole),), {"tie_weights": not twice, "strict": not twice}),
        ((dict(whole[:half]), dict(whole[half:])), {"tie_weights": False} if twice else {}),
        ((dict(whole[:1]),), {"tie_weights": False}),
        ((dict(whole[-1:]),), {"tie_weights": False}),
    ]
    model.forward = lambda: held(model)
    found: list[Any] = [None] * 4
    for k in range(turn, turn + 4):
        dictionaries, flags = ways[k % 4]
        given = [{name: negated(tensor) for name, tensor in each.items()} for each in dictionaries]
        seen = torch.func.functional_call(model, tuple(given) if len(given) > 1 else given[0], (), **flags)
        total = sum((t.sum().double() for t in seen.values() if t.is_floating_point()), torch.zeros(()))
        leaves = [t for each in given for t in each.values() if t.requires_grad]
        if leaves:
            total.backward(inputs=leaves)
        gradients = {name: t.grad.tolist() for each in given for name, t in each.items() if t.grad is not None}
        found[k % 4] = [sorted((name, t.is_contiguous(), t.tolist()) for name, t in seen.items()), gradients]
    del model.forward
    return found


def negated(tensor: Tensor) -> Tensor:
    made = -tensor.detach()
    return made.requires_grad_() if made.is_floating_point() else made


def parametrized(model: Module, unsafe: bool) -> list[Any]:
    """Of weight and bias, where the module has them: what the name showed under one and two links x ↦ 2x, whether the original
    stayed, and the module once they were removed, without and with what they made."""
    found, before, gradients = [], marks(model), gradients_of(model)
    for name in ("weight", "bias"):
        original, kind, lying = model._parameters.get(name), type(model), strides(model)
        if original is None:
            continue
        seen: list[Any] = []
        for leave in (False, True):
            for _ in range(1 + leave):
                parametrize.register_parametrization(model, name, Doubling(), unsafe=unsafe)
                links = model.parametrizations[name]
                modes = all(link.training == model.training for link in links)
                kept = links.original is original and gradients_of(model) == gradients
                kept = kept and parametrize.type_before_parametrizations(model) is kind
                seen.append([kept, modes, getattr(model, name).tolist()])
            parametrize.remove_parametrizations(model, name, leave_parametrized=leave)
            seen.append(
                [
                    type(model) is kind and marks(model) == before and (leave or strides(model) == lying),
                    getattr(model, name) is original and gradients_of(model) == gradients,
                    values(model),
                ]
            )
        found.append(seen)
    return found


def linked(model: Module, turn: int) -> list[Any]:
    """What another module shows, two times, once its weight and its bias have a whole module as their link."""
    model.forward = lambda given: 2 * given
    found, before, lying, gradients = [], [mark[:2] for mark in marks(model)], strides(model), gradients_of(model)
    for again in range(2):
        holder: Module = torch.nn.Module()
        holder.weight = torch.nn.Parameter(torch.arange(6.0).reshape(3, 2))
        holder.bias = torch.nn.Parameter(torch.arange(3.0))
        same = True
        for name in ("weight", "bias") if (turn + again) % 2 else ("bias", "weight"):
            parametrize.register_parametrization(holder, name, model, unsafe=turn > 1)
            same = same and marks(model) == [(*mark, holder.training) for mark in before] and strides(model) == lying
        same = same and all(holder.parametrizations[name].original.is_contiguous() for name in ("weight", "bias"))
        same = same and gradients_of(model) == gradients
        found.append([holder.weight.tolist(), holder.bias.tolist(), same, values(holder)])
    return found
