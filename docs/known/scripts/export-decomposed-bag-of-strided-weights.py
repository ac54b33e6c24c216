# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: BagCase(num_embeddings=1, embedding_dim=1, batch=True, weights='real', learns='weights', weights_layout='transposed')
# got:  raised RuntimeError: Autograd not support dtype: Long
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch.export

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((20,), 1515870810).as_strided((2, 2), (2, 1), 8).fill_(0)
upstream = torch.full((18,), torch.nan).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[573], [912]]))
sample_weights = torch.full((20,), torch.nan).as_strided((2, 2), (1, 2), 8).copy_(torch.tensor([[1.6881910562515259, 2.2448737621307373], [-2.446040630340576, -0.2580671012401581]], dtype=torch.float32))


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


def signature(*given):
    return None


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


def exported(build, strict, finish):
    def built(weight, **flags):
        leaf, call = build(weight, **flags)
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
                    lambda: finish(exported_program(root, fed)).module(),
                )
                value = torch.func.functional_call(graph, dict.fromkeys(names, leaf), tensors)
                return value
            fed = (like_table(leaf), *examples(tensors))
            holder = torch.nn.Module()
            inside = lifted(call, leaf, inputs)

            object.__setattr__(holder, "forward", inside)
            graph = kept(
                lambda: finish(exported_program(holder, fed)).module(),
            )
            served = graph(leaf, *tensors)
            return served

        return leaf, again

    return built


def decomposed(found):
    return found.run_decompositions()


def export_decomposed(**arguments):
    """Through torch.export and run_decompositions."""
    return bag(build=exported(functional, False, decomposed), **arguments)


def functional(weight, **flags):
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, per_sample_weights=samples, **flags
    )


def fresh(leaf, call, given):
    pass


def backward_call(leaf, call, given, upstream, rebuild):
    out = call(*given)
    out.backward(upstream)
    return {"value": out}


def surroundings():
    """What a call must leave as it is: grad mode, default dtype, threads, determinism and the random numbers."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state().numpy().tobytes(),
    )


def value(leaf, call, given, upstream, rebuild):
    return {"value": call(*given)}

Tensor = torch.Tensor

def bag(
    build,
    history,
    route,
    weight,
    indices,
    upstream,
    flags,
    learns,
    offsets=None,
    sample_weights=None,
):
    leaf, call = build(weight, **flags)
    frozen = not leaf.requires_grad
    learning = torch.is_grad_enabled()
    if learning:
        leaf.requires_grad_(learns in ("table", "both"))
        if sample_weights is not None:
            sample_weights.requires_grad_(learns in ("weights", "both"))
    given = (indices, offsets, sample_weights)
    held = history(leaf, call, given)
    leaves = [leaf] + ([] if sample_weights is None else [sample_weights])
    for tensor in leaves:
        tensor.grad = None
    watched = [t for t in (leaf, *given) if t is not None and not t.is_inference()]
    before = [t._version for t in watched]
    around = surroundings()

    def rebuild(table):
        # A layer that is built draws its first weights, which is not the bag's doing.
        drawn = torch.get_rng_state()
        again = build(table, **flags)[1]
        torch.set_rng_state(drawn)
        return again

    seen = (route if learning else value)(leaf, call, given, upstream, rebuild)
    memory = [t.untyped_storage().data_ptr() for t in (leaf, *given) if t is not None]
    out = seen["value"]
    seen["separate"] = out.numel() == 0 or out.untyped_storage().data_ptr() not in memory
    if learning:
        seen["weight_grad"] = seen.get("weight_grad", leaf.grad)
        seen["sample_grad"] = seen.get("sample_grad", None if sample_weights is None else sample_weights.grad)
    return {
        "versions": before == [t._version for t in watched],
        "surroundings": surroundings() == around,
        "plain": type(out) is Tensor,
        "frozen": frozen,
        "held": held is None or held(),
        "shares_table": leaf.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr(),
        **seen,
    }


try:
    seen = export_decomposed(weight=weight, indices=indices, upstream=upstream, sample_weights=sample_weights, history=fresh, route=backward_call, flags={'mode': 'sum'}, learns='weights')
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Autograd not support dtype: Long' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
