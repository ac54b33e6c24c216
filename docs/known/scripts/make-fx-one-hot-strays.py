# law:  An index outside [0, num_embeddings) is refused and nothing is written.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(), stray='-1', entry='one_hot_product')
# got:  accepted, expected IndexError or RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(-1))


def alike(tensor):
    """A tensor of the same shape, strides and dtype that holds zeros."""
    other = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=tensor.device).zero_()
    return other.requires_grad_() if tensor.requires_grad else other


def made(function, example):
    try:
        return faked(function, example)
    except Exception as error:
        raise RuntimeError(f"does not compile: {type(error).__qualname__}: {error}") from error


def lifted(call, leaf, inputs):
    """The call as a function of its table and of those inputs that are tensors.

    In a module the table takes the place of the parameter, in a closure that of the cell.
    """
    given = [position for position, tensor in enumerate(inputs) if tensor is not None]
    count = len(inputs)
    cells = () if isinstance(call, torch.nn.Module) else (call.__closure__ or ())
    inner = [call] if isinstance(call, torch.nn.Module) else [cell.cell_contents for cell in cells]
    holder = torch.nn.Module()
    for position, module in enumerate(inner):
        if isinstance(module, torch.nn.Module):
            holder.add_module(f"module{position}", module)
    names = [name for name, parameter in holder.named_parameters(remove_duplicate=False) if parameter is leaf]
    object.__setattr__(holder, "forward", call)  # not registered as one more module

    def function(table, *tensors):
        arguments = [None] * count
        for position, tensor in zip(given, tensors, strict=True):
            arguments[position] = tensor
        if names:
            value = torch.func.functional_call(holder, dict.fromkeys(names, table), tuple(arguments))
            return value
        swapped = tuple(types.CellType(table) if cell.cell_contents is leaf else cell for cell in cells)
        again = types.FunctionType(
            call.__code__, call.__globals__, call.__qualname__, call.__defaults__, swapped
        )
        return again(*arguments)

    return function


def through():
    """The layers that ``build`` builds, each call going through an artefact made by ``make`` from another example.

    ``make_module`` is for layers that are modules: their artefact has the layer's parameters.
    """

    def built(weight, **flags):
        leaf, call = one_hot_product(weight, **flags)

        def again(*inputs):
            tensors = [tensor for tensor in inputs if tensor is not None]
            example = tuple(map(alike, tensors))
            return made(lifted(call, leaf, inputs), (alike(leaf), *example))(leaf, *tensors)

        return leaf, again

    return built


def recorded(function, example):
    # Here, for it takes seconds to import what no other mode needs.
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(function, tracing_mode='fake')(*example).forward
    return graph


def faked(function, example):
    return recorded(function, example)


def through_fake_make_fx(**arguments):
    """Through make_fx, traced with fake tensors."""
    return forward(build=through(), **arguments)


def one_hot_product(weight):
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.one_hot(indices.long(), rows).to(weight.dtype) @ weight


def fresh(leaf, call, indices):
    pass


def forward(build, history, weight, indices, flags, requires_grad):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_(requires_grad)
    held = history(leaf, call, indices)
    value = call(indices)
    return {"held": held is None or held()}


try:
    seen = through_fake_make_fx(weight=weight, indices=indices, history=fresh, flags={}, requires_grad=True)
except (IndexError, RuntimeError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected IndexError or RuntimeError")
sys.exit(1)
