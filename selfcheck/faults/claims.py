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


def fault(
    name: str, sentence: str, owner: Any, attribute: str, change: Callable[..., Any], witness: Callable[[], bool]
) -> None:
    """A fault of the claims: ``change(original, *arguments)`` in the place of ``owner.attribute``."""
    replaced(name, "tutorial_claims", sentence, attribute, change, witness, owner)


# -- the lookup ----------------------------------------------------------------------------------------------------

embedding("claimed_lookup_adds_one", "tutorial_claims", "A lookup adds 1.", out_changed(always, lambda out, i, w: out + 1),
          lambda: float(looked_up([0])[0, 0]) == 2)  # fmt: skip
embedding("claimed_lookup_is_flat", "tutorial_claims", "A lookup of several tokens gives one long row.",
          out_changed(lambda i, w, flags: i.numel() > 1, lambda out, i, w: out.reshape(1, -1)),
          lambda: looked_up([0, 1]).shape == (1, 4))  # fmt: skip
embedding("claimed_first_token_alone_differs", "tutorial_claims", "A lookup of several tokens adds 1 to the first.",
          out_changed(lambda i, w, flags: i.numel() > 1, lambda out, i, w: torch.cat([out[:1] + 1, out[1:]])),
          lambda: float(looked_up([0, 0])[0, 0]) == 2)  # fmt: skip
embedding("claimed_lookup_is_a_product", "tutorial_claims", "A lookup multiplies one-hot vectors, and so knows no padding.",
          lambda original, i, w, **flags: functional.one_hot(i.long(), len(w)).to(w.dtype) @ w,
          lambda: looked_up_graph() == "MmBackward0")  # fmt: skip
embedding("claimed_lookup_clamps", "tutorial_claims", "A lookup clamps indices.",
          lambda original, i, w, **flags: original(i.clamp(0, len(w) - 1), w, **flags),
          lambda: not raises(lambda: looked_up([3])))  # fmt: skip
embedding("claimed_lookup_takes_any_integer", "tutorial_claims", "A lookup takes narrow integers.",
          lambda original, i, w, **flags: original(i if i.is_floating_point() else i.long(), w, **flags),
          lambda: not raises(lambda: functional.embedding(torch.tensor([0], dtype=torch.int16), weight_of())))  # fmt: skip
embedding("claimed_lookup_refuses_int32", "tutorial_claims", "A lookup refuses int32.",
          lambda original, i, w, **flags: original(i.to(torch.int16) if i.dtype == torch.int32 else i, w, **flags),
          lambda: raises(lambda: functional.embedding(torch.tensor([0], dtype=torch.int32), weight_of())))  # fmt: skip
embedding("claimed_lookup_is_cut_off", "tutorial_claims", "A lookup's output is detached.",
          out_changed(always, lambda out, i, w: out.detach()),
          lambda: not functional.embedding(torch.tensor([0]), weight_of().requires_grad_()).requires_grad)  # fmt: skip
embedding("claimed_lookup_is_autocast", "tutorial_claims", "Under autocast a lookup gives bfloat16.",
          out_changed(lambda *given: torch.is_autocast_enabled("cpu"), lambda out, i, w: out.bfloat16()),
          lambda: autocast_lookup().dtype == torch.bfloat16)  # fmt: skip
embedding("claimed_padding_is_masked", "tutorial_claims", "A lookup gives zeros for padding.",
          lambda original, i, w, **flags: masked(original(i, w, **flags), i, flags["padding_idx"]),
          lambda: float(looked_up([1], padding_idx=1).sum()) == 0)  # fmt: skip
embedding("claimed_padding_is_forgotten", "tutorial_claims", "A lookup forgets padding_idx.",
          flags_changed(padding_idx=lambda flags, i, w: None), lambda: bool(gradient(padding_idx=1).any()))  # fmt: skip
embedding("claimed_max_norm_is_forgotten", "tutorial_claims", "A lookup forgets max_norm.",
          flags_changed(max_norm=lambda flags, i, w: None), lambda: float(looked_up([0], max_norm=0.5).norm()) > 1)  # fmt: skip
embedding("claimed_norm_type_is_forgotten", "tutorial_claims", "A lookup takes 2 for norm_type.",
          flags_changed(norm_type=lambda flags, i, w: 2.0),
          lambda: float(looked_up([0], max_norm=1.0, norm_type=1.0).sum()) > 1.2)  # fmt: skip
embedding("claimed_frequency_is_forgotten", "tutorial_claims", "A lookup forgets scale_grad_by_freq.",
          flags_changed(scale_grad_by_freq=lambda flags, i, w: False),
          lambda: float(gradient(scale_grad_by_freq=True)[1, 0]) == 2)  # fmt: skip
