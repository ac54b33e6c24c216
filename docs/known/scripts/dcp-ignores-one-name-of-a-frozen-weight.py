# law:  Without frozen parameters a model's state has none of their names, and all the others.
# case: Resumption(route='named', frozen='tied')
# got:  ['head.weight', 'side.weight'], expected ['side.weight']
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, -3], [-2, -2], [3, -3]]))
side = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[1, -3], [-2, 1]]))
pulls = torch.full((40,), torch.nan).as_strided((4, 3, 2), (6, 2, 1), 8).copy_(torch.tensor([[[1, -2], [-2, -2], [3, 1]], [[2, 1], [-2, 2], [2, -1]], [[-2, -2], [2, 3], [3, -3]], [[3, -2], [1, -3], [2, 1]]]))
side_pulls = torch.full((32,), torch.nan).as_strided((4, 2, 2), (4, 2, 1), 8).copy_(torch.tensor([[[-2, 2], [1, -3]], [[1, -2], [2, 1]], [[-2, 3], [2, 3]], [[-1, 2], [-3, -1]]]))


def head_takes_embedding(weight):
    model = torch.nn.Module()
    model.embedding = torch.nn.Embedding(weight.shape[0], weight.shape[1], sparse=False, _weight=weight)
    model.head = torch.nn.Linear(weight.shape[1], weight.shape[0], False, "meta", weight.dtype)
    model.head.weight = model.embedding.weight
    return model, "embedding", "head"


def save_named(model, optimizer, options):
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

    return {
        "model": get_model_state_dict(model),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=options),
    }


def load_named(model, optimizer, state, options):
    from torch.distributed.checkpoint.state_dict import set_model_state_dict, set_optimizer_state_dict

    set_model_state_dict(model, state["model"])
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=options)


def copied(state):
    import copy

    return copy.deepcopy(state)


def advance(run, pulls, idle):
    """One step with given gradients; the weights after it in a row."""
    _, members, optimizer, scaler = run
    sparse = optimizer.__class__.__name__ == "SparseAdam"
    factor = 1.0
    if scaler is not None:
        scaler.scale(torch.ones(()))
        factor = scaler.get_scale()

    def compute():
        for m, (p, pull) in enumerate(zip(members, pulls, strict=True)):
            grad = pull * factor
            p.grad = None if m in idle else grad.to_sparse(1) if sparse else grad
        return sum(((p.detach() * pull).sum() for p, pull in zip(members, pulls, strict=True)), torch.zeros(()))

    if optimizer.__class__.__name__ == "LBFGS":
        optimizer.step(compute)
    elif scaler is not None:
        compute()
        scaler.step(optimizer)
        scaler.update()
    else:
        compute()
        optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in members])


def leaves(thing, path=()):
    """What is in dicts, lists and tuples, each with its path."""
    if not isinstance(thing, (dict, list, tuple)):
        return [(path, thing)]
    entries = iter(thing.items() if isinstance(thing, dict) else enumerate(thing))
    return [leaf for key, value in entries for leaf in leaves(value, (*path, key))]


def held(run):
    """The options of each member's group, then its state."""
    _, members, optimizer, _ = run
    found = []
    for m, p in enumerate(members):
        for group in optimizer.param_groups:
            if any(p is other for other in group["params"]):
                options = {key: value for key, value in group.items() if key != "params"}
                found += leaves(options, (m, "options"))
        found += leaves(optimizer.state.get(p, {}), (m, "state"))
    return sorted(found, key=lambda leaf: repr(leaf[0]))

Tensor = torch.Tensor

def look(run):
    """What an optimizer holds: by path the options and numbers, and the dtypes and shapes of tensors; their values."""
    found = held(run)
    kinds = [
        (*path, str(value.dtype).removeprefix("torch."), tuple(value.shape))
        if isinstance(value, Tensor)
        else (*path, value)
        for path, value in found
    ]
    tensors = [v.detach().cpu().to_dense().reshape(-1).double() for _, v in found if isinstance(v, Tensor)]
    return kinds, torch.cat(tensors) if tensors else torch.zeros(0, dtype=torch.float64)


def name(model, state):
    """Under which names a state has a state and options, and the rate of each."""
    names = [each for each, _ in model.named_parameters(remove_duplicate=False)]
    if "param_groups" in state:
        return {
            "rates": {key: float(group["lr"]) for group in state["param_groups"] for key in group["params"]},
        }
    return {
        "rates": {each: float(state[key]) for each in names if (key := f"param_groups.{each}.lr") in state},
    }


def resume(flags, own, asked, weight, side, pulls, side_pulls):
    options = None
    try:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    except ImportError:
        return {}
    if not set(asked) <= set(StateDictOptions.__dataclass_fields__):
        return {}
    options = StateDictOptions(**asked)

    import copy

    first, table, _ = head_takes_embedding(weight.clone())
    first.add_module("side", torch.nn.Module())
    first.side.weight = torch.nn.Parameter(side.clone())
    models = [copy.deepcopy(first) for _ in range(1)] + [first]

    def start(given, loads, model):
        if model is None:  # nothing is tied
            members = [torch.nn.Parameter(weight.clone()), torch.nn.Parameter(side.clone())]
        else:
            members = [model.get_submodule(table).weight, model.side.weight]
        listed = []
        for names, rate in (((0, 1), 0.5),):
            lr = 8.0 if loads else rate
            order = names
            listed.append({"params": [members[m] for m in order], "lr": lr})
        optimizer = torch.optim.Adam(listed, **given)
        scaler = None
        return model, members, optimizer, scaler

    def go(run, first, count):
        gone = [advance(run, (pulls[k], side_pulls[k]), () if k < 1 else ()) for k in range(first, first + count)]
        return torch.stack(gone) if gone else torch.zeros(0)

    def halt(run):
        for m, p in enumerate(run[1]):
            p.grad = None
            p.requires_grad_(m not in (0,))

    # One without ties goes on without a break.
    straight = start(flags, False, None)
    go(straight, 0, 1)
    seen = {"straight": go(straight, 1, 2)}
    look(straight)
    # The state of another one is read and carried.
    giver = start(flags, False, models.pop())
    go(giver, 0, 1)
    halt(giver)
    calls = []
    hook = giver[2].register_step_pre_hook(lambda *given: calls.append(given))
    saved = save_named(giver[0], giver[2], options)
    look(giver)
    hook.remove()
    seen |= name(giver[0], saved["optimizer"])
    trained = StateDictOptions(ignore_frozen_params=True)
    seen["trained_names"] = list(get_model_state_dict(giver[0], options=trained))
    try:
        carried = copied(saved)
    except ImportError:
        return {}
    # A third one loads it and goes on.
    model, members, optimizer, scaler = taker = start(own, True, models.pop())
    with torch.no_grad():
        for p in members:
            p.fill_(77.0)
    halt(taker)
    load_named(model, optimizer, carried, options)
    if scaler is not None:
        scaler.load_state_dict(giver[3].state_dict())
    look(taker)
    model.requires_grad_(True)
    go(taker, 1, 2)
    look(taker)
    # The one that was read goes on too; or one like it, where the other may have moved what it holds.
    reader = giver
    reader[0].requires_grad_(True)
    go(reader, 1, 2)
    return seen


seen = resume(weight=weight, side=side, pulls=pulls, side_pulls=side_pulls, flags={'amsgrad': True, 'betas': (0.5, 0.75,)}, own={}, asked={'strict': True})
got, expected, wrong = seen["trained_names"], ['side.weight'], ['head.weight', 'side.weight']
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
