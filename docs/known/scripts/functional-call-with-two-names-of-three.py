# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Substitution(tree='three', choice='others')
# got:  raised KeyError: '0.weight'
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
table = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [3, 4], [5, 6]]))


def build(nodes, table):
    """The model whose nodes are given leaves first, and everything in it by its own name."""
    kind_of = {"module": torch.nn.Module, "sequential": torch.nn.Sequential, "list": torch.nn.ModuleList,
               "dict": torch.nn.ModuleDict}  # fmt: skip
    number = torch.float32
    made = {}

    def part(name):
        if name not in made:
            if name.startswith("table"):
                made[name] = torch.nn.Parameter(table if name == "table" else table.detach().clone())
            elif name.startswith("p_void"):
                made[name] = torch.nn.Parameter(torch.zeros((0, len(name)), dtype=number))
            elif name.startswith("p"):
                made[name] = torch.nn.Parameter(torch.arange(1.0, 4.0, dtype=number))
            elif name.startswith("integers"):
                made[name] = torch.tensor([1, 2])
            elif name.startswith("scalar"):
                made[name] = torch.tensor(0.5, dtype=number)
            else:
                made[name] = torch.ones(2, dtype=number)
            if name in ():
                made[name].requires_grad_(False)
        return made[name]

    for name, kind, tensors, children in nodes:
        if kind == "embedding":
            module = torch.nn.Embedding(table.shape[0], table.shape[1], _weight=table.detach())
        elif kind == "linear":
            module = torch.nn.Linear(table.shape[1], table.shape[0], bias=False, dtype=number)
        else:
            module = kind_of[kind]()
        for key, content in tensors:
            if content == "none":
                module.register_parameter(key, None)
            elif content == "nobuffer":
                module.register_buffer(key, None)
            elif content.startswith(("table", "p")):
                setattr(module, key, part(content))
            else:
                module.register_buffer(key, part(content), persistent=not content.endswith("scratch"))
        for key, child in children:
            module.add_module(key, made[child])
        made[name] = module
    return module, made


def substituted(nodes, chosen, table):
    model, _ = build(nodes, table)

    def listed():
        return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]

    before, inside = listed(), []
    own = dict(before)
    fresh = {}
    for name, number in chosen:
        if number not in fresh:
            filled = torch.full_like(own[name].detach(), -1 - number)
            fresh[number] = filled.requires_grad_(filled.is_floating_point())
    given = {name: fresh[number] for name, number in chosen} | {name: torch.zeros(1) for name in ()}

    def forward(scale):
        total = torch.zeros(())
        for name, tensor in before:
            path, _, leaf = name.rpartition(".")
            found = getattr(model.get_submodule(path), leaf)
            numbers = [number for number, other in fresh.items() if other is found]
            inside.append((name, numbers[0] if numbers else -1 if found is tensor else -2))
            if found.is_floating_point():
                total = total + scale * found.sum()
        return total

    model.forward = forward
    attributes = {name: sorted(vars(module)) for name, module in model.named_modules()}
    slots = {name: [*module._parameters, *module._buffers] for name, module in model.named_modules()}
    arguments = {"bare": (2.0,), "tuple": ((2.0,),), "keyword": ((), {"scale": 2.0})}['tuple']
    dicts = given
    raised = False

    def restored():
        after = listed()
        return (
            [name for name, _ in after] == [name for name, _ in before]
            and all(a is b for (_, a), (_, b) in zip(after, before, strict=True))
            and {name: sorted(vars(module)) for name, module in model.named_modules()} == attributes
            and {name: [*module._parameters, *module._buffers] for name, module in model.named_modules()} == slots
        )

    try:
        value = torch.func.functional_call(model, dicts, *arguments, tie_weights=True, strict=False)
    except LookupError as error:
        raise
    except (RuntimeError, ValueError):
        if not restored():
            raise AssertionError("what was refused left another module") from None
        raise
    if value.requires_grad:
        value.backward()
    return {
        "raised": raised,
        "given_grads": {
            number: None if tensor.grad is None else sorted(set(tensor.grad.flatten().tolist()))
            for number, tensor in fresh.items()
        },
        "own_grads": [
            None if tensor.grad is None else sorted(set(tensor.grad.flatten().tolist())) for _, tensor in before
        ],
    }


try:
    seen = substituted(table=table, nodes=(('e', 'embedding', (('weight', 'table',),), (),), ('h', 'linear', (('weight', 'table',), ('bias', 'p_bias',),), (),), ('f', 'embedding', (('weight', 'table',),), (),), ('m', 'sequential', (), (('0', 'e',), ('1', 'h',), ('2', 'f',),),),), chosen=(('1.weight', 0,), ('2.weight', 0,),))
except Exception as error:
    if type(error).__name__ != 'KeyError' or "'0.weight'" not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
