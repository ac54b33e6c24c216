# law:  Containers hold the very things that a list or dict holds after the same operations, in its order; what another is made of stays as it was.
# case: ContainerCase(operations=(('slice', 1, 3, 0), ('append', 0, 3, 0)))
# got:  [[('0', 'a'), ('1', 'b'), ('2', 'c')], [('0', 'b'), ('1', 'c')], [('0', 'b'), ('1', 'd')]], expected
# [[('0', 'a'), ('1', 'b'), ('2', 'c')], [('0', 'b'), ('1', 'c')], [('0', 'b'), ('1', 'c'), ('2', 'd')]]
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import collections

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


def worked(there, name, at, given):
    """The container after an operation; some make another one."""
    things = [thing for _, thing in given]
    match name:
        case "append":
            there.append(things[0])
        case "extend":
            there.extend(things)
        case "insert":
            there.insert(at, things[0])
        case "add":
            return there + (type(there)(*things) if isinstance(there, torch.nn.Sequential) else type(there)(things))
        case "iadd":
            there += type(there)(*things) if isinstance(there, torch.nn.Sequential) else type(there)(things)
        case "mul":
            return there * at
        case "imul":
            there *= at
        case "slice":
            return there[at]
        case "set":
            there[at] = things[0]
        case "del" | "cut":
            del there[at]
        case "pop":
            there.pop(at)
        case "place":
            if hasattr(there, "set_submodule"):  # since torch 2.5
                there.set_submodule(at, things[0])
            else:
                above, _, last = at.rpartition(".")
                setattr(there.get_submodule(above), last, things[0])
        case "extend_by_itself":
            there.extend(there)
        case "iadd_itself":
            there += there
        case "add_itself":
            return there + there
        case "update_by_itself":
            there.update(there)
        case "or_itself":
            return there | there
        case "ior_itself":
            there |= there
        case "or":
            return there | type(there)(collections.OrderedDict(given))
        case "ior":
            there |= type(there)(collections.OrderedDict(given))
        case "copy":
            return there.copy()
        case "update":
            there.update(collections.OrderedDict(given))  # a ParameterDict sorts what comes in a plain dict
        case "setdefault":
            there.setdefault(at, things[0])
        case _:
            getattr(there, name)()  # clear, popitem
    return there


def contained(start, steps, table):
    pool = {}
    for name in "abcdef":
        held = table if name == "a" else table.clone()
        pool[name] = torch.nn.Embedding(table.shape[0], table.shape[1], _weight=held)
    names = {id(thing): name for name, thing in pool.items()}
    there = torch.nn.Sequential(*(pool[name] for _, name in start))
    there.train(True)
    seen, left = [shown(there, names)], True
    for name, at, given in steps:
        before = there
        there = worked(before, name, at, [(key, pool[each]) for key, each in given])
        left = left and (there is before or shown(before, names) == seen[-1])
        seen.append(shown(there, names))
    told = {"held": [keys for keys, _, _, _ in seen]}  # fmt: skip
    return {**told, **({})}


seen = contained(table=table, start=(('0', 'a',), ('1', 'b',), ('2', 'c',),), steps=(('slice', slice(1, 3, None), (('head', 'd',), ('extra', 'a',),),), ('append', None, (('words', 'd',), ('head', 'a',),),),))
got, expected, wrong = seen["held"], [[('0', 'a',), ('1', 'b',), ('2', 'c',)], [('0', 'b',), ('1', 'c',)], [('0', 'b',), ('1', 'c',), ('2', 'd',)]], [[('0', 'a',), ('1', 'b',), ('2', 'c',)], [('0', 'b',), ('1', 'c',)], [('0', 'b',), ('1', 'd',)]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