embedding("claimed_sparse_is_forgotten", "tutorial_claims", "A lookup forgets sparse.",
          flags_changed(sparse=lambda flags, i, w: False), lambda: not gradient(sparse=True).is_sparse)  # fmt: skip


def looked_up_graph() -> str:
    """The name of a lookup's backward."""
    return type(functional.embedding(torch.tensor([0]), weight_of().requires_grad_()).grad_fn).__name__


def autocast_lookup() -> Tensor:
    """A lookup under autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return looked_up([0])


def masked(out: Tensor, tokens: Tensor, padding: int | None) -> Tensor:
    """Zeros in the place of padding."""
    return out if padding is None else out * (tokens != padding)[..., None]


def gradient(**flags: Any) -> Tensor:
    """The gradient of looking up token 1 twice, summed."""
    weight = weight_of().requires_grad_()
    functional.embedding(torch.tensor([1, 1]), weight, **flags).sum().backward()
    assert weight.grad is not None
    return weight.grad


# -- other functions -----------------------------------------------------------------------------------------------

fault("claimed_linear_adds_one", "F.linear adds 1.", functional, "linear", lambda original, *given: original(*given) + 1,
      lambda: float(functional.linear(torch.zeros(1), torch.zeros(1, 1))) == 1)  # fmt: skip
fault("claimed_linear_turns_weights", "F.linear transposes a weight that is square or does not fit.", functional, "linear",
      lambda original, x, w, b=None: original(x, w.T if w.shape[0] == w.shape[1] or w.shape[1] != x.shape[-1] else w, b),
      lambda: not raises(lambda: functional.linear(torch.zeros(3), torch.zeros(3, 2))))  # fmt: skip
fault("claimed_eye_is_full", "torch.eye gives ones.", torch, "eye", lambda original, n, **more: original(n, **more) * 0 + 1,
      lambda: bool(torch.eye(2).all()))  # fmt: skip
fault("claimed_one_hot_is_narrow", "one_hot gives its first column alone.", functional, "one_hot",
      lambda original, *given: original(*given)[..., :1],
      lambda: functional.one_hot(torch.tensor([1])).shape == (1, 1))  # fmt: skip
fault("claimed_softmax_is_zero", "torch.softmax gives zeros.", torch, "softmax",
      lambda original, *given, **more: original(*given, **more) * 0,
      lambda: not bool(torch.softmax(torch.zeros(1), 0)))  # fmt: skip
fault("claimed_einsum_is_zero", "torch.einsum gives zeros.", torch, "einsum", lambda original, *given: original(*given) * 0,
      lambda: not bool(torch.einsum("i->", torch.ones(1))))  # fmt: skip
fault("claimed_rand_is_normal", "torch.rand is normally distributed.", torch, "rand",
      lambda original, *size, **more: torch.randn(*size, **more), lambda: not_in_unit_interval())  # fmt: skip
fault("claimed_uniform_is_narrow", "Tensor.uniform_ draws from half the range.", torch.Tensor, "uniform_",
      lambda original, self, *given, **more: original(self, *given, **more).mul_(0.5),
      lambda: float(torch.zeros(1000).uniform_(-1, 1).abs().max()) <= 0.5)  # fmt: skip
fault("claimed_zeroing_does_nothing", "Tensor.zero_ does nothing.", torch.Tensor, "zero_", lambda original, self: self,
      lambda: bool(torch.ones(1).zero_()))  # fmt: skip
fault("claimed_detach_copies", "Tensor.detach copies.", torch.Tensor, "detach", lambda original, self: original(self).clone(),
      lambda: shares_not(lambda x: x.detach()))  # fmt: skip
fault("claimed_detach_keeps_the_graph", "Tensor.detach gives a view that requires grad.", torch.Tensor, "detach",
      lambda original, self: self.view(self.shape) if self.requires_grad else original(self),
      lambda: torch.ones(1, requires_grad=True).detach().requires_grad)  # fmt: skip
fault("claimed_backward_is_doubled", "Tensor.backward goes twice through a graph that is not retained.", torch.Tensor, "backward",
      lambda original, self, *given, **more: twice(original, self, *given, **more), lambda: doubled())  # fmt: skip


def not_in_unit_interval() -> bool:
    """Whether torch.rand leaves [0, 1)."""
    with torch.random.fork_rng(devices=[]):
        return float(torch.rand(1000).min()) < 0


def shares_not(function: Callable[[Tensor], Tensor]) -> bool:
    """Whether a function of a tensor gives other memory."""
    tensor = torch.ones(2)
    return function(tensor).data_ptr() != tensor.data_ptr()


def twice(original: Callable[..., Any], self: Tensor, *given: Any, **more: Any) -> None:
    """Backward, twice unless the graph is to be retained."""
    if more.get("retain_graph"):
        original(self, *given, **more)
        return
    original(self, *given, **more | {"retain_graph": True})
    original(self, *given, **more)


def doubled() -> bool:
    """Whether the gradient of x is 2."""
    x = torch.ones(1, requires_grad=True)
    (x * 1).sum().backward()
    return x.grad is not None and float(x.grad) == 2


# -- modules and parameters ----------------------------------------------------------------------------------------

fault("claimed_linear_is_turned", "A linear layer's weight has the shape (in, out).", Linear, "__init__",
      lambda original, self, *given, **more: (original(self, *given, **more), turn(self))[0],
      lambda: Linear(2, 3).weight.shape == (2, 3))  # fmt: skip
fault("claimed_linear_is_normal", "A linear layer's weight is drawn from N(0, 1).", Linear, "reset_parameters",
      lambda original, self: (original(self), torch.nn.init.normal_(self.weight))[0],
      lambda: float(Linear(100, 100).weight.detach().abs().max()) > 1)  # fmt: skip
fault("claimed_table_is_turned", "A new table's weight has the shape (D, V).", Embedding, "__init__",
      lambda original, self, *given, **more: turned_table(original, self, *given, **more),
      lambda: Embedding(2, 3).weight.shape == (3, 2))  # fmt: skip
fault("claimed_table_takes_other_names", "nn.Embedding takes vocab_size and emb_size.", Embedding, "__init__",
      lambda original, self, *given, vocab_size=None, emb_size=None, **more: original(
          self, *([vocab_size, emb_size] if vocab_size else given), **more),
      lambda: not raises(lambda: by_other_names()))  # fmt: skip
fault("claimed_table_is_constant", "A new table holds ones.", Embedding, "reset_parameters",
      lambda original, self: (original(self), torch.nn.init.ones_(self.weight))[0],
      lambda: bool((Embedding(2, 2).weight == 1).all()))  # fmt: skip
fault("claimed_first_values_are_uniform", "A new table is drawn from U(−√(1/d), √(1/d)).", Embedding, "reset_parameters",
      lambda original, self: torch.nn.init.uniform_(self.weight, -(self.embedding_dim**-0.5), self.embedding_dim**-0.5),
      lambda: float(Embedding(10, 100).weight.detach().abs().max()) <= 0.1)  # fmt: skip
fault("claimed_xavier_ignores_padding", "xavier_uniform_ leaves row 1 zero and halves the "
"others.", torch.nn.init, "xavier_uniform_",
      lambda original, tensor, *given: (original(tensor, *given), halve(tensor))[0],
      lambda: not bool(torch.nn.init.xavier_uniform_(torch.ones(3, 2))[1].any()))  # fmt: skip
fault("claimed_kaiming_is_xavier", "kaiming_uniform_ follows Xavier's rule.", torch.nn.init, "kaiming_uniform_",
      lambda original, tensor, *given, **more: torch.nn.init.xavier_uniform_(tensor),
      lambda: float(torch.nn.init.kaiming_uniform_(torch.ones(1000, 2)).abs().max()) < 0.1)  # fmt: skip
init("claimed_table_is_kept_twice", "tutorial_claims", "A table keeps a copy of itself as a buffer.",
     lambda self, weight, padding: self.register_buffer("copy", self.weight.detach().clone()),
     lambda: len(Embedding(2, 2).state_dict()) == 2)  # fmt: skip
init("claimed_table_has_a_bias", "tutorial_claims", "A table has a second parameter.",
     lambda self, weight, padding: setattr(self, "bias", Parameter(torch.zeros(self.embedding_dim))),
     lambda: len(list(Embedding(2, 2).parameters())) == 2)  # fmt: skip
init("claimed_row_zero_is_padding", "tutorial_claims", "A table without padding_idx takes 0 for it.",
     lambda self, weight, padding: setattr(self, "padding_idx", 0 if padding is None else self.padding_idx),
     lambda: Embedding(2, 2).padding_idx == 0)  # fmt: skip
fault("claimed_eval_writes", "A table in evaluation mode adds 1 to its weight.", Embedding, "forward",
      lambda original, self, tokens: (None if self.training else self.weight.data.add_(1), original(self, tokens))[1],
      lambda: float(written_by_eval()) == 2)  # fmt: skip
fault("claimed_loading_adds_one", "load_state_dict adds 1.", Module, "load_state_dict",
      lambda original, self, state, **more: original(self, {name: value + 1 for name, value in state.items()}, **more),
      lambda: loaded_one() == 2)  # fmt: skip
fault("claimed_assignment_copies", "Assigning a Parameter to a module's attribute copies it.", Module, "__setattr__",
      lambda original, self, name, value: original(
          self, name, Parameter(value.detach().clone(), value.requires_grad) if isinstance(value, Parameter) else value),
      lambda: assigned_is_other())  # fmt: skip
fault("claimed_parameter_is_zero", "A new Parameter is filled with zeros.", Parameter, "__new__",
      lambda original, cls, data=None, requires_grad=True: original(
          cls, data if data is None or not data.is_floating_point() else data * 0, requires_grad),
      lambda: not bool(Parameter(torch.ones(1)).any()))  # fmt: skip
fault("claimed_parameter_copies", "A new Parameter copies.", Parameter, "__new__",
      lambda original, cls, data=None, requires_grad=True: original(
          cls, None if data is None else data.detach().clone(), requires_grad),
      lambda: shares_not(Parameter))  # fmt: skip
fault("claimed_parameter_is_frozen", "A new Parameter requires no grad.", Parameter, "__new__",
      lambda original, cls, data=None, requires_grad=True: original(cls, data, False),
      lambda: not Parameter(torch.ones(1)).requires_grad)  # fmt: skip
pretrained("claimed_pretrained_of_a_class", "tutorial_claims", "from_pretrained builds nn.Embedding, whatever the class.",
           lambda original, cls, embeddings, flags: original(Embedding, embeddings, **flags),
           lambda: type(subclass().from_pretrained(weight_of())) is Embedding)  # fmt: skip
pretrained("claimed_pretrained_refuses_integers", "tutorial_claims", "from_pretrained refuses integers.",
           lambda original, cls, embeddings, flags: original(cls, refused_integers(embeddings), **flags),
           lambda: raises(lambda: Embedding.from_pretrained(torch.ones(2, 2).long())))  # fmt: skip
fault("claimed_bag_pretrained_adds_one", "EmbeddingBag.from_pretrained adds 1.", torch.nn.EmbeddingBag, "from_pretrained",
      lambda original, cls, embeddings, **flags: original(cls, embeddings + 1, **flags),
      lambda: float(torch.nn.EmbeddingBag.from_pretrained(torch.zeros(1, 1)).weight) == 1)  # fmt: skip


def by_other_names() -> Any:
    """A table by keywords that nn.Embedding does not take."""
    names: dict[str, Any] = {"vocab_size": 2, "emb_size": 2}
    return Embedding(**names)


def subclass() -> Any:
    """A subclass of nn.Embedding."""
    return type("Sub", (Embedding,), {})


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


def written_by_eval() -> Tensor:
    """A table of one, after a lookup in evaluation mode."""
    layer = Embedding(1, 1, _weight=torch.ones(1, 1)).eval()
    layer(torch.tensor([0]))
    return layer.weight.detach()


def loaded_one() -> float:
    """A table that ones were loaded into."""
    layer = Embedding(1, 1)
    layer.load_state_dict({"weight": torch.ones(1, 1)})
    return float(layer.weight)


def assigned_is_other() -> bool:
    """Whether a module has another Parameter than it was given."""
    layer, parameter = Embedding(1, 1), Parameter(torch.ones(1, 1))
    layer.weight = parameter
    return layer.weight is not parameter


# -- optimizers ----------------------------------------------------------------------------------------------------

fault("claimed_sgd_stands_still", "SGD.step does nothing.", SGD, "step", lambda original, self, closure=None: None,
      lambda: stepped(SGD) == 1)  # fmt: skip
fault("claimed_sgd_skips_frozen", "SGD.step forgets gradients of what requires none.", SGD, "step",
      lambda original, self, closure=None: (forget(self), original(self))[1], lambda: stepped(SGD, frozen=True) == 1)  # fmt: skip
fault("claimed_sgd_steps_all", "SGD.step moves every element.", SGD, "step",
      lambda original, self, closure=None: (original(self), shift(self))[0], lambda: stepped(SGD) != 0.5)  # fmt: skip
fault("claimed_adam_stands_still", "Adam.step does nothing.", Adam, "step", lambda original, self, closure=None: None,
      lambda: stepped(Adam) == 1)  # fmt: skip
fault("claimed_adam_evens_out", "Adam.step gives parameters of one shape one value.", Adam, "step",
      lambda original, self, closure=None: (original(self), even_out(self))[0], lambda: evened_out())  # fmt: skip


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


def stepped(optimizer: Any, frozen: bool = False) -> float:
    """What becomes of 1 with the gradient 1 and the learning rate 1/2."""
    x = torch.ones(1, requires_grad=not frozen)
    x.grad = torch.ones(1)
    optimizer([x], lr=0.5).step()
    return float(x.detach())


def evened_out() -> bool:
    """Whether two parameters become one value."""
    x, y = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    x.grad = y.grad = torch.ones(1)
    Adam([x, y], lr=0.5).step()
    return bool(x == y)
