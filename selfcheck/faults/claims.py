"""Faults that turn the claims: with all of them, one after another, every claim comes out otherwise than stated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.construction import replaced
from selfcheck.faults.entry import Embedding, embedding, flags_changed, functional, out_changed
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.layers import init, pretrained, weight_of

Linear, Module, Parameter = torch.nn.Linear, torch.nn.Module, torch.nn.Parameter
SGD, Adam = torch.optim.SGD, torch.optim.Adam


def looked_up(tokens: Any, **flags: Any) -> Tensor:
    """Rows of the table 1 2, 3 4, 5 6."""
    return functional.embedding(torch.as_tensor(tokens), weight_of(), **flags)


def always(*given: Any) -> bool:
    """Whatever is looked up."""
    return True


def raises(function: Callable[[], Any]) -> bool:
    """Whether a call is refused."""
    try:
        function()
    except (RuntimeError, IndexError, TypeError):
        return True
    return False


def fault(name: str, sentence: str, owner: Any, attribute: str, change: Callable[..., Any]) -> None:
    """A fault of the claims: ``change(original, *arguments)`` in the place of ``owner.attribute``."""
    replaced(name, "tutorial_claims", sentence, attribute, change, owner)


# -- the lookup ----------------------------------------------------------------------------------------------------

embedding(
    "claimed_lookup_adds_one", "tutorial_claims", "A lookup adds 1.", out_changed(always, lambda out, i, w: out + 1)
)
embedding("claimed_lookup_is_flat", "tutorial_claims", "A lookup of several tokens gives one long row.",
          out_changed(lambda i, w, flags: i.numel() > 1, lambda out, i, w: out.reshape(1, -1)))  # fmt: skip
embedding("claimed_first_token_alone_differs", "tutorial_claims", "A lookup of several tokens adds 1 to the first.",
          out_changed(lambda i, w, flags: i.numel() > 1, lambda out, i, w: torch.cat([out[:1] + 1, out[1:]])))  # fmt: skip
embedding("claimed_lookup_is_a_product", "tutorial_claims", "A lookup multiplies one-hot vectors, and so knows no padding.",
          lambda original, i, w, **flags: functional.one_hot(i.long(), len(w)).to(w.dtype) @ w)  # fmt: skip
embedding("claimed_lookup_clamps", "tutorial_claims", "A lookup clamps indices.",
          lambda original, i, w, **flags: original(i.clamp(0, len(w) - 1), w, **flags))  # fmt: skip
embedding("claimed_lookup_takes_any_integer", "tutorial_claims", "A lookup takes narrow integers.",
          lambda original, i, w, **flags: original(i if i.is_floating_point() else i.long(), w, **flags))  # fmt: skip
embedding("claimed_lookup_refuses_int32", "tutorial_claims", "A lookup refuses int32.",
          lambda original, i, w, **flags: original(i.to(torch.int16) if i.dtype == torch.int32 else i, w, **flags))  # fmt: skip
embedding("claimed_lookup_is_cut_off", "tutorial_claims", "A lookup's output is detached.",
          out_changed(always, lambda out, i, w: out.detach()))  # fmt: skip
embedding("claimed_lookup_is_autocast", "tutorial_claims", "Under autocast a lookup gives bfloat16.",
          out_changed(lambda *given: torch.is_autocast_enabled("cpu"), lambda out, i, w: out.bfloat16()))  # fmt: skip
embedding("claimed_padding_is_masked", "tutorial_claims", "A lookup gives zeros for padding.",
          lambda original, i, w, **flags: masked(original(i, w, **flags), i, flags["padding_idx"]))  # fmt: skip
embedding("claimed_padding_is_forgotten", "tutorial_claims", "A lookup forgets padding_idx.",
          flags_changed(padding_idx=lambda flags, i, w: None))  # fmt: skip
embedding("claimed_max_norm_is_forgotten", "tutorial_claims", "A lookup forgets max_norm.",
          flags_changed(max_norm=lambda flags, i, w: None))  # fmt: skip
embedding("claimed_norm_type_is_forgotten", "tutorial_claims", "A lookup takes 2 for norm_type.",
          flags_changed(norm_type=lambda flags, i, w: 2.0))  # fmt: skip
embedding("claimed_frequency_is_forgotten", "tutorial_claims", "A lookup forgets scale_grad_by_freq.",
          flags_changed(scale_grad_by_freq=lambda flags, i, w: False))  # fmt: skip
embedding("claimed_sparse_is_forgotten", "tutorial_claims", "A lookup forgets sparse.",
          flags_changed(sparse=lambda flags, i, w: False))  # fmt: skip


def masked(out: Tensor, tokens: Tensor, padding: int | None) -> Tensor:
    """Zeros in the place of padding."""
    return out if padding is None else out * (tokens != padding)[..., None]


# -- other functions -----------------------------------------------------------------------------------------------

fault(
    "claimed_linear_adds_one", "F.linear adds 1.", functional, "linear", lambda original, *given: original(*given) + 1
)
fault(
    "claimed_linear_turns_weights",
    "F.linear transposes a weight that is square or does not fit.",
    functional,
    "linear",
    lambda original, x, w, b=None: original(x, w.T if w.shape[0] == w.shape[1] or w.shape[1] != x.shape[-1] else w, b),
)
fault(
    "claimed_eye_is_full",
    "torch.eye gives ones.",
    torch,
    "eye",
    lambda original, n, **more: original(n, **more) * 0 + 1,
)
fault(
    "claimed_one_hot_is_narrow",
    "one_hot gives its first column alone.",
    functional,
    "one_hot",
    lambda original, *given: original(*given)[..., :1],
)
fault("claimed_softmax_is_zero", "torch.softmax gives zeros.", torch, "softmax",
      lambda original, *given, **more: original(*given, **more) * 0)  # fmt: skip
fault(
    "claimed_einsum_is_zero",
    "torch.einsum gives zeros.",
    torch,
    "einsum",
    lambda original, *given: original(*given) * 0,
)
fault("claimed_rand_is_normal", "torch.rand is normally distributed.", torch, "rand",
      lambda original, *size, **more: torch.randn(*size, **more))  # fmt: skip
fault("claimed_uniform_is_narrow", "Tensor.uniform_ draws from half the range.", torch.Tensor, "uniform_",
      lambda original, self, *given, **more: original(self, *given, **more).mul_(0.5))  # fmt: skip
fault("claimed_zeroing_does_nothing", "Tensor.zero_ does nothing.", torch.Tensor, "zero_", lambda original, self: self)  # fmt: skip
fault(
    "claimed_detach_copies",
    "Tensor.detach copies.",
    torch.Tensor,
    "detach",
    lambda original, self: original(self).clone(),
)
fault("claimed_detach_keeps_the_graph", "Tensor.detach gives a view that requires grad.", torch.Tensor, "detach",
      lambda original, self: self.view(self.shape) if self.requires_grad else original(self))  # fmt: skip
fault("claimed_backward_is_doubled", "Tensor.backward goes twice through a graph that is not retained.", torch.Tensor, "backward",
      lambda original, self, *given, **more: twice(original, self, *given, **more))  # fmt: skip


def twice(original: Callable[..., Any], self: Tensor, *given: Any, **more: Any) -> None:
    """Backward, twice unless the graph is to be retained."""
    if more.get("retain_graph"):
        original(self, *given, **more)
        return
    original(self, *given, **more | {"retain_graph": True})
    original(self, *given, **more)


# -- modules and parameters ----------------------------------------------------------------------------------------

fault("claimed_linear_is_turned", "A linear layer's weight has the shape (in, out).", Linear, "__init__",
      lambda original, self, *given, **more: (original(self, *given, **more), turn(self))[0])  # fmt: skip
fault(
    "claimed_linear_is_normal",
    "A linear layer's weight is drawn from N(0, 1).",
    Linear,
    "reset_parameters",
    lambda original, self: (original(self), torch.nn.init.normal_(self.weight))[0],
)
fault("claimed_table_is_turned", "A new table's weight has the shape (D, V).", Embedding, "__init__",
      lambda original, self, *given, **more: turned_table(original, self, *given, **more))  # fmt: skip
fault("claimed_table_takes_other_names", "nn.Embedding takes vocab_size and emb_size.", Embedding, "__init__",
      lambda original, self, *given, vocab_size=None, emb_size=None, **more: original(
          self, *([vocab_size, emb_size] if vocab_size else given), **more))  # fmt: skip
fault("claimed_table_is_constant", "A new table holds ones.", Embedding, "reset_parameters",
      lambda original, self: (original(self), torch.nn.init.ones_(self.weight))[0])  # fmt: skip
fault(
    "claimed_first_values_are_uniform",
    "A new table is drawn from U(−√(1/d), √(1/d)).",
    Embedding,
    "reset_parameters",
    lambda original, self: torch.nn.init.uniform_(self.weight, -(self.embedding_dim**-0.5), self.embedding_dim**-0.5),
)
fault("claimed_xavier_ignores_padding", "xavier_uniform_ leaves row 1 zero and halves the "
"others.", torch.nn.init, "xavier_uniform_",
      lambda original, tensor, *given: (original(tensor, *given), halve(tensor))[0])  # fmt: skip
fault(
    "claimed_kaiming_is_xavier",
    "kaiming_uniform_ follows Xavier's rule.",
    torch.nn.init,
    "kaiming_uniform_",
    lambda original, tensor, *given, **more: torch.nn.init.xavier_uniform_(tensor),
)
init("claimed_table_is_kept_twice", "tutorial_claims", "A table keeps a copy of itself as a buffer.",
     lambda self, weight, padding: self.register_buffer("copy", self.weight.detach().clone()))  # fmt: skip
init("claimed_table_has_a_bias", "tutorial_claims", "A table has a second parameter.",
     lambda self, weight, padding: setattr(self, "bias", Parameter(torch.zeros(self.embedding_dim))))  # fmt: skip
init("claimed_row_zero_is_padding", "tutorial_claims", "A table without padding_idx takes 0 for it.",
     lambda self, weight, padding: setattr(self, "padding_idx", 0 if padding is None else self.padding_idx))  # fmt: skip
fault("claimed_eval_writes", "A table in evaluation mode adds 1 to its weight.", Embedding, "forward",
      lambda original, self, tokens: (None if self.training else self.weight.data.add_(1), original(self, tokens))[1])  # fmt: skip
fault("claimed_loading_adds_one", "load_state_dict adds 1.", Module, "load_state_dict",
      lambda original, self, state, **more: original(self, {name: value + 1 for name, value in state.items()}, **more))  # fmt: skip
fault(
    "claimed_assignment_copies",
    "Assigning a Parameter to a module's attribute copies it.",
    Module,
    "__setattr__",
    lambda original, self, name, value: original(
        self, name, Parameter(value.detach().clone(), value.requires_grad) if isinstance(value, Parameter) else value
    ),
)
fault("claimed_parameter_is_zero", "A new Parameter is filled with zeros.", Parameter, "__new__",
      lambda original, cls, data=None, requires_grad=True: original(
          cls, data if data is None or not data.is_floating_point() else data * 0, requires_grad))  # fmt: skip
fault("claimed_parameter_copies", "A new Parameter copies.", Parameter, "__new__",
      lambda original, cls, data=None, requires_grad=True: original(
          cls, None if data is None else data.detach().clone(), requires_grad))  # fmt: skip
fault("claimed_parameter_is_frozen", "A new Parameter requires no grad.", Parameter, "__new__",
      lambda original, cls, data=None, requires_grad=True: original(cls, data, False))  # fmt: skip
pretrained("claimed_pretrained_of_a_class", "tutorial_claims", "from_pretrained builds nn.Embedding, whatever the class.",
           lambda original, cls, embeddings, flags: original(Embedding, embeddings, **flags))  # fmt: skip
pretrained("claimed_pretrained_refuses_integers", "tutorial_claims", "from_pretrained refuses integers.",
           lambda original, cls, embeddings, flags: original(cls, refused_integers(embeddings), **flags))  # fmt: skip
fault("claimed_bag_pretrained_adds_one", "EmbeddingBag.from_pretrained adds 1.", torch.nn.EmbeddingBag, "from_pretrained",
      lambda original, cls, embeddings, **flags: original(cls, embeddings + 1, **flags))  # fmt: skip


def turn(layer: Any) -> Any:
    """Transposes a new layer's weight."""
    layer.weight = Parameter(layer.weight.detach().T.contiguous())


