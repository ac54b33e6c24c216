# law:  A conversion leaves the hooks of the Parameters: each is called once by a backward pass after it.
# case: Membership(convert='double', swapped=True)
# got:  [], expected [('embedding.weight', 'gradient'), ('embedding.weight', 'accumulated'), ('head.bias',
# 'gradient'), ('head.bias', 'accumulated')]
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import copy
import torch.__future__
import torch.fx

torch.set_num_threads(1)
table = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [3, 4], [5, 6]]))
digits = torch.full((64,), torch.nan).as_strided((48,), (1,), 8).copy_(torch.tensor([1065385984, -1082097664, 1065451520, -1082032128, 1065402368, -1082081280, 1065435136, -1082048512, 1065369600, -1082114048, 1065357312, -1082126336, 1065365504, -1082118144, 1065359360, -1082124288, 1065363456, -1082120192, 1065355264, -1082128384, 1065353216, -1082130432, 1065353218, -1082130430, 1199562752, -947920896, 1199566592, -947917056, 1199566848, -947916800, 2138982511, -8501137, 864026624, -1283457024, 868220928, -1279262720, 855638016, -1291845632, 847249408, -1300234240, 8388608, -2139095040, 65536, -2147418112, 0, -2147483648, 2139095040, -8388608], dtype=torch.int32).view(torch.float32))


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


def double(model):
    return model.double()


def emptied_for_a_while(model):
    """The keys of the state while all slots for buffers hold None, and once they hold their tensors again."""
    held = [(module, name, value) for module in model.modules() for name, value in module._buffers.items()]
    for module, name, _ in held:
        setattr(module, name, None)
    without = list(model.state_dict())
    for module, name, value in held:
        setattr(module, name, value)
    return without, list(model.state_dict())


def left_by_nothing(model):
    """Whether every tensor is the same in the same memory and of the same version after conversions to what it is."""
    model.train(True)
    things = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    marks = {name: (thing.data_ptr(), thing._version) for name, thing in things.items()}
    for dtype in {thing.dtype for thing in things.values() if thing.is_floating_point()}:
        model.to(dtype)
    model.to("cpu").cpu().to(torch.device("cpu"), non_blocking=True)
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return all(
        after[name] is thing and marks[name] == (thing.data_ptr(), thing._version) for name, thing in things.items()
    )


def given_gradients(model):
    """Each Parameter gets a gradient of ones, that of a table of three rows sparse if asked."""
    for p in model.parameters():
        rows = torch.arange(len(p))
        p.grad = torch.ones_like(p)


def called_after(model ):
    """Which hooks of the Parameters are called by backward passes after a conversion, and whether gradients came along."""
    calls = []
    given_gradients(model)
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.register_hook(lambda gradient, name=name: calls.append((name, "gradient")))
            p.register_post_accumulate_grad_hook(lambda p, name=name: calls.append((name, "accumulated")))
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        double(model)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    gradients = [(p.dtype, p.grad) for p in model.parameters()]
    kept = all(grad is not None and grad.dtype == dtype and bool((grad == 1).all()) for dtype, grad in gradients)
    for p in model.parameters():
        if p.requires_grad:
            p.sum().backward()
    return calls, kept


def traced(model):
    """The keys of the state of what torch.fx records of a sum of all tensors, and whether it has the very tensors."""

    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, total):
            for thing in (*model.parameters(), *model.buffers()):
                total = total + thing
            return total

    root = Sum()
    module = torch.fx.symbolic_trace(root)
    held = [dict(each.named_parameters()) | dict(each.named_buffers()) for each in (root, module)]
    same = all(held[1].get(name) is thing for name, thing in held[0].items())
    return sorted(module.state_dict()), same

Tensor = torch.Tensor

def membered(nodes, table, digits):
    model, made = build(nodes, table)
    names = {id(thing): name for name, thing in made.items()}

    def listed(pairs):
        return [(name, names.get(id(thing), "?")) for name, thing in pairs]

    seen = {}
    listed(model.named_children())
    visited = []
    model.apply(visited.append)
    for vars_kept in (False, True):
        state = model.state_dict(prefix='', keep_vars=vars_kept)
        [
            (
                name,
                next(
                    (
                        n
                        for n, t in made.items()
                        if isinstance(t, Tensor) and (t.data_ptr(), t.shape) == (value.data_ptr(), value.shape)
                    ),
                    "?",
                ),
            )
            for name, value in state.items()
        ]
    simple = model.state_dict()
    own = {"before": torch.zeros(1)}
    model.state_dict(destination=own, prefix='')
    list(copy.deepcopy(model).state_dict())
    found = []
    for name, module in model.named_modules():
        found.append(model.get_submodule(name) is module)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.append(model.get_parameter(name) is parameter)
    for name, buffer in model.named_buffers(remove_duplicate=False):
        found.append(model.get_buffer(name) is buffer)
    refused = []
    for wrong in (0, None, "eval"):
        try:
            model.train(wrong)
        except ValueError:
            refused.append(True)
    [module.training for module in model.train(False).modules()]
    one = torch.ones((), requires_grad=True)
    for p in model.parameters():
        p.grad = torch.ones_like(p) * one.to(p.dtype)  # as create_graph leaves it
    [p.requires_grad for p in model.requires_grad_().parameters()]
    [p.requires_grad for p in model.requires_grad_(False).parameters()]
    model.zero_grad(set_to_none=False)
    model.zero_grad()
    emptied_for_a_while(model)
    left_by_nothing(model)
    double(model)
    model.to_empty(device="cpu", recurse=False)
    try:
        model.share_memory()
    except NotImplementedError:
        pass
    [thing.is_shared() for thing in [*model.parameters(), *model.buffers()]]
    [
        p.grad.is_sparse or p.grad.is_shared() for p in model.parameters() if p.grad is not None
    ]
    holder = torch.nn.Module()
    holder.digits = torch.nn.Parameter(digits)
    holder.register_buffer("rest", digits[1:].clone())
    double(holder)
    seen["hooks"], seen["swapped_gradients"] = called_after(build(nodes, table)[0])
    traced(build(nodes, table)[0])
    return seen


seen = membered(table=table, digits=digits, nodes=(('e', 'embedding', (('weight', 'table',),), (),), ('h', 'linear', (('weight', 'table',), ('bias', 'p_bias',),), (),), ('m', 'module', (), (('embedding', 'e',), ('head', 'h',),),),))
got, expected, wrong = seen["hooks"], [('embedding.weight', 'gradient',), ('embedding.weight', 'accumulated',), ('head.bias', 'gradient',), ('head.bias', 'accumulated',)], []
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
