# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: RenormCase(num_embeddings=1, embedding_dim=0, shape=(), max_norm=1.0, norm_type=1e999, values='real', route='plain')
# got:  does not compile: RuntimeError: linalg.vector_norm cannot compute the inf norm on an empty tensor
# because the operation does not have an identity
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch.autograd.grad_mode

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((17,), torch.nan).as_strided((0,), (1,), 8)


def alike(tensor):
    """A tensor of the same shape, strides and dtype that holds zeros."""
    other = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=tensor.device).zero_()
    return other.requires_grad_() if tensor.requires_grad else other


def made(make, function, example):
    try:
        return make(function, example)
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
        leaf, call = functional(weight, **flags)

        def again(*inputs):
            tensors = [tensor for tensor in inputs if tensor is not None]
            example = tuple(map(alike, tensors))
            if isinstance(call, torch.nn.Module):
                return made(trace_module, call, example)(*inputs)
            return made(traced, lifted(call, leaf, inputs), (alike(leaf), *example))(leaf, *tensors)

        return leaf, again

    return built


def traced(function, example):
    return torch.jit.trace(function, example, check_trace=False)  # type: ignore[no-any-return]


def trace_module(layer, example):
    (table,) = layer.parameters()
    before = table.detach().clone()
    # Tracing runs the layer, which writes to the table if it has max_norm.
    with torch.autograd.grad_mode._unsafe_preserve_version_counter(table), torch.no_grad():
        traced_layer = torch.jit.trace(layer, example, check_trace=False)
        table.copy_(before)
    return traced_layer


def jit_trace(**arguments):
    """Through torch.jit.trace."""
    return renormalise(build=through(), **arguments)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def fresh(leaf, call, indices):
    pass


def plain(leaf, call, indices):
    return call(indices), None


def renormalise(build, history, route, weight, indices, upstream, flags, requires_grad):
    leaf, call = build(weight, **flags)
    if torch.is_grad_enabled():
        leaf.requires_grad_(requires_grad)
    history(leaf, call, indices)
    leaf.grad = None
    value, used = route(leaf, call, indices)
    seen = {}
    if value.requires_grad:
        losses = (
            [(value, upstream)]
            if used is None or not used.requires_grad
            else [(used, torch.ones_like(used)), (value, upstream)]
        )
        torch.autograd.backward([pair[0] for pair in losses], [pair[1] for pair in losses])
    call(indices)
    return seen


try:
    seen = jit_trace(weight=weight, indices=indices, upstream=upstream, history=fresh, route=plain, flags={'max_norm': 1.0, 'norm_type': float("inf")}, requires_grad=True)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'does not compile: RuntimeError: linalg.vector_norm cannot compute the inf norm o' not in " ".join(str(error).split()):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
