# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=0, shape=(0,), entry='module')
# got:  raised RuntimeError: numel: integer multiplication overflow
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import io
import types
import torch.export

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((0,), (1,), 8)
upstream = torch.full((17,), torch.nan).as_strided((0, 0), (1, 1), 8)


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
        leaf, call = module(weight, **flags)
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
                    lambda: saved(exported_program(root, fed)).module(),
                )
                value = torch.func.functional_call(graph, dict.fromkeys(names, leaf), tensors)
                return value
            fed = (like_table(leaf), *examples(tensors))
            holder = torch.nn.Module()
            inside = lifted(call, leaf, inputs)

            object.__setattr__(holder, "forward", inside)
            graph = kept(
                lambda: saved(exported_program(holder, fed)).module(),
            )
            served = graph(leaf, *tensors)
            return served

        return leaf, again

    return built


def bits(values):
    return values.detach().contiguous().view(torch.uint8).reshape(-1).tolist()


def saved(found):
    file = io.BytesIO()
    torch.export.save(found, file)
    file.seek(0)
    loaded = torch.export.load(file)
    # The programs are served with the table of each case; what they themselves hold is looked at here.
    for name, parameter in found.state_dict.items():
        other = loaded.state_dict[name]
        if bits(other) != bits(parameter) or other.requires_grad != parameter.requires_grad:
            raise AssertionError(f"{name} came back with other bits, or another requires_grad")
    return loaded


def export_saved(**arguments):
    """Through torch.export, saved and loaded."""
    return backward(build=exported(), **arguments)


def module(weight, **flags):
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    return layer.weight, layer


def fresh(leaf, call, indices):
    pass


def backward(build, history, route, weight, indices, upstream, flags):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_()
    held = history(leaf, call, indices)
    leaf.grad = None

    def rebuild(table):
        # A layer that is built draws its first weights, which is not the lookup's doing.
        drawn = torch.get_rng_state()
        again = build(table, **flags)[1]
        torch.set_rng_state(drawn)
        return again

    seen = route(leaf, call, indices, upstream, rebuild)
    return {"held": held is None or held(), **seen}


def backward_call(leaf, call, indices, upstream, rebuild):
    value = call(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


try:
    seen = export_saved(weight=weight, indices=indices, upstream=upstream, history=fresh, route=backward_call, flags={})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'integer multiplication overflow' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