def turned_table(original: Callable[..., Any], self: Any, *given: Any, **more: Any) -> None:
    """Makes a table, and turns it unless it is given."""
    original(self, *given, **more)
    if more.get("_weight") is None:
        turn(self)


def halve(tensor: Tensor) -> Any:
    """Zeroes row 1 and halves the others."""
    with torch.no_grad():
        tensor[1] = 0
        tensor.mul_(0.5)


def refused_integers(embeddings: Tensor) -> Tensor:
    """A floating-point table, or a RuntimeError."""
    if not embeddings.is_floating_point():
        raise RuntimeError("integers")
    return embeddings


# -- optimizers ----------------------------------------------------------------------------------------------------

fault("claimed_sgd_stands_still", "SGD.step does nothing.", SGD, "step", lambda original, self, closure=None: None)  # fmt: skip
fault("claimed_sgd_skips_frozen", "SGD.step forgets gradients of what requires none.", SGD, "step",
      lambda original, self, closure=None: (forget(self), original(self))[1])  # fmt: skip
fault("claimed_sgd_steps_all", "SGD.step moves every element.", SGD, "step",
      lambda original, self, closure=None: (original(self), shift(self))[0])  # fmt: skip
fault("claimed_adam_stands_still", "Adam.step does nothing.", Adam, "step", lambda original, self, closure=None: None)  # fmt: skip
fault("claimed_adam_evens_out", "Adam.step gives parameters of one shape one value.", Adam, "step",
      lambda original, self, closure=None: (original(self), even_out(self))[0])  # fmt: skip


def parameters_of(optimizer: Any) -> list[Tensor]:
    """What an optimizer steps."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def forget(optimizer: Any) -> Any:
    """Drops the gradients of what requires none."""
    for parameter in parameters_of(optimizer):
        if not parameter.requires_grad:
            parameter.grad = None


def shift(optimizer: Any) -> Any:
    """Moves everything by 1/4, gradient or not."""
    with torch.no_grad():
        for parameter in parameters_of(optimizer):
            parameter.add_(0.25)


def even_out(optimizer: Any) -> Any:
    """Copies the first parameter into all of its shape."""
    first, *others = parameters_of(optimizer)
    with torch.no_grad():
        for other in others:
            if other.shape == first.shape:
                other.copy_(first)
