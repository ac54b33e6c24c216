"""Programs: what an optimizer does with a state that it loads, in whatever case."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.lr_scheduler.programs import alike, raises

Tensor = torch.Tensor


def rates_shared() -> bool:
    """Whether the learning rate, a tensor, of an optimizer that loaded another's state, or is a copy of it, is the other's."""
    one, other = (torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(0.5)) for _ in range(2))
    other.load_state_dict(one.state_dict())
    theirs, *own = (each.param_groups[0]["lr"].data_ptr() for each in (one, other, copy.deepcopy(one)))
    return theirs in own


def other_states() -> list[str]:
    """What goes wrong where an optimizer loads the state of one of other parameters or groups, of unnamed ones or those of other
    names, or one of lists and further entries."""
    ones = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    pair, single = torch.optim.SGD(ones), torch.optim.SGD(ones[:1])
    refused = raises(ValueError, lambda: single.load_state_dict(pair.state_dict()))
    wrong = ["a state of two parameters is loaded for one"] * (not refused)
    try:
        named = torch.optim.SGD([("weight", ones[0])])
    except TypeError:  # this release takes no names
        named = None
    if named is not None:
        named.load_state_dict(single.state_dict())
        renamed = torch.optim.SGD([("table", ones[0])])
        renamed.load_state_dict(named.state_dict())  # whose names count
        for each in (named, renamed):
            wrong += ["the names of parameters are lost"] * (each.param_groups[0].get("param_names") != ["weight"])
    wrong += ["an entry of a state is lost or not cast, or a count of steps is"] * (not entries_kept())
    wrong += ["a state's lists are not copied"] * (not lists_kept())
    grouped = torch.optim.SGD([{"params": [one]} for one in ones])
    refused = raises(ValueError, lambda: pair.load_state_dict(grouped.state_dict()))
    wrong += ["a state of two groups is loaded for one"] * (not refused)
    return wrong + ["a group that is added later has the loaded rate"] * (added_rates() != [0.25] * 3)


def entries_kept() -> bool:
    """Whether a number that is a state's own entry is loaded, a dict with a tensor, which is cast, and a count of steps, which is
    not: half precision counts no further than 256 or 2048."""
    ones = [torch.nn.Parameter(torch.ones(1, dtype=torch.float16)) for _ in range(2)]
    giver, taker = (torch.optim.SGD([one]) for one in ones)
    giver.state["count"] = 3  # type: ignore[index]
    giver.state[ones[0]] = {"moments": {"first": torch.ones(1)}, "step": torch.tensor(3.0)}
    taker.load_state_dict(giver.state_dict())
    cast = {"moments": {"first": ones[1].detach()}, "step": torch.tensor(3.0)}
    return taker.state.get("count") == 3 and str(taker.state.get(ones[1])) == str(cast)  # type: ignore[call-overload]


def added_rates() -> list[float]:
    """The rate of a group that is added, without a rate of its own, once a state of another rate was loaded; also to copies."""
    ones = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    giver, taker = (torch.optim.SGD(ones[:1], lr=lr) for lr in (0.5, 0.25))
    taker.load_state_dict(giver.state_dict())
    takers = [taker, copy.deepcopy(taker), pickle.loads(pickle.dumps(taker))]
    for each in takers:
        each.add_param_group({"params": ones[1:]})
    return [float(each.param_groups[1]["lr"]) for each in takers]


def lists_kept() -> bool:
    """Whether an optimizer that loaded a state has lists of its own, which are equal."""
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))

    def square() -> Tensor:
        p.grad = 2 * p.detach()
        return (p.detach() ** 2).sum()

    one, other = (torch.optim.LBFGS([p], lr=0.125, max_iter=4) for _ in range(2))
    one.step(square)  # type: ignore[no-untyped-call, unused-ignore]
    given = one.state_dict()
    other.load_state_dict(given)
    lists = {name: value for name, value in given["state"][0].items() if isinstance(value, list)}
    taken = {name: other.state[p][name] for name in lists}
    return bool(lists) and alike(taken, lists) and not any(taken[name] is value for name, value in lists.items())


def hooked_states() -> tuple[list[str], list[float], bool]:
    """In which order the hooks of a state are called that is read and loaded, until they are removed; the rates that they leave,
    each of two hooks halves that of what is read, and of what is loaded; and whether what they take out is still in the former."""
    order: list[str] = []

    def note(name: str) -> Callable[..., Any]:
        def hook(optimizer: Any, state: Any = None) -> Any:
            order.append(name)
            if state:
                state.pop("further", None)
            return state and {**state, "param_groups": [{**g, "lr": g["lr"] / 2} for g in state["param_groups"]]}

        return hook

    optimizer: Any = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    handles: list[Any] = []
    for event in ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post"):
        register = getattr(optimizer, f"register_{event}_hook")
        handles += [register(note(f"{event} 2")), register(note(f"{event} 1"), prepend=True)]
    read = {**optimizer.state_dict(), "further": 1}
    optimizer.load_state_dict(read)
    rates = [read["param_groups"][0]["lr"], optimizer.param_groups[0]["lr"]]
    for handle in handles:
        handle.remove()
    optimizer.load_state_dict(optimizer.state_dict())  # which calls none of them
    return order, rates, "further" in read
