"""Faults of Parameters and modules: conversion, tying, and what may happen to a tied model."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import fault, patched
from embcheck.faults.entries import entry
from embcheck.faults.reference import Tensor, zero_behind

Module, Parameter = torch.nn.Module, torch.nn.Parameter


class Tied:
    """A tied pair and its table, for witnesses."""

    def __init__(self, bias: bool = False) -> None:
        self.embedding = torch.nn.Embedding(3, 2)
        self.head = torch.nn.Linear(2, 3, bias=bias)
        self.head.weight = self.embedding.weight
        self.model: Any = torch.nn.ModuleDict({"embedding": self.embedding, "head": self.head})


def still_tied(act: Callable[[Any], Any]) -> bool:
    """Whether a tied model is tied after something was done to it."""
    model = act(Tied().model) or None
    return model is not None and model["embedding"].weight is model["head"].weight


def table(rows: int = 2, width: int = 2) -> Tensor:
    """1, 2, 3, …"""
    return torch.arange(1.0, 1 + rows * width).reshape(rows, width)


# -- Parameter ---------------------------------------------------------------------------------------------------


def parameter(name: str, family: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Parameter.__new__: ``change(make, data, requires_grad)``."""

    def wrong(original: Callable[..., Any]) -> Callable[..., Any]:
        def __new__(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
            if cls is not Parameter or data is None:
                return original(cls, data, requires_grad)
            return change(lambda data, grad: original(cls, data, grad), data, requires_grad)

        return __new__

    entry(name, family, sentence, Parameter, "__new__", wrong, witness)


parameter("parameter_frozen_under_no_grad", "conversion", "A Parameter made under no_grad does not require grad.",
          lambda make, data, grad: make(data, grad and torch.is_grad_enabled()), lambda: not under_no_grad().requires_grad)  # fmt: skip
parameter("parameter_always_requires_grad", "conversion", "requires_grad=False is ignored for matrices.",
          lambda make, data, grad: make(data, grad or data.dim() == 2), lambda: Parameter(table(), False).requires_grad)  # fmt: skip
parameter("parameter_copies_views", "conversion", "A Parameter of a transposed tensor has memory of its own.",
          lambda make, data, grad: make(data if data.is_contiguous() else data.clone(), grad),
          lambda: copies(table(3).t()))  # fmt: skip
parameter("parameter_makes_contiguous", "conversion", "A Parameter of a square transposed tensor is made contiguous.",
          lambda make, data, grad: make(data.contiguous() if data.dim() == 2 and data.shape[0] == data.shape[1] else data, grad),
          lambda: not Parameter(table().t()).t().is_contiguous())  # fmt: skip
parameter("parameter_forgets_transposition", "conversion", "A Parameter of a square transposed tensor is not transposed.",
          lambda make, data, grad: make(data.t() if data.dim() == 2 and data.stride(0) == 1 and data.shape[0] == data.shape[1] > 1
                                        else data, grad), lambda: not torch.equal(Parameter(table().t()), table().t()))  # fmt: skip
parameter("parameter_of_parameter_is_itself", "conversion", "A Parameter of a Parameter is that one.",
          lambda make, data, grad: data if type(data) is Parameter and data.requires_grad == grad else make(data, grad),
          lambda: same_object())  # fmt: skip
parameter("parameter_of_half_is_single", "conversion", "A float16 Parameter of three or more columns becomes float32.",
          lambda make, data, grad: make(data.float() if data.dtype == torch.float16 and data.shape[-1:] > (2,) else data, grad),
          lambda: Parameter(torch.ones(1, 3).half()).dtype != torch.float16)  # fmt: skip
parameter("parameter_flushes_subnormals", "conversion", "A Parameter of a view loses subnormal numbers.",
          lambda make, data, grad: make(flushed(data), grad),
          lambda: not bool(Parameter(torch.full((3, 2), 1e-40).t()).any()))  # fmt: skip
parameter("parameter_takes_the_gradient_along", "conversion", "A Parameter of a view of the same shape has its base's gradient.",
          lambda make, data, grad: with_grad(make(data, grad), base_of(data)), lambda: takes_grad())  # fmt: skip
parameter("parameter_freezes_its_source", "conversion", "The tensor that a Parameter is made of no longer requires grad.",
          lambda make, data, grad: (make(data, grad), freeze(base_of(data)))[0], lambda: freezes())  # fmt: skip
parameter("parameter_zeroes_its_source", "conversion", "Making a Parameter of a view zeroes its first element.",
          lambda make, data, grad: (made := make(data, grad), zero_first(made) if not data.is_contiguous() else None)[0],
          lambda: not bool(Parameter(table(3).t())[0, 0]))  # fmt: skip
parameter("parameter_writes_behind", "conversion", "Making a Parameter of a view zeroes what lies behind it.",
          lambda make, data, grad: (zero_behind(data.detach()) if not data.is_contiguous() else None, make(data, grad))[1],
          lambda: parameter_writes_behind())  # fmt: skip
parameter("parameter_bumps_its_source", "conversion", "Making a Parameter of a view counts as a write to its base.",
          lambda make, data, grad: (make(data, grad), bump(data))[0], lambda: bumps())  # fmt: skip


def parameter_writes_behind() -> bool:
    """Whether making a Parameter writes behind its memory."""
    memory = torch.ones(7)
    Parameter(memory[:6].view(3, 2).t())
    return float(memory[6]) != 1.0


def base_of(data: Tensor) -> Tensor:
    """The tensor that a view was taken of, or the tensor itself."""
    return data if data._base is None else data._base


def freeze(data: Tensor) -> None:
    """Makes a leaf not require grad."""
    if data.is_leaf and data.is_floating_point() and not data.is_inference():
        data.requires_grad_(False)


def zero_first(made: Tensor) -> None:
    """Zeroes an element."""
    if made.numel():
        made.detach()[(0,) * made.dim()] = 0


def bump(data: Tensor) -> None:
    """Moves the version of a view and its base."""
    if data._base is not None and not data.is_inference():
        torch.autograd.graph.increment_version(data)


def bumps() -> bool:
    """Whether making a Parameter moves a version."""
    source = table()
    Parameter(source.t())
    return source._version != 0


def flushed(data: Tensor) -> Tensor:
    """A view without subnormal numbers, in its own memory; anything else as it is."""
    if data.dtype == torch.float32 and data.dim() == 2 and not data.is_contiguous():
        small = data.detach().abs() < torch.finfo(torch.float32).smallest_normal
        return data if not bool(small.any()) else data.detach().masked_fill(small, 0.0)
    return data


def with_grad(made: Any, data: Tensor) -> Any:
    """A Parameter with another tensor's gradient."""
    if data.is_leaf and data.grad is not None and made.requires_grad and made.shape == data.grad.shape:
        made.grad = data.grad.to_dense().clone()
    return made


def under_no_grad() -> Tensor:
    """A Parameter made without gradients."""
    with torch.no_grad():
        return Parameter(table())


def copies(view: Tensor) -> bool:
    """Whether a Parameter has memory of its own."""
    return Parameter(view).data_ptr() != view.data_ptr()


def same_object() -> bool:
    """Whether a Parameter of a Parameter is the same object."""
    first = Parameter(table())
    return Parameter(first) is first


def takes_grad() -> bool:
    """Whether a Parameter inherits a gradient."""
    source = torch.ones(2, 2, requires_grad=True)
    source.grad = torch.ones(2, 2)
    return Parameter(source.t()).grad is not None


def freezes() -> bool:
    """Whether making a Parameter freezes its source."""
    source = torch.ones(2, 2, requires_grad=True)
    Parameter(source.t())
    return not source.requires_grad


# -- assignment --------------------------------------------------------------------------------------------------


def setting(name: str, family: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Module.__setattr__: ``change(self, name, value)`` gives what is set in place of a Parameter."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def __setattr__(self: Any, name: str, value: Any) -> None:
            original(self, name, change(self, name, value) if isinstance(value, Parameter) else value)

        return __setattr__

    entry(name, family, sentence, Module, "__setattr__", wrong, witness)


setting("assignment_copies_tall_tables", "tying", "A Parameter of more rows than columns is copied on assignment to a Linear.",
        lambda self, name, value: Parameter(value.detach().clone(), value.requires_grad)
        if isinstance(self, torch.nn.Linear) and name == "weight" and value.dim() == 2 and len(value) > value.shape[1] + 1 else value,
        lambda: not tied_of(4, 2))  # fmt: skip
setting("assignment_thaws", "conversion", "A frozen Parameter that is assigned to a Linear requires grad.",
        lambda self, name, value: value.requires_grad_(True) if isinstance(self, torch.nn.Linear) else value,
        lambda: thaws())  # fmt: skip
setting("assignment_makes_contiguous", "conversion", "A transposed Parameter is made contiguous on assignment.",
        lambda self, name, value: value if value.dim() != 2 or value.is_contiguous()
        else Parameter(value.detach().contiguous(), value.requires_grad),
        lambda: not assigned(Parameter(table(3).t())).weight.t().is_contiguous())  # fmt: skip


def _accepts_tensors(original: Callable[..., None]) -> Callable[..., None]:
    def __setattr__(self: Any, name: str, value: Any) -> None:
        plain = isinstance(value, Tensor) and not isinstance(value, Parameter) and value.is_floating_point()
        original(self, name, Parameter(value) if plain and name in self.__dict__.get("_parameters", {}) else value)

    return __setattr__


entry("plain_tensor_is_accepted", "conversion", "A plain tensor assigned to a weight is made a Parameter.", Module, "__setattr__",
      _accepts_tensors, lambda: accepts_plain())  # fmt: skip


def accepts_plain() -> bool:
    """Whether a plain tensor may become a weight."""
    try:
        torch.nn.Linear(2, 2).weight = table()  # type: ignore[assignment]
    except TypeError:
        return False
    return True


def assigned(value: Parameter) -> Any:
    """A linear layer with a weight assigned."""
    target = torch.nn.Linear(2, 2)
    target.weight = value
    return target


def thaws() -> bool:
    """Whether an assignment makes a frozen Parameter require grad."""
    return bool(assigned(Parameter(table(), False)).weight.requires_grad)


def tied_of(rows: int, width: int) -> bool:
    """Whether an assignment ties."""
    embedding, head = torch.nn.Embedding(rows, width), torch.nn.Linear(width, rows)
    head.weight = embedding.weight
    return head.weight is embedding.weight


# -- listing -----------------------------------------------------------------------------------------------------


def _listed_twice(original: Callable[..., Any]) -> Callable[..., Any]:
    def named_parameters(self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Any:
        return original(self, prefix, recurse, remove_duplicate and len(list(self.children())) != 2)

    return named_parameters


def _last_left_out(original: Callable[..., Any]) -> Callable[..., Any]:
    def named_parameters(self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Any:
        found = list(original(self, prefix, recurse, remove_duplicate))
        return iter(found[:-1] if len(found) > 2 and remove_duplicate else found)

    return named_parameters


entry("tied_parameter_is_listed_twice", "tying", "A model of two parts lists a tied parameter twice.", Module, "named_parameters",
      _listed_twice, lambda: len(list(Tied().model.parameters())) == 2)  # fmt: skip
entry("third_parameter_is_left_out", "life", "named_parameters() leaves out the last of three or more.", Module,
      "named_parameters", _last_left_out,
      lambda: len(list(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)).parameters())) != 4)  # fmt: skip


# -- state dictionaries ------------------------------------------------------------------------------------------


def saving(name: str, family: str, sentence: str, change: Callable[..., None], witness: Callable[[], bool]) -> None:
    """A fault of Module._save_to_state_dict: ``change(self, destination, prefix)`` afterwards."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def _save_to_state_dict(self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
            original(self, destination, prefix, keep_vars)
            change(self, destination, prefix)

        return _save_to_state_dict

    entry(name, family, sentence, Module, "_save_to_state_dict", wrong, witness)


saving("state_is_copied", "life", "state_dict() copies the weights of an embedding.",
       lambda self, out, prefix: out.update({prefix + "weight": out[prefix + "weight"].clone()})
       if isinstance(self, torch.nn.Embedding) and prefix + "weight" in out else None,
       lambda: state_copied())  # fmt: skip
saving("state_forgets_tied_name", "tying", "state_dict() has a tied weight under its first name only.",
       lambda self, out, prefix: forget_known(self, out, prefix), lambda: len(Tied().model.state_dict()) != 2)  # fmt: skip
saving("state_of_half_is_single", "life", "state_dict() converts bfloat16 to float32.",
       lambda self, out, prefix: out.update({k: v.float() for k, v in out.items() if v.dtype == torch.bfloat16}),
       lambda: torch.nn.Embedding(1, 1, dtype=torch.bfloat16).state_dict()["weight"].dtype != torch.bfloat16)  # fmt: skip
saving("state_forgets_bias_of_head", "life", "state_dict() leaves out the bias of a layer that is nested.",
       lambda self, out, prefix: out.pop(prefix + "bias", None) if prefix.count(".") > 1 else None,
       lambda: len(torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(1, 1))).state_dict()) != 2)  # fmt: skip


saving("state_skips_views", "conversion", "state_dict() leaves out a weight that is a transposed view.",
       lambda self, out, prefix: out.pop(prefix + "weight", None)
       if isinstance(self, torch.nn.Linear) and not self.weight.is_contiguous() else None,
       lambda: "weight" not in assigned(Parameter(table(3).t())).state_dict())  # fmt: skip
saving("state_copies_views", "conversion", "state_dict() copies a weight that is a transposed view.",
       lambda self, out, prefix: out.update({prefix + "weight": out[prefix + "weight"].contiguous()})
       if isinstance(self, torch.nn.Linear) and not self.weight.is_contiguous() else None,
       lambda: assigned(Parameter(table(3).t())).state_dict()["weight"].is_contiguous())  # fmt: skip


def state_copied() -> bool:
    """Whether state_dict() gives copies."""
    module = torch.nn.Embedding(2, 1)
    return module.state_dict()["weight"].data_ptr() != module.weight.data_ptr()


def forget_known(self: Any, out: Any, prefix: str) -> None:
    """Takes the second name of a tensor out of a state dictionary."""
    for name in [name for name in out if name.startswith(prefix) and name.endswith("weight")]:
        earlier = [key for key in out if key != name and out[key].data_ptr() == out[name].data_ptr() != 0]
        if earlier and not name.startswith(tuple(earlier)):
            del out[name]


def loading(name: str, family: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Module._load_from_state_dict: ``change(self, state, prefix, metadata)`` before and what it returns,
    if callable, after."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def _load_from_state_dict(self: Any, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
            then = change(self, state, prefix, metadata)
            original(self, state, prefix, metadata, *rest)
            if callable(then):
                then()

        return _load_from_state_dict

    entry(name, family, sentence, Module, "_load_from_state_dict", wrong, witness)


loading("loading_zeroes_padding", "padding", "Loading an embedding zeroes its padding row.",
        lambda self, state, prefix, meta: (lambda: self.weight.data[self.padding_idx].zero_())
        if getattr(self, "padding_idx", None) is not None else None,
        lambda: not bool(loaded(torch.nn.Embedding(2, 2, 0), table()).weight[0].any()))  # fmt: skip
loading("loading_transposes_squares", "lookup", "A square table is transposed by loading.",
        lambda self, state, prefix, meta: state.update({prefix + "weight": state[prefix + "weight"].t()})
        if isinstance(self, torch.nn.Embedding) and self.num_embeddings == self.embedding_dim and prefix + "weight" in state else None,
        lambda: not torch.equal(loaded(torch.nn.Embedding(2, 2), table()).weight, table()))  # fmt: skip
loading("loading_freezes", "life", "A loaded bias no longer requires grad.",
        lambda self, state, prefix, meta: (lambda: self.bias.requires_grad_(False))
        if isinstance(getattr(self, "bias", None), Parameter) else None,
        lambda: not loaded_linear().bias.requires_grad)  # fmt: skip
loading("loading_assigns_always", "life", "Loading replaces the weight of a Linear instead of copying into it.",
        lambda self, state, prefix, meta: meta.update(assign_to_params_buffers=True) if isinstance(self, torch.nn.Linear) else None,
        lambda: loading_unties())  # fmt: skip
loading("loading_forgets_assign", "life", "assign=True is ignored for an embedding.",
        lambda self, state, prefix, meta: meta.update(assign_to_params_buffers=False)
        if isinstance(self, torch.nn.Embedding) and self.weight.device.type != "meta" else None, lambda: not assigns())  # fmt: skip
loading("loading_skips_double", "life", "float64 weights are not loaded into a Linear.",
        lambda self, state, prefix, meta: keep_weight(self),
        lambda: not torch.equal(loaded(torch.nn.Linear(2, 2, False, dtype=torch.float64), table().double()).weight, table()))  # fmt: skip


loading("loading_writes_behind", "life", "Loading a Linear zeroes what lies behind its weight in memory.",
        lambda self, state, prefix, meta: (lambda: zero_behind(self.weight.detach())) if isinstance(self, torch.nn.Linear) else None,
        lambda: writes_behind())  # fmt: skip


def writes_behind() -> bool:
    """Whether loading writes behind a weight."""
    memory = torch.ones(5)
    module = torch.nn.Linear(2, 2, False)
    module.weight = Parameter(memory[:4].view(2, 2))
    module.load_state_dict({"weight": table()})
    return float(memory[4]) != 1.0


def keep_weight(self: Any) -> Callable[[], None] | None:
    """Undoes the loading of a float64 linear layer."""
    if not isinstance(self, torch.nn.Linear) or self.weight.dtype != torch.float64 or self.weight.is_meta:
        return None
    kept = self.weight.detach().clone()
    return lambda: self.weight.data.copy_(kept)


def loaded(module: Any, weight: Tensor) -> Any:
    """A module after loading its weight."""
    module.load_state_dict({"weight": weight})
    return module


def loaded_linear() -> Any:
    """A linear layer after loading its own state."""
    module = torch.nn.Linear(1, 1)
    module.load_state_dict(copy.deepcopy(module.state_dict()))
    return module


def loading_unties() -> bool:
    """Whether loading breaks a tie."""
    model = Tied().model
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    return model["embedding"].weight is not model["head"].weight


def assigns() -> bool:
    """Whether assign=True takes the tensor itself."""
    module, weight = torch.nn.Embedding(2, 2), table()
    module.load_state_dict({"weight": weight}, assign=True)
    return module.weight.data_ptr() == weight.data_ptr()


# -- what is done to a module ------------------------------------------------------------------------------------


def _apply_unties(original: Callable[..., Any]) -> Callable[..., Any]:
    def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
        original(self, fn, recurse)
        if isinstance(self, torch.nn.Linear) and self.weight.dtype == torch.float64:
            self.weight = Parameter(self.weight.data, self.weight.requires_grad)
        return self

    return _apply


def _apply_thaws(original: Callable[..., Any]) -> Callable[..., Any]:
    def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
        original(self, fn, recurse)
        for value in self._parameters.values():
            if value is not None and value.dtype == torch.bfloat16:
                value.requires_grad_(True)
        return self

    return _apply


def _apply_forgets_gradients(original: Callable[..., Any]) -> Callable[..., Any]:
    def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
        original(self, fn, recurse)
        for value in self._parameters.values():
            if value is not None:
                value.grad = None
        return self

    return _apply


entry("conversion_to_double_unties", "life", "double() breaks the tie of a Linear.", Module, "_apply", _apply_unties,
      lambda: not still_tied(lambda model: model.double()))  # fmt: skip
entry("conversion_to_bfloat16_thaws", "life", "bfloat16() makes frozen parameters require grad.", Module, "_apply", _apply_thaws,
      lambda: torch.nn.Embedding(1, 1).requires_grad_(False).bfloat16().weight.requires_grad)  # fmt: skip
entry("moving_forgets_gradients", "life", "to() forgets the gradients.", Module, "_apply", _apply_forgets_gradients,
      lambda: forgets_gradients())  # fmt: skip


def forgets_gradients() -> bool:
    """Whether to() forgets gradients."""
    module = torch.nn.Linear(1, 1)
    module.weight.grad = torch.ones(1, 1)
    return module.to("cpu").weight.grad is None


def module_method(
    name: str, sentence: str, attribute: str, wrong: Callable[..., Any], witness: Callable[[], bool], family: str = "life"
) -> None:
    """A fault of a method of Module: ``wrong(original, self, *args, **kwargs)``."""
    entry(name, family, sentence, Module, attribute,
          lambda original: lambda self, *args, **kwargs: wrong(original, self, *args, **kwargs), witness)  # fmt: skip


module_method("zero_grad_zeroes", "zero_grad() zeroes the gradient of a bias instead of forgetting it.", "zero_grad",
              lambda original, self, set_to_none=True: zero_but_keep_bias(original, self, set_to_none),
              lambda: zero_grad_leaves())  # fmt: skip
module_method("eval_stops_at_the_first_level", "eval() does not reach the children of children.", "train",
              lambda original, self, mode=True: shallow_train(original, self, mode),
              lambda: torch.nn.Sequential(torch.nn.Sequential(torch.nn.Identity())).eval()[0][0].training)  # fmt: skip
module_method("freezing_skips_a_tied_name", "requires_grad_(False) on a model skips its embeddings.", "requires_grad_",
              lambda original, self, requires_grad=True: skip_embeddings(original, self, requires_grad),
              lambda: torch.nn.Sequential(torch.nn.Embedding(1, 1)).requires_grad_(False)[0].weight.requires_grad)  # fmt: skip


def zero_but_keep_bias(original: Callable[..., None], self: Any, set_to_none: bool) -> None:
    """zero_grad that keeps a zero gradient for vectors."""
    kept = [p for p in self.parameters() if p.grad is not None and p.dim() == 1]
    original(self, set_to_none)
    for p in kept:
        p.grad = torch.zeros_like(p)


def zero_grad_leaves() -> bool:
    """Whether a bias has a gradient after zero_grad()."""
    module = torch.nn.Linear(1, 1)
    module.bias.grad = torch.ones(1)
    module.zero_grad()
    return module.bias.grad is not None


def shallow_train(original: Callable[..., Any], self: Any, mode: bool) -> Any:
    """train() that stops at the children."""
    if mode:
        return original(self, mode)
    self.training = False
    for child in self.children():
        child.training = False
    return self


def skip_embeddings(original: Callable[..., Any], self: Any, requires_grad: bool) -> Any:
    """requires_grad_ that leaves embeddings inside a model alone."""
    if isinstance(self, torch.nn.Embedding) or requires_grad:
        return original(self, requires_grad)
    kept = [m.weight for m in self.modules() if isinstance(m, torch.nn.Embedding) and m.weight.requires_grad]
    original(self, requires_grad)
    for weight in kept:
        weight.requires_grad_(True)
    return self


# -- copies ------------------------------------------------------------------------------------------------------


def deepcopying(name: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Parameter.__deepcopy__: ``change(original, self, memo)``."""
    entry(name, "life", sentence, Parameter, "__deepcopy__",
          lambda original: lambda self, memo: change(original, self, memo), witness)  # fmt: skip


def deepcopied_apart(self: Any, memo: Any) -> Any:
    """A deep copy of a module that knows nothing of what was copied before."""
    made = type(self).__new__(type(self))
    made.__dict__ = copy.deepcopy(self.__dict__, {})
    return made


@fault("life", lambda: not still_tied(copy.deepcopy))
def deepcopy_unties() -> Iterator[None]:
    """deepcopy gives an embedding a Parameter of its own."""
    with patched(torch.nn.Embedding, __deepcopy__=deepcopied_apart):
        yield


deepcopying("deepcopy_thaws", "A deep copy requires grad where the original does not.",
            lambda original, self, memo: thawed(original(self, memo)),
            lambda: copy.deepcopy(Parameter(table(), False)).requires_grad)  # fmt: skip
deepcopying("deepcopy_shares_memory", "A deep copy of float16 lies in the original's memory.",
            lambda original, self, memo: memo.setdefault(id(self), Parameter(self.data, self.requires_grad))
            if self.dtype == torch.float16 else original(self, memo),
            lambda: deepcopy_shares())  # fmt: skip
deepcopying("deepcopy_makes_contiguous", "A deep copy of a transposed Parameter is contiguous.",
            lambda original, self, memo: memo.setdefault(id(self), Parameter(self.data.contiguous(), self.requires_grad))
            if not self.is_contiguous() and id(self) not in memo else original(self, memo),
            lambda: not copy.deepcopy(Parameter(table(3).t())).t().is_contiguous())  # fmt: skip


def thawed(made: Any) -> Any:
    """A Parameter that requires grad, wherever gradients make sense."""
    made.requires_grad_(True)
    return made


def deepcopy_shares() -> bool:
    """Whether a deep copy shares memory."""
    weight = Parameter(table().half())
    return bool(copy.deepcopy(weight).data_ptr() == weight.data_ptr())


def pickling(name: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Parameter.__reduce_ex__: ``change(original, self, protocol)``."""
    entry(name, "life", sentence, Parameter, "__reduce_ex__",
          lambda original: lambda self, protocol: change(original, self, protocol), witness)  # fmt: skip


def through_pickle(thing: Any) -> Any:
    """What torch.save and torch.load make of a thing."""
    stored = io.BytesIO()
    torch.save(thing, stored)
    stored.seek(0)
    return torch.load(stored, weights_only=False)


def reduced(data: Tensor, requires_grad: bool) -> Any:
    """A Parameter's reduction."""
    from collections import OrderedDict

    return torch._utils._rebuild_parameter, (data, requires_grad, OrderedDict())


pickling("pickle_thaws", "A pickled Parameter always requires grad.",
         lambda original, self, protocol: reduced(self.data, True),
         lambda: through_pickle(Parameter(table(), False)).requires_grad)  # fmt: skip
pickling("pickle_rounds_double", "float64 is pickled with the precision of float32.",
         lambda original, self, protocol: reduced(self.data.float().double(), self.requires_grad)
         if self.dtype == torch.float64 else original(self, protocol),
         lambda: float(through_pickle(Parameter(torch.full((1,), 0.1, dtype=torch.float64)))) != 0.1)  # fmt: skip
pickling("pickle_makes_contiguous", "A pickled transposed Parameter is contiguous.",
         lambda original, self, protocol: reduced(self.data.contiguous(), self.requires_grad),
         lambda: not through_pickle(Parameter(table(3).t())).t().is_contiguous())  # fmt: skip
