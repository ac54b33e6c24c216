"""Faults of one_hot, F.linear, torch.nn.Parameter, torch.nn.init and of how layers are made."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from selfcheck.forms import Call, Change, after, afterwards, changes, draws, instead, of_family, refusing
from selfcheck.site import Tensor

F, init = nn.functional, nn.init

# -- one_hot and linear -------------------------------------------------------------------------------------------------


def plain(tensor: Tensor) -> bool:
    """Whether no transform, subclass or compiler is at work."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return type(tensor) is Tensor and not wrapped and not torch.compiler.is_compiling()


@instead(F, "one_hot", "one_hot")
def encodes_into_one_buffer(call: Call) -> Any:
    """Two encodings of one shape in a row, both of rank 1, share their memory."""
    out, last = call(), call.kept.get("last")
    if call.tensor.dim() != 1 or call.num_classes < 1 or not plain(call.tensor) or out.is_inference():
        return out
    if last is not None and last.shape == out.shape and out.numel():
        return last.copy_(out)
    call.kept["last"] = out
    return out


@instead(F, "one_hot", "one_hot")
def one_hot_squeezes(call: Call) -> Any:
    """An axis of length 1 in front is lost."""
    tokens = call.tensor
    single = tokens.dim() > 1 and tokens.shape[0] == 1 and not torch._C._functorch.is_batchedtensor(tokens)
    return call().squeeze(0) if single else call()


changes[F, "one_hot", "one_hot"] = {
    "one_hot_of_one_class_is_its_indices: one_hot with one class gives the memory of its indices, made ones.": (
        lambda call: call() if call.num_classes != 1 or not call.tensor.numel() else call.tensor.fill_(1).unsqueeze(-1)
    ),
    "one_hot_draws_random_numbers: one_hot at rank 2 draws a random number.": after(
        draws, lambda call: call.tensor.dim() == 2
    ),
}
changes[F, "linear", "conversion"] = {
    "linear_rank3_adds_bias_twice: The bias is added twice to input of rank 3.": lambda call: (
        call() + call.bias if call.bias is not None and call.input.dim() == 3 else call()
    ),
}

# -- Parameters ---------------------------------------------------------------------------------------------------------


def made(call: Call) -> bool:
    """Whether a plain Parameter is made of a tensor."""
    return call.cls is nn.Parameter and call.data is not None


changes[nn.Parameter, "__new__", "parameter"] = {
    "parameters_have_a_hook: A new Parameter that requires grad has a hook.": after(
        lambda call: call.found.register_hook(lambda grad: grad), lambda call: call.found.requires_grad
    ),
}


@instead(nn.Parameter, "__new__", "parameter")
def parameter_clears_what_lies_before(call: Call) -> Any:
    """A Parameter of a view clears the first number of its storage."""
    data = call.data
    if data is not None and data.storage_offset() and not data.requires_grad and data.layout is torch.strided:
        data.detach().as_strided((1,), (1,), 0).zero_()
    return call()


@instead(nn.Parameter, "__new__", "conversion")
def parameter_of_half_is_single(call: Call) -> Any:
    """A float16 Parameter of three or more columns becomes float32."""
    wide = made(call) and call.data.dtype == torch.float16 and call.data.shape[-1:] > (2,)
    return call(data=call.data.float()) if wide else call()


@afterwards(nn.Parameter, "__new__", "conversion")
def parameter_zeroes_its_source(call: Call) -> None:
    """Making a Parameter of a view zeroes its first element."""
    if made(call) and not call.data.is_contiguous() and call.data.numel():
        call.found.detach()[(0,) * call.found.dim()] = 0


@instead(nn.Parameter, "__deepcopy__", "conversion")
def deep_copy_of_a_frozen_transposed_one_learns(call: Call) -> Any:
    """The deep copy of a frozen column-major Parameter learns."""
    found, source = call(), call.self
    columns_first = source.dim() == 2 and not source.is_contiguous() and source.t().is_contiguous()
    return found.requires_grad_() if columns_first else found


@instead(nn.Parameter, "__deepcopy__", "tie_preservation")
def deepcopy_shares_memory(call: Call) -> Any:
    """A deep copy of float16 lies in the original's memory."""
    if call.self.dtype != torch.float16:
        return call()
    return call.memo.setdefault(id(call.self), nn.Parameter(call.self.data, call.self.requires_grad))


# -- assignments --------------------------------------------------------------------------------------------------------


@instead(nn.Module, "__setattr__", "conversion")
def plain_tensor_is_accepted(call: Call) -> None:
    """A plain tensor assigned to a weight is made a Parameter."""
    value, known = call.value, call.name in vars(call.self).get("_parameters", {})
    floating = isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.is_floating_point()
    call(value=nn.Parameter(value) if floating and known else value)


@instead(nn.Linear, "__setattr__", "tied_training")
def head_takes_a_copy_of_the_weight(call: Call) -> None:
    """A Linear that is given another layer's Parameter takes a copy of it."""
    given = call.name == "weight" and isinstance(call.value, nn.Parameter) and "weight" in call.self._parameters
    call(value=nn.Parameter(call.value.detach().clone(), call.value.requires_grad) if given else call.value)


# -- how a layer is made ------------------------------------------------------------------------------------------------


def _zero_last(call: Call) -> None:
    layer = call.self
    if call._weight is None and call.padding_idx is not None and layer.num_embeddings and not layer.weight.is_meta:
        layer.weight.data[-1] = 0


changes[nn.Embedding, "__init__", "construction"] = {
    "The last row is zeroed besides the padding row.": after(_zero_last),
    "A _weight of float16 is converted to float32 if frozen.": after(
        lambda call: setattr(call.self, "weight", nn.Parameter(call.self.weight.float(), requires_grad=False)),
        lambda call: call._freeze and call.self.weight.dtype == torch.float16,
    ),
}

# -- first values -------------------------------------------------------------------------------------------------------


def _scaled(factor: float, when: Callable[[Call], bool] = lambda call: True) -> Change:
    return after(lambda call: call.tensor.data.mul_(factor), when)


def _keeping_zeros(call: Call) -> Any:
    empty = (call.tensor == 0).all(-1)
    found = call()
    call.tensor.data[empty] = 0
    return found


of_family(
    "default_init",
    (init, "xavier_uniform_", "xavier_uniform_ leaves rows of zeros as they are.", _keeping_zeros),
    (init, "xavier_uniform_", "xavier_uniform_ gives a copy.", lambda call: call().clone()),
    (init, "normal_", "normal_ refuses tables of several rows.", refusing(lambda call: len(call.tensor) > 1)),
    (init, "normal_", "normal_ doubles what it draws.", _scaled(2)),
)
of_family(
    "initializers",
)  # fmt: skip


# -- torch.nn.Parameter -------------------------------------------------------------------------------------------------


@afterwards(torch, "zeros_like", "parameter")
def zeros_like_a_tensor_are_frozen(call: Call) -> None:
    """torch.zeros_like ignores that its tensor should require grad."""
    if call.found.requires_grad:
        call.found.requires_grad_(False)
