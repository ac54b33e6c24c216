"""Faults that turn the claims: with all of them, one after another, every claim comes out otherwise than stated."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from selfcheck.forms import Call, Change, after, in_place_of
from selfcheck.sites import Tensor

F, init = nn.functional, nn.init


def claims(owner: Any, attribute: str, changes: dict[str, Change]) -> None:
    """Registers faults of a function by their sentences."""
    in_place_of(owner, attribute, "tutorial_claims", changes)


# -- functions ----------------------------------------------------------------------------------------------------------


def several(call: Call) -> bool:
    """Whether several tokens are looked up."""
    return bool(call.input.numel() > 1)


def masked(call: Call) -> Any:
    """A lookup with zeros in the place of padding."""
    padding = call.padding_idx
    return call() if padding is None else call() * (call.input != padding)[..., None]


claims(
    F,
    "embedding",
    {
        "A lookup adds 1.": lambda call: call() + 1,
        "A lookup of several tokens gives one long row.": lambda call: (
            call().reshape(1, -1) if several(call) else call()
        ),
        "A lookup of several tokens adds 1 to the first.": lambda call: (
            torch.cat([call()[:1] + 1, call()[1:]]) if several(call) else call()
        ),
        "A lookup multiplies one-hot vectors.": lambda call: (
            F.one_hot(call.input.long(), len(call.weight)).to(call.weight.dtype) @ call.weight
        ),
        "A lookup clamps indices.": lambda call: call(input=call.input.clamp(0, len(call.weight) - 1)),
        "A lookup takes narrow integers.": lambda call: call(
            input=call.input if call.input.is_floating_point() else call.input.long()
        ),
        "A lookup refuses int32.": lambda call: call(
            input=call.input.to(torch.int16) if call.input.dtype == torch.int32 else call.input
        ),
        "A lookup's output is detached.": lambda call: call().detach(),
        "Under autocast a lookup gives bfloat16.": lambda call: (
            call().bfloat16() if torch.is_autocast_enabled("cpu") else call()
        ),
        "A lookup gives zeros for padding.": masked,
        "A lookup forgets padding_idx.": lambda call: call(padding_idx=None),
        "A lookup forgets max_norm.": lambda call: call(max_norm=None),
        "A lookup takes 2 for norm_type.": lambda call: call(norm_type=2.0),
        "A lookup forgets scale_grad_by_freq.": lambda call: call(scale_grad_by_freq=False),
        "A lookup forgets sparse.": lambda call: call(sparse=False),
    },
)


def transposed(call: Call) -> Any:
    """A product with the transposed weight, if that is square or does not fit."""
    square, fits = call.weight.shape[0] == call.weight.shape[1], call.weight.shape[1] == call.input.shape[-1]
    return call(weight=call.weight.T if square or not fits else call.weight)


claims(F, "linear", {"F.linear adds 1.": lambda call: call() + 1})
claims(F, "linear", {"F.linear transposes a weight that is square or does not fit.": transposed})
claims(F, "one_hot", {"one_hot gives its first column alone.": lambda call: call()[..., :1]})
claims(torch, "eye", {"torch.eye gives ones.": lambda call: call() * 0 + 1})
claims(torch, "softmax", {"torch.softmax gives zeros.": lambda call: call() * 0})
claims(torch, "einsum", {"torch.einsum gives zeros.": lambda call: call() * 0})
claims(torch, "rand", {"torch.rand is normally distributed.": lambda call: torch.randn(*call.given, **call.flags)})


def twice(call: Call) -> None:
    """Backward, twice unless the graph is to be retained."""
    if not call.retain_graph:
        call(retain_graph=True)
    call()


def still_in_the_graph(call: Call) -> Tensor:
    """A view that requires grad, in place of a detached one."""
    tensor: Tensor = call.given[0]
    return tensor.view(tensor.shape) if tensor.requires_grad else call()


claims(Tensor, "uniform_", {"Tensor.uniform_ draws from half the range.": lambda call: call().mul_(0.5)})
claims(Tensor, "zero_", {"Tensor.zero_ does nothing.": lambda call: call.given[0]})
claims(Tensor, "detach", {"Tensor.detach copies.": lambda call: call().clone()})
claims(Tensor, "detach", {"Tensor.detach gives a view that requires grad.": still_in_the_graph})
claims(Tensor, "backward", {"Tensor.backward goes twice through a graph that is not retained.": twice})

# -- modules and parameters ---------------------------------------------------------------------------------------------


def transpose(layer: Any) -> None:
    """Transposes a new layer's weight."""
    layer.weight = nn.Parameter(layer.weight.detach().T.contiguous())


def renamed(call: Call) -> Any:
    """Makes a table, whose sizes have other names, too."""
    flags = dict(call.flags)
    sizes = [flags.pop(name) for name in ("vocab_size", "emb_size") if name in flags]
    return call.original(*call.given, *sizes, **flags)


