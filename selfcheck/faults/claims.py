"""Faults that turn the claims: with all of them, one after another, every claim comes out otherwise than stated."""

from typing import Any

import torch
from torch import nn

from selfcheck.forms import Call, after, changes, of_family
from selfcheck.site import Tensor

F, init = nn.functional, nn.init


# -- functions ----------------------------------------------------------------------------------------------------------


def _transposed(call: Call) -> Any:
    square, fits = call.weight.shape[0] == call.weight.shape[1], call.weight.shape[1] == call.input.shape[-1]
    return call(weight=call.weight.T if square or not fits else call.weight)


def _twice(call: Call) -> None:
    if not call.retain_graph:
        call(retain_graph=True)
    call()


def _still_in_the_graph(call: Call) -> Tensor:
    tensor: Tensor = call.given[0]
    return tensor.view(tensor.shape) if tensor.requires_grad else call()


changes[F, "embedding", "tutorial_claims"] = {
    "A lookup of several tokens gives one long row.": lambda call: (
        call().reshape(1, -1) if call.input.numel() > 1 else call()
    ),
    "A lookup of several tokens adds 1 to the first.": lambda call: (
        torch.cat([call()[:1] + 1, call()[1:]]) if call.input.numel() > 1 else call()
    ),
    "A lookup multiplies one-hot vectors.": lambda call: (
        F.one_hot(call.input.long(), len(call.weight)).to(call.weight.dtype) @ call.weight
    ),
    "A lookup clamps indices.": lambda call: call(input=call.input.clamp(0, len(call.weight) - 1)),
    "A lookup's output is detached.": lambda call: call().detach(),
}
# -- modules, parameters and steps --------------------------------------------------------------------------------------


def _transpose(layer: Any) -> None:
    layer.weight = nn.Parameter(layer.weight.detach().T.contiguous())


def _renamed(call: Call) -> Any:
    flags = dict(call.flags)
    sizes = [flags.pop(name) for name in ("vocab_size", "emb_size") if name in flags]
    return call.original(*call.given, *sizes, **flags)


def _written(call: Call) -> Any:
    if not call.self.training:
        call.self.weight.data.add_(1)
    return call()


def _copied(call: Call) -> None:
    value, given = call.value, isinstance(call.value, nn.Parameter)
    call(value=nn.Parameter(value.detach().clone(), value.requires_grad) if given else value)


def _zeroed(call: Call) -> Any:
    floating = call.data is not None and call.data.is_floating_point()
    return call(data=call.data * 0 if floating else call.data)


def _even_out(call: Call) -> None:
    """Copies the first parameter, or its first part, into all of that shape."""
    model, *others = [parameter for group in call.self.param_groups for parameter in group["params"]]
    for other in others:
        for given in (model, model[0]):
            if other.shape == given.shape:
                other.data.copy_(given)


changes[nn.Embedding, "__init__", "tutorial_claims"] = {
    "A new table's weight has the shape (D, V).": after(
        lambda call: _transpose(call.self), lambda call: call._weight is None
    ),
    "nn.Embedding takes vocab_size and emb_size.": _renamed,
    "A table has a second parameter.": after(lambda call: setattr(call.self, "bias", nn.Parameter(torch.zeros(1)))),
    "A table without padding_idx takes 0 for it.": after(
        lambda call: setattr(call.self, "padding_idx", call.self.padding_idx or 0)
    ),
}
changes[nn.Embedding, "reset_parameters", "tutorial_claims"] = {
    "A new table holds ones.": lambda call: init.ones_(call.self.weight),
    "A new table is drawn from U(−√(1/d), √(1/d)).": lambda call: init.uniform_(
        call.self.weight, -(call.self.embedding_dim**-0.5), call.self.embedding_dim**-0.5
    ),
}
_turned = after(lambda call: _transpose(call.self))
of_family(
    "tutorial_claims",
    (F, "linear", "F.linear transposes a weight that is square or does not fit.", _transposed),
    (torch, "eye", "torch.eye gives ones.", lambda call: call() * 0 + 1),
    (torch, "softmax", "torch.softmax gives zeros.", lambda call: call() * 0),
    (torch, "einsum", "torch.einsum gives zeros.", lambda call: call() * 0),
    (Tensor, "uniform_", "Tensor.uniform_ draws from half the range.", lambda call: call().mul_(0.5)),
    (Tensor, "zero_", "Tensor.zero_ does nothing.", lambda call: call.given[0]),
    (Tensor, "detach", "Tensor.detach copies.", lambda call: call().clone()),
    (Tensor, "detach", "Tensor.detach gives a view that requires grad.", _still_in_the_graph),
    (Tensor, "backward", "Tensor.backward goes twice through a graph that is not retained.", _twice),
    (nn.Linear, "__init__", "A linear layer's weight has the shape (in, out).", _turned),
    (nn.Embedding, "forward", "A table in evaluation mode adds 1 to its weight.", _written),
    (nn.Module, "load_state_dict", "load_state_dict adds 1.",
     lambda call: call(state_dict={name: value + 1 for name, value in call.state_dict.items()})),
    (nn.Module, "__setattr__", "An assignment of a Parameter to a module's attribute copies it.", _copied),
    (nn.Parameter, "__new__", "A new Parameter is filled with zeros.", _zeroed),
    (torch.optim.SGD, "step", "SGD.step does nothing.", lambda call: None),
    (torch.optim.Adam, "step", "Adam.step gives parameters of one shape one value.", after(_even_out)),
)  # fmt: skip
