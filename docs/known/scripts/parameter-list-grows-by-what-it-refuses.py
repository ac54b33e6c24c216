# law:  What a container refuses leaves it as it was: as long, with the same things under the same keys.
# case: ContainerCase(kind='ParameterList', length=0, attempt='append_misfit')
# got:  a container changed though it refused
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
table = torch.full((22,), torch.nan, dtype=torch.float64).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [3, 4], [5, 6]]))


def shown(there, names):
    """What a container holds by key, the Parameters that it lists, the keys of its state, and its length.

    In a tree, whose order is that of its branches, all is sorted.
    """

    def told(thing):
        return names.get(id(thing), "?")

    if isinstance(there, (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ParameterList)):
        held = [(str(k), told(thing)) for k, thing in enumerate(there)]
    elif isinstance(there, (torch.nn.ModuleDict, torch.nn.ParameterDict)):
        held = [(key, told(thing)) for key, thing in there.items()]
        held = held if [key for key, _ in held] == list(there.keys()) == list(there) else [("?", "?")]
    else:
        named = there.named_modules(remove_duplicate=False)
        held = [(key, told(module)) for key, module in named if id(module) in names]
    owners = {id(module.weight): names[id(module)] for module in there.modules() if id(module) in names}
    listed = [owners.get(id(parameter), told(parameter)) for parameter in there.parameters()]
    state = list(there.state_dict())
    if type(there) is torch.nn.Module:
        return sorted(held), sorted(listed), sorted(state), len(held)
    return held, listed, state, len(there)


Tensor = torch.Tensor

def tried(there, fit):
    """Asks for what is not there, or puts something where it can't be: integers are no Parameter, a text no module."""
    misfit = torch.ones(2, dtype=torch.int64) if isinstance(fit, Tensor) else "text"
    there.append(misfit)


def refused(there, fit, names):
    """What an attempt raises, and whether the container is afterwards what it was."""
    before, words = shown(there, names), repr(there)
    try:
        tried(there, fit)
    except Exception as error:
        raised = next(
            (kind.__name__ for kind in (IndexError, KeyError) if isinstance(error, kind)), type(error).__name__
        )
    try:
        stays = shown(there, names) == before and repr(there) == words
    except (AttributeError, TypeError, IndexError, KeyError):
        stays = False  # for it can't even be listed
    return {"stays": stays}


def contained(table):
    pool = {}
    for name in "abcdef":
        held = table if name == "a" else table.clone()
        pool[name] = torch.nn.Parameter(held, requires_grad=name != "b")
    names = {id(thing): name for name, thing in pool.items()}
    there = torch.nn.ParameterList(pool[name] for _, name in ())
    there.train(True)
    seen, left = [shown(there, names)], True
    told = {}  # fmt: skip
    return {**told, **(refused(there, pool["e"], names))}


seen = contained(table=table)
got, expected, wrong = bool(seen["stays"]), True, False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