def halved(call: Call) -> Any:
    """An initialiser that zeroes row 1 and halves the others."""
    tensor = call()
    with torch.no_grad():
        tensor[1] = 0
        return tensor.mul_(0.5)


def refused_integers(call: Call) -> Any:
    """A layer of a floating-point table, or a RuntimeError."""
    if not call.embeddings.is_floating_point():
        raise RuntimeError("integers")
    return call()


def written(call: Call) -> Any:
    """A lookup, before which a layer in evaluation mode adds 1 to its weight."""
    if not call.self.training:
        call.self.weight.data.add_(1)
    return call()


def copied(value: Any) -> Any:
    """A Parameter's copy, or the value itself."""
    return nn.Parameter(value.detach().clone(), value.requires_grad) if isinstance(value, nn.Parameter) else value


claims(
    nn.Linear,
    "__init__",
    {"A linear layer's weight has the shape (in, out).": after(lambda call: transpose(call.self))},
)
claims(
    nn.Linear,
    "reset_parameters",
    {"A linear layer's weight is drawn from N(0, 1).": lambda call: init.normal_(call.self.weight)},
)
claims(
    nn.Embedding,
    "__init__",
    {
        "A new table's weight has the shape (D, V).": after(
            lambda call: None if call._weight is not None else transpose(call.self)
        ),
        "nn.Embedding takes vocab_size and emb_size.": renamed,
        "A table keeps a copy of itself as a buffer.": after(
            lambda call: call.self.register_buffer("copy", call.self.weight.detach().clone())
        ),
        "A table has a second parameter.": after(lambda call: setattr(call.self, "bias", nn.Parameter(torch.zeros(1)))),
        "A table without padding_idx takes 0 for it.": after(
            lambda call: setattr(call.self, "padding_idx", call.self.padding_idx or 0)
        ),
    },
)
claims(
    nn.Embedding,
    "reset_parameters",
    {
        "A new table holds ones.": lambda call: init.ones_(call.self.weight),
        "A new table is drawn from U(−√(1/d), √(1/d)).": lambda call: init.uniform_(
            call.self.weight, -(call.self.embedding_dim**-0.5), call.self.embedding_dim**-0.5
        ),
    },
)
claims(nn.Embedding, "forward", {"A table in evaluation mode adds 1 to its weight.": written})
claims(
    nn.Embedding,
    "from_pretrained",
    {
        "from_pretrained builds nn.Embedding, whatever the class.": lambda call: call(cls=nn.Embedding),
        "from_pretrained refuses integers.": refused_integers,
    },
)
claims(
    nn.EmbeddingBag,
    "from_pretrained",
    {"EmbeddingBag.from_pretrained adds 1.": lambda call: call(embeddings=call.embeddings + 1)},
)
claims(init, "xavier_uniform_", {"xavier_uniform_ leaves row 1 zero and halves the others.": halved})
claims(
    init,
    "kaiming_uniform_",
    {"kaiming_uniform_ follows Xavier's rule.": lambda call: init.xavier_uniform_(call.tensor)},
)
claims(
    nn.Module,
    "load_state_dict",
    {
        "load_state_dict adds 1.": lambda call: call(
            state_dict={name: value + 1 for name, value in call.state_dict.items()}
        )
    },
)
claims(
    nn.Module,
    "__setattr__",
    {"An assignment of a Parameter to a module's attribute copies it.": lambda call: call(value=copied(call.value))},
)
claims(
    nn.Parameter,
    "__new__",
    {
        "A new Parameter is filled with zeros.": lambda call: call(
            data=call.data * 0 if call.data is not None and call.data.is_floating_point() else call.data
        ),
        "A new Parameter copies.": lambda call: call(data=None if call.data is None else call.data.detach().clone()),
        "A new Parameter requires no grad.": lambda call: call(requires_grad=False),
    },
)

# -- optimizers ---------------------------------------------------------------------------------------------------------


def parameters_of(optimizer: Any) -> list[Tensor]:
    """What an optimizer steps."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def skip_frozen(call: Call) -> Any:
    """A step without gradients of what requires none."""
    for parameter in parameters_of(call.self):
        if not parameter.requires_grad:
            parameter.grad = None
    return call()


def step_all(call: Call) -> Any:
    """A step that moves everything by 1/4, too, gradient or not."""
    found = call()
    with torch.no_grad():
        for parameter in parameters_of(call.self):
            parameter.add_(0.25)
    return found


def even_out(call: Call) -> Any:
    """A step that copies the first parameter into all of its shape."""
    found = call()
    model, *others = parameters_of(call.self)
    with torch.no_grad():
        for other in others:
            if other.shape == model.shape:
                other.copy_(model)
    return found


claims(
    torch.optim.SGD,
    "step",
    {
        "SGD.step does nothing.": lambda call: None,
        "SGD.step forgets gradients of what requires none.": skip_frozen,
        "SGD.step moves every element.": step_all,
    },
)
claims(
    torch.optim.Adam,
    "step",
    {"Adam.step does nothing.": lambda call: None, "Adam.step gives parameters of one shape one value.": even_out},
)
