"""Programs: hooks of every module replace what they are given, hooks see each argument, and a copy keeps its module's hooks."""

import copy
import inspect
from typing import Any, NamedTuple

import torch

from embcheck.families.load_state_dict.programs import after_saving

Tensor = torch.Tensor


class Named(NamedTuple):
    """What a layer gives: its name and its rows."""

    name: str
    rows: Tensor


class Naming(torch.nn.Linear):
    """A layer that gives its name beside its rows."""

    def forward(self, rows: Tensor) -> Any:
        return Named("head", super().forward(rows))


def called_with_hooks_of_all() -> list[Any]:
    """What a table gives whose tokens a hook of every module replaces; the keywords that another one is given; and how often one is
    called that is always called, of a layer that raises, too."""
    of_all: Any = torch.nn.modules.module
    table, words, calls = torch.nn.Embedding.from_pretrained(torch.arange(6.0).reshape(3, 2)), list[str](), list[str]()
    handles = [
        of_all.register_module_forward_hook(lambda module, given, named, out: words.extend(named), with_kwargs=True),
        of_all.register_module_forward_hook(lambda *given: calls.append("always"), always_call=True),
    ]
    try:
        torch.nn.Identity()(input=table.weight)
        handles.append(of_all.register_module_forward_pre_hook(lambda module, given: (given[0] + 1,)))
        rows = table(torch.tensor([0, 1]))
        table(torch.tensor([2]))
    except IndexError:
        calls.append("raised")
    finally:
        for handle in handles:
            handle.remove()
        # remove() of torch 2.13 leaves a flag of a hook that is gone.
        vars(of_all).get("_global_forward_hooks_with_kwargs", {}).pop(handles[0].id, None)
    return [rows.tolist(), words, calls]


def replaced_by_hooks_of_all() -> list[Any]:
    """The gradient that a hook of every module multiplies by 3, and the class of the module that a hook puts around a part."""
    of_all: Any = torch.nn.modules.module
    rows, model = torch.ones(2, requires_grad=True), torch.nn.Module()
    with of_all.register_module_full_backward_hook(lambda module, to_input, given: (3 * to_input[0],)):
        torch.nn.Identity()(rows).sum().backward()
    with of_all.register_module_module_registration_hook(
        lambda module, name, part: torch.nn.Sequential(part) if name == "part" else None
    ):
        model.part = torch.nn.Embedding(3, 2)
    return [[] if rows.grad is None else rows.grad.tolist(), type(model.part).__name__]


def hooks_see_each_result() -> list[Any]:
    """The class of what a layer gives that has a full backward hook, and where the hook is given no gradient."""
    layer, places = Naming(2, 1), list[list[bool]]()

    def note(module: Any, to_input: Any, given: Any) -> None:
        places.append([each is None for each in given])

    layer.register_full_backward_hook(note)
    found = layer(torch.ones(1, 2, requires_grad=True))
    found[1].sum().backward()
    return [type(found) is Named, *places]


def told_by_hooks() -> dict[str, Any]:
    """What the above tell, where hooks of every module take keywords, which in torch 2.4 they don't."""
    register = torch.nn.modules.module.register_module_forward_hook
    if "with_kwargs" not in inspect.signature(register).parameters:
        return {}
    return {"hooks_of_all": [*called_with_hooks_of_all(), *replaced_by_hooks_of_all(), *hooks_see_each_result()]}


def copies_keep_hooks() -> list[str]:
    """Which hooks of a backward pass and of a state are called of a module's deep copy, in turn, and its mode."""
    layer, told = torch.nn.Linear(2, 1), list[str]()
    layer.register_full_backward_pre_hook(lambda module, given: told.append("backward pre"))
    layer.register_full_backward_hook(lambda module, to_input, given: told.append("backward"))
    layer.register_state_dict_pre_hook(lambda module, prefix, keep: told.append("state pre"))
    after_saving(layer)(lambda module, state, prefix, notes: told.append("state"))
    twin = copy.deepcopy(layer)
    twin(torch.ones(1, 2, requires_grad=True)).sum().backward()
    twin.state_dict()
    return [*told, "training" if twin.training else "evaluating"]
