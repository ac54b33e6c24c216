# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: RenormCase(num_embeddings=1, embedding_dim=1, shape=(0,), max_norm=1.0, values='real', route='plain')
# got:  raised RuntimeError: a view of a leaf Variable that requires grad is being used in an in-place
# operation.
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch.export

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[0.9401166439056396]], dtype=torch.float32)).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((0,), (1,), 8)
upstream = torch.full((17,), torch.nan).as_strided((0, 1), (1, 1), 8)


def like_table(table):
    other = torch.empty_strided(table.size(), table.stride(), dtype=table.dtype).zero_()
    return other.requires_grad_() if table.requires_grad else other


def examples(tensors):
    """Zeros of larger sizes; of the same sizes and strides where memory is not row-major, or sizes hang together."""
    if len(tensors) > 1 or not all(tensor.is_contiguous() for tensor in tensors):
        return tuple(like_table(tensor) for tensor in tensors)
    return tuple(torch.zeros([2 * size + 2 for size in tensor.size()], dtype=tensor.dtype) for tensor in tensors)


class Gapped(torch.nn.Module):
    """A layer of whose arguments one before the last is None: an exported program takes tensors alone."""

    def __init__(self, layer, given):
        super().__init__()
        self.layer, self.given = layer, given

    def forward(self, first, *more):
        left = iter((first, *more))
        value = self.layer(*(next(left) if there else None for there in self.given))
        return value


def kept(make):
    return make()


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


def exported_program(layer, fed):
    sizes = [dict.fromkeys(range(tensor.dim()), torch.export.Dim.AUTO) for tensor in fed]
    if type(layer) is torch.nn.Module:  # what `exported` makes of a closure: it takes (table, *inputs)
        sizes = [sizes[0], tuple(sizes[1:])]
    try:
        return torch.export.export(layer, fed, dynamic_shapes=tuple(sizes), strict=False)
    except Exception as error:
        raise RuntimeError(f"does not compile: {type(error).__qualname__}: {error}") from error


def exported():
    def built(weight, **flags):
        leaf, call = functional(weight, **flags)
        layer = call if isinstance(call, torch.nn.Module) else None

        def again(*inputs):
            tensors = tuple(tensor for tensor in inputs if tensor is not None)
            # None before a tensor has no place in a program's inputs.
            if layer is not None and not any(tensor is None for tensor in inputs[: len(tensors)]):
                fed = examples(tensors)
                given = tuple(tensor is not None for tensor in inputs)
                root = Gapped(layer, given) if given != tuple(sorted(given, reverse=True)) else layer
                names = [name for name, parameter in root.named_parameters() if parameter is leaf]
                graph = kept(
                    lambda: decomposed(exported_program(root, fed)).module(),
                )
                value = torch.func.functional_call(graph, dict.fromkeys(names, leaf), tensors)
                return value
            fed = (like_table(leaf), *examples(tensors))
            holder = torch.nn.Module()
            inside = lifted(call, leaf, inputs)

            object.__setattr__(holder, "forward", inside)
            graph = kept(
                lambda: decomposed(exported_program(holder, fed)).module(),
            )
            served = graph(leaf, *tensors)
            return served

        return leaf, again

    return built


def decomposed(found):
    return found.run_decompositions()


def export_decomposed(**arguments):
    """Through torch.export and run_decompositions."""
    return renormalise(build=exported(), **arguments)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def fresh(leaf, call, indices):
    pass


def plain(leaf, call, indices):
    return call(indices), None


def renormalise(build, history, route, weight, indices, upstream, flags, requires_grad):
    leaf, call = build(weight, **flags)
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
    seen = export_decomposed(weight=weight, indices=indices, upstream=upstream, history=fresh, route=plain, flags={'max_norm': 1.0}, requires_grad=True)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'a view of a leaf Variable that requires grad is being used in an in-place operat' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
