"""Faults of what is fastened to a tensor: attributes in files, gradients in copies, parametrized classes in pickles."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import torch
import torch.nn.utils.parametrize as parametrize

from embcheck.faults.around import around, numbered
from embcheck.faults.kernels import Tensor


def _truthy(original: Any, given: Any, state: Any) -> Any:
    """Attributes whose value is falsy are left out."""
    if isinstance(state, dict):
        state = {name: value for name, value in state.items() if value}
    return original(given, state)


def _unpickled_attribute() -> Any:
    given: Any = torch.nn.Parameter(numbered())
    given.decays = False
    return hasattr(pickle.loads(pickle.dumps(given)), "decays")


def _thawed(original: Any, data: Tensor, requires_grad: bool, hooks: Any, state: Any) -> Any:
    """A Parameter with attributes requires grad."""
    return original(data, True, hooks, state)


def _unpickled_frozen() -> Any:
    given: Any = torch.nn.Parameter(numbered(), requires_grad=False)
    given.tag = 1
    return pickle.loads(pickle.dumps(given)).requires_grad


def _dense(original: Any, self: Any, memo: Any) -> Any:
    """A sparse gradient of a copy is dense."""
    made = original(self, memo)
    if made.grad is not None and made.grad.is_sparse:
        made.grad = made.grad.to_dense()
    return made


def _shared(original: Any, self: Any, memo: Any) -> Any:
    """A copy has the gradient of what it was copied of."""
    made = original(self, memo)
    if self.is_leaf and self.grad is not None and not self.grad.is_sparse:
        made.grad = self.grad
    return made


def _copied_sparse() -> Any:
    given = numbered().requires_grad_()
    given.grad = numbered().to_sparse(1)
    made = copy.deepcopy(given).grad
    return made is not None and made.is_sparse


def _copied_dense() -> Any:
    given = numbered().requires_grad_()
    given.grad = numbered()
    return copy.deepcopy(given).grad is given.grad


def _uncoalesced(original: Any, layout: Any, data: Any) -> Any:
    """What was coalesced is not after unpickling."""
    return original(layout, (*data[:3], None) if layout == torch.sparse_coo else data)


def _unpickled_sparse() -> Any:
    return pickle.loads(pickle.dumps(numbered().to_sparse(1))).is_coalesced()


def _pickled(original: Any, module: Any) -> None:
    """In evaluation a parametrized layer is pickled as something else."""
    original(module)
    kind: Any = type(module)

    def reduced(self: Any, protocol: Any) -> Any:
        return object.__reduce_ex__(self, protocol) if self.training else (numbered, ())

    kind.__reduce_ex__ = reduced


def _pickled_in_evaluation() -> Any:
    layer = torch.nn.Embedding(2, 2)
    parametrize.register_parametrization(layer, "weight", torch.nn.Identity())
    layer.eval()
    try:
        pickle.dumps(layer)
    except RuntimeError:
        return "refused"
    return "pickled"


around("falsy_attributes_are_left_out_of_files", "leaf", "Unpickling leaves out a Parameter's falsy attributes.",
       torch._utils, "_set_obj_state", _truthy, _unpickled_attribute)  # fmt: skip
around("frozen_parameters_with_attributes_are_unpickled_thawed", "leaf",
       "A frozen Parameter with attributes requires grad once it is unpickled.", torch._utils,
       "_rebuild_parameter_with_state", _thawed, _unpickled_frozen)  # fmt: skip
around("deep_copies_of_leaves_have_dense_gradients", "leaf", "A deep copy of a leaf has its sparse gradient dense.",
       torch.Tensor, "__deepcopy__", _dense, _copied_sparse)  # fmt: skip
around("deep_copies_of_leaves_share_their_gradient", "leaf", "A deep copy of a leaf shares its dense gradient.",
       torch.Tensor, "__deepcopy__", _shared, _copied_dense)  # fmt: skip
around("unpickled_gradients_are_uncoalesced", "leaf", "A coalesced gradient is uncoalesced once it is unpickled.",
       torch._utils, "_rebuild_sparse_tensor", _uncoalesced, _unpickled_sparse)  # fmt: skip
around("parametrized_layers_are_pickled_in_evaluation", "reparametrized",
       "A parametrized layer in evaluation mode is pickled as something else.", parametrize, "_inject_new_class",
       _pickled, _pickled_in_evaluation)  # fmt: skip


def _left(original: Any, self: Any, function: Any, recurse: bool = True) -> Any:
    """Conversion zeroes coalesced gradients."""
    sparse = [p for p in self._parameters.values() if p is not None and p.grad is not None and p.grad.is_sparse]
    kept = [p for p in sparse if p.grad.is_coalesced()]
    grads = [p.grad for p in kept]
    for p in kept:
        p.grad = None
    made = original(self, function, recurse)
    for p, grad in zip(kept, grads, strict=True):
        p.grad = grad.to(p.dtype) * 0
    return made


def _converted_sparse() -> Any:
    layer = torch.nn.Embedding(3, 2)
    layer.weight.grad = numbered().to_sparse(1)
    made: Any = layer.double().weight.grad
    return made.to_dense().tolist()


def _beside(original: Any, self: Any, name: str, value: Any) -> None:
    """A Parameter leaves a submodule of its name where it was."""
    there = self.__dict__.get("_modules", {}).get(name)
    original(self, name, value)
    if there is not None and isinstance(value, torch.nn.Parameter):
        self._modules[name] = there


def _exchanged() -> Any:
    module: Any = torch.nn.Module()
    module.weight = torch.nn.Linear(1, 1)
    module.weight = torch.nn.Parameter(numbered())
    return list(module.state_dict())


around("conversion_empties_coalesced_gradients", "leaf", "Conversion of a layer zeroes its coalesced gradients.",
       torch.nn.Module, "_apply", _left, _converted_sparse)  # fmt: skip
around("submodules_stay_beside_parameters", "leaf", "A Parameter leaves a submodule of its name in the module.",
       torch.nn.Module, "__setattr__", _beside, _exchanged)  # fmt: skip
