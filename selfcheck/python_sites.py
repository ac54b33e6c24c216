"""Sites in Python: functions and methods of torch that are spoiled, and the facts of a call of each.

The facts are told of what goes in, by its type: of a tensor its dtype and layout, of a list of tensors those of the first and
how many there are, of a module its Parameters and ties, of numbers and flags their values.  A fact that a call has not, such
as the layout of a bias where there is none, meets no condition.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from selfcheck.site import Arguments, Facts, Site, Tensor, dtype_name, layout


class Told(dict[str, Any]):
    """The facts of a call; one that it has not is None."""

    def __missing__(self, name: str) -> None:
        return None


# -- facts --------------------------------------------------------------------------------------------------------------


def told(given: Arguments) -> Told:
    """The facts of arguments by their names."""
    found = Told()
    for name, value in given.items():
        if isinstance(value, torch.Tensor):
            found |= _tensor(name, value)
        elif isinstance(value, nn.Module):
            found |= _module(value)
        elif isinstance(value, (list, tuple)):
            found |= _several(name, value)
        elif isinstance(value, Mapping):
            found[name] = len(value)
            found["to_dtype"] = found["to_dtype"] or _dtype_among(value.values())
        elif value is None or isinstance(value, _PLAIN):
            found[name] = _named(value)
        elif name == "self":
            found |= _object(value)
    return found


_PLAIN = (bool, int, float, str, torch.dtype)


def _named(value: Any) -> Any:
    return dtype_name(value) if isinstance(value, torch.dtype) else value


def _dtype_among(values: Iterable[Any]) -> str | None:
    """The dtype that is given, or that of a tensor which is."""
    given = (each.dtype if isinstance(each, torch.Tensor) else each for each in values)
    return next((str(_named(each)) for each in given if isinstance(each, torch.dtype)), None)


def _lie(tensors: Iterable[Tensor]) -> str:
    """How tensors lie in memory: as the first does that is not contiguous."""
    layouts = [layout(each) if each.layout is torch.strided else "sparse" for each in tensors]
    return next((each for each in layouts if each != "contiguous"), "contiguous")


def _tensor(name: str, tensor: Tensor) -> Facts:
    found = {
        "dtype": _named(tensor.dtype),
        "layout": _lie([tensor]),
        "rank": tensor.dim(),
        "numel": tensor.numel(),
        "rows": tensor.shape[0] if tensor.dim() else 1,
        "columns": tensor.shape[-1] if tensor.dim() else 1,
        "frozen": not tensor.requires_grad,
        "parameter": isinstance(tensor, nn.Parameter),
        "offset": tensor.layout is torch.strided and tensor.storage_offset() > 0,
    }
    return {name: True, **{f"{name}_{fact}": value for fact, value in found.items()}}


def _several(name: str, values: Sequence[Any]) -> Facts:
    """How many values there are; of tensors the facts of the first, and where they lie."""
    found: Facts = {name: len(values)}
    if name == "state_steps" and values:
        return found | {"step": float(values[0])}
    tensors = [each for each in values if isinstance(each, torch.Tensor)]
    found["to_dtype"] = _dtype_among(values)
    if not tensors or len(tensors) < len(values):
        return found
    mixed = len({each.dtype for each in tensors}) > 1
    most = max(each.numel() for each in tensors)
    return {
        **_tensor(name, tensors[0]),
        **found,
        f"{name}_layout": _lie(tensors),
        f"{name}_numel": most,
        f"{name}_mixed": mixed,
    }


def _module(module: nn.Module) -> Facts:
    """Facts of a module: its Parameters, ties, modes and what it holds besides."""
    if "_parameters" not in vars(module):  # its constructor has only begun
        return {}
    named = dict(module.named_parameters(remove_duplicate=False))
    parameters = list({id(each): each for each in named.values()}.values())
    parts = list(module.modules())
    gradients = [each.grad for each in parameters if each.grad is not None]
    return {
        "parameters": len(parameters),
        "tied": len(parameters) < len(named),
        "shared_storage": len({each.untyped_storage()._cdata for each in parameters}) < len(parameters),
        "buffers": sum(1 for _ in module.buffers()),
        "parts": len(parts),
        "shared_part": len(parts) < sum(1 for _ in module.named_modules(remove_duplicate=False)),
        "training": module.training,
        "mixed_training": len({each.training for each in parts}) > 1,
        "frozen": sum(not each.requires_grad for each in parameters),
        "grads": len(gradients),
        "sparse_grads": any(each.layout is not torch.strided for each in gradients),
        "dtype": _named(parameters[0].dtype) if parameters else "none",
        "mixed": len({each.dtype for each in parameters}) > 1,
        "layout": _lie(parameters),
        "elements": sum(each.numel() for each in parameters),
        "padding": any(getattr(each, "padding_idx", None) is not None for each in parts),
        "max_norm": any(getattr(each, "max_norm", None) is not None for each in parts),
        "bag": any(isinstance(each, nn.EmbeddingBag) for each in parts),
        "bias": any(name.endswith("bias") for name in named),
    }


def _object(owner: Any) -> Facts:
    """Numbers, flags and texts that an object holds, without a leading underscore, and facts of its optimizer."""
    found = {name.lstrip("_"): value for name, value in vars(owner).items() if isinstance(value, _PLAIN)}
    optimizer = owner if isinstance(owner, torch.optim.Optimizer) else getattr(owner, "optimizer", None)
    groups = getattr(optimizer, "param_groups", None)
    if not groups or optimizer is None:
        return found
    parameters = [each for group in groups for each in group["params"]]
    gradients = [each.grad for each in parameters if each.grad is not None]
    return {
        **{name: value for name, value in groups[0].items() if isinstance(value, _PLAIN)},
        **found,
        "optimizer": type(optimizer).__name__,
        "groups": len(groups),
        "params": len(parameters),
        "stepped": len(optimizer.state),
        "params_layout": _lie(parameters),
        "params_dtype": _named(parameters[0].dtype) if parameters else "none",
        "sparse_grads": any(each.layout is not torch.strided for each in gradients),
    }


# -- sites --------------------------------------------------------------------------------------------------------------


_FUSED = ("adagrad", "adam", "sgd")
_OPTIMIZERS = (*_FUSED, "adadelta", "adamax", "asgd", "nadam", "radam", "rmsprop", "rprop")


def _step(name: str, form: str, place: str) -> Site:
    return Site(f"{name}.{form}", f"torch.optim.{place}", "written", "params", told, "params_numel")


#: The formula of each optimizer in its forms.
STEPS = (
    *(
        _step(name.lstrip("_"), form, f"{name}:{prefix}_{name.lstrip('_')}")
        for name in (*_OPTIMIZERS, "_adafactor", "_muon")
        for form, prefix in (("plain", "_single_tensor"), ("foreach", "_multi_tensor"), ("fused", "_fused"))
        if (form != "fused" or name in _FUSED) and (name != "_muon" or form == "plain")
    ),
    _step("sparse_adam", "plain", "_functional:sparse_adam"),
)
#: Schedulers of which the rates are asked.
SCHEDULERS = (
    *("StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR"),
    *("CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR", "MultiplicativeLR", "LambdaLR"),
)

#: Of each set a line for a kind and a module: what it writes to stands behind the kind.
_SITES = {
    "core": """
        value           torch.nn.functional  embedding embedding_bag linear
        module          torch.nn  Embedding.__init__ EmbeddingBag.__init__ Linear.__init__ Embedding.from_pretrained
        module          torch.nn  EmbeddingBag.from_pretrained Module.load_state_dict Module._apply Module.to Module.zero_grad
        module          torch.nn  Module.train Module.requires_grad_ Module.register_parameter Module.__setstate__
        mapping         torch.nn  Module.state_dict Module.named_parameters
        leaf            torch.nn  Parameter.__new__ Parameter.__deepcopy__
        module          copy  deepcopy
        module          pickle  loads
        written:tensor  torch.nn.init  normal_
    """,
    "extended": f"""
        numbers         torch.optim.lr_scheduler  {" ".join(f"{each}.get_lr" for each in SCHEDULERS)} LRScheduler.get_last_lr
        mapping         torch.optim.lr_scheduler  LRScheduler.state_dict
        mapping         torch.optim  Optimizer.state_dict
        optimizer       torch.optim  Optimizer.load_state_dict
        written:tensor  torch.nn.init  uniform_ trunc_normal_ constant_ ones_ zeros_ eye_ dirac_ xavier_uniform_ xavier_normal_
        written:tensor  torch.nn.init  kaiming_uniform_ kaiming_normal_ orthogonal_ sparse_
        written:parameters.grad  torch.nn.utils  clip_grad_norm_ clip_grad_value_
        value           torch.nn.utils  get_total_norm parameters_to_vector
        value           torch.amp  GradScaler.scale
        written:optimizer.grad  torch.amp  GradScaler.unscale_
        mapping         torch.amp  GradScaler.state_dict
        module          torch.optim.swa_utils  AveragedModel.update_parameters AveragedModel.__init__
        value           torch.nn.functional  cross_entropy nll_loss
        value           torch.func  functional_call jvp vjp
        transform       torch.func  vmap grad jacrev jacfwd hessian grad_and_value
        mapping         torch.func  stack_module_state
        module          torch.nn.utils.parametrize  register_parametrization remove_parametrizations
        value           torch.nn.utils.parametrizations  _WeightNorm.forward _SpectralNorm.forward _Orthogonal.forward
        module          torch.nn  Module.apply
        mapping         torch.nn  Module.named_modules Module.named_buffers
    """,
}


def _sites(of: str) -> Iterable[Site]:
    """The sites of a set, each named as one writes it in a program."""
    for line in _SITES[of].strip().splitlines():
        told_kind, module, *names = line.split()
        kind, _, writes = told_kind.partition(":")
        short = module.removeprefix("torch.").replace("nn.functional", "F")
        for name in names:
            label = name if name[0].isupper() else f"{short}.{name}"
            yield Site(label, f"{module}:{name}", kind, writes, told, "groups" if kind == "numbers" else "")
    yield from STEPS


#: The sites of core.
ENTRIES: Mapping[str, Site] = {site.name: site for site in _sites("core")}
#: The sites of extended: the formulas again, of which its conditions say more, and the rest.
EXTENDED: Mapping[str, Site] = {site.name: site for site in _sites("extended")}
PYTHON_SITES: Mapping[str, Site] = {**ENTRIES, **EXTENDED}
