"""The table from which conditions of faults at sites in Python are drawn, written as that of the kernels from what real bugs
looked like: ties (bugs.md 67 to 77), layouts that only look contiguous, dtypes, flags in pairs, the first and the second step,
many and no Parameters, sparse and missing gradients, calls before.
"""

from __future__ import annotations

from collections.abc import Mapping

from selfcheck.conditions import Term, term, values
from selfcheck.python_sites import ENTRIES, EXTENDED, SCHEDULERS, STEPS

_DTYPES = ("float32", "float64", "float16", "bfloat16")
_LAYOUTS = ("rows_strided", "transposed", "strided")
_EARLIER = (term(3, "earlier=0", "earlier=1", "earlier=2", "earlier>=1", "earlier>=3"),)


def _tensor(name: str) -> tuple[Term, ...]:
    """Conditions on a tensor among the arguments."""
    return (
        values(3, f"{name}_dtype", *_DTYPES),
        values(4, f"{name}_layout", *_LAYOUTS, "contiguous"),
        values(2, f"{name}_rank", 1, 2, 3),
        term(2, f"{name}_numel=1", f"{name}_numel>64", f"{name}_numel>1024", f"{name}_numel=0"),
        term(2, *(f"{name}_rows={size}" for size in (1, 2, 3, 8, 17))),
        term(3, *(f"{name}_columns={size}" for size in (1, 2, 7, 8, 17, 33)), f"{name}_columns>64"),
        term(2, f"{name}_frozen", f"{name}_frozen=False"),
        term(1, f"{name}_parameter"),
        term(1, f"{name}_offset"),
    )


_MODULE = (
    term(5, "tied", "tied=False"),
    term(3, "parameters=1", "parameters=2", "parameters=3", "parameters>3"),
    term(3, "frozen=0", "frozen=1", "frozen>=1"),
    term(3, "training", "training=False"),
    values(3, "dtype", *_DTYPES),
    values(3, "layout", *_LAYOUTS),
    term(2, "mixed"),
    term(2, "grads=0", "grads>=1", "grads>=2"),
    term(2, "sparse_grads"),
    term(2, "parts=1", "parts>2", "parts>3"),
    term(2, "padding"),
    term(1, "max_norm"),
    term(1, "bag"),
    term(2, "bias"),
    term(1, "buffers>=1"),
    term(1, "shared_part"),
    term(1, "shared_storage"),
    term(1, "mixed_training"),
    term(1, "elements>64", "elements>1024"),
    *_EARLIER,
)
_TABLE_FLAGS = (
    term(3, "num_embeddings=1", "num_embeddings=2", "num_embeddings=3", "num_embeddings>8"),
    term(3, "embedding_dim=1", "embedding_dim=2", "embedding_dim=8", "embedding_dim>8"),
    term(3, "padding_idx=0", "padding_idx=1", "padding_idx=-1", "padding_idx<0", "padding_idx=None"),
    term(2, "max_norm>0", "max_norm=None"),
    term(1, "norm_type=1", "norm_type=2"),
    term(2, "scale_grad_by_freq", "scale_grad_by_freq=False"),
    term(2, "sparse", "sparse=False"),
)
_BAG_FLAGS = (values(3, "mode", "sum", "mean", "max"), term(2, "include_last_offset", "include_last_offset=False"))
_LOOKUP = (
    *_TABLE_FLAGS[2:],
    *_tensor("weight"),
    values(3, "input_rank", 0, 1, 2, 3),
    term(2, "input_numel=0", "input_numel=1", "input_numel>64", "input_numel>768"),
    values(2, "input_dtype", "int32", "int64"),
    values(1, "input_layout", *_LAYOUTS, "expanded"),
    *_EARLIER,
)
#: What of a step treats a tied, a strided or a transposed Parameter otherwise.
_STEP = (
    values(5, "params_layout", *_LAYOUTS, "contiguous"),
    values(3, "grads_layout", *_LAYOUTS, "expanded", "contiguous", "sparse"),
    term(3, "params=1", "params=2", "params=3", "params>3"),
    values(3, "params_dtype", *_DTYPES),
    term(2, "params_rank=1", "params_rank=2", "params_rank=3"),
    term(2, "params_offset"),
    term(1, "params_mixed"),
    term(3, "params_numel=1", "params_numel>16", "params_numel>64", "params_numel>1024"),
    term(4, "step=0", "step=1", "step=2", "step>=1", "step>=3"),
    term(1, "step>=5", "step>10"),
    term(3, "earlier=0", "earlier=1", "earlier>=2"),
    term(2, "params_columns=1", "params_columns=2", "params_columns=7", "params_columns=8", "params_columns>16"),
)
_FORMULA = (
    *_STEP,
    term(3, "weight_decay=0", "weight_decay>0"),
    term(3, "maximize", "maximize=False"),
    term(3, "momentum=0", "momentum>0"),
    term(3, "nesterov"),
    term(3, "amsgrad"),
    term(2, "centered"),
    term(2, "decoupled_weight_decay"),
    term(2, "differentiable"),
    term(2, "capturable"),
    term(2, "dampening>0"),
    term(2, "lr", "lr>1", "lr<0.1"),
)
_RATES = (
    term(4, "last_epoch=0", "last_epoch=1", "last_epoch=2", "last_epoch=3", "last_epoch>3", "last_epoch>8"),
    term(3, "groups=1", "groups=2", "groups>2"),
    values(2, "optimizer", "SGD", "Adam", "AdamW"),
    *_EARLIER,
)
_OPTIMIZER = (
    values(
        3,
        "optimizer",
        "SGD",
        "Adam",
        "AdamW",
        "Adagrad",
        "RMSprop",
        "SparseAdam",
        "Adadelta",
        "Adamax",
        "NAdam",
        "RAdam",
    ),
    term(3, "groups=1", "groups=2", "groups>2"),
    term(3, "params=1", "params=2", "params>2"),
    term(3, "stepped=0", "stepped>=1", "stepped>=2"),
    values(2, "params_layout", *_LAYOUTS),
    values(2, "params_dtype", *_DTYPES),
    term(1, "sparse_grads"),
    term(2, "amsgrad"),
    term(2, "foreach"),
    term(2, "fused"),
    *_EARLIER,
)
_INIT = (
    *_tensor("tensor")[:6],
    term(1, "tensor_parameter"),
    term(1, "tensor_frozen"),
    term(1, "tensor_offset"),
    *_EARLIER,
)
_PER_SITE: Mapping[str, tuple[Term, ...]] = {
    "F.embedding": _LOOKUP,
    "F.embedding_bag": (*_LOOKUP, *_BAG_FLAGS, term(2, "per_sample_weights"), term(1, "offsets_rank=1")),
    "F.linear": (
        *_tensor("input"),
        *_tensor("weight"),
        term(4, "bias", "bias=None"),
        term(1, "bias_frozen"),
        *_EARLIER,
    ),
    "Embedding.__init__": (*_TABLE_FLAGS, term(2, "_weight"), term(1, "_freeze"), *_EARLIER),
    "EmbeddingBag.__init__": (*_TABLE_FLAGS, *_BAG_FLAGS, term(2, "_weight"), *_EARLIER),
    "Linear.__init__": (
        term(3, "in_features=1", "in_features=2", "in_features>2", "in_features>8"),
        term(3, "out_features=1", "out_features=2", "out_features>2", "out_features>8"),
        term(3, "bias", "bias=False"),
        values(1, "dtype", *_DTYPES),
        *_EARLIER,
    ),
    "Embedding.from_pretrained": (*_TABLE_FLAGS[2:], *_tensor("embeddings"), term(3, "freeze", "freeze=False")),
    "EmbeddingBag.from_pretrained": (
        *_TABLE_FLAGS[2:],
        *_tensor("embeddings"),
        *_BAG_FLAGS,
        term(3, "freeze", "freeze=False"),
    ),
    "Module.load_state_dict": (
        *_MODULE,
        term(4, "assign", "assign=False"),
        term(2, "strict=False"),
        term(2, "state_dict>2"),
    ),
    "Module.to": (*_MODULE, values(4, "to_dtype", *_DTYPES), term(1, "args=2")),
    "Module._apply": (*_MODULE, term(1, "recurse=False")),
    "Module.zero_grad": (*_MODULE, term(4, "set_to_none", "set_to_none=False")),
    "Module.train": (*_MODULE, term(4, "mode", "mode=False")),
    "Module.requires_grad_": (*_MODULE, term(4, "requires_grad", "requires_grad=False")),
    "Module.register_parameter": (*_MODULE, *_tensor("param"), values(3, "name", "weight", "bias")),
    "Module.state_dict": (*_MODULE, term(3, "keep_vars"), term(1, "destination>=0"), term(1, "prefix")),
    "Module.named_parameters": (
        *_MODULE,
        term(4, "remove_duplicate", "remove_duplicate=False"),
        term(2, "recurse=False"),
    ),
    "Parameter.__new__": (*_tensor("data"), term(4, "requires_grad", "requires_grad=False"), *_EARLIER),
    "Parameter.__deepcopy__": (*_tensor("self"), term(2, "memo>0"), *_EARLIER),
    "copy.deepcopy": (*_MODULE, *_tensor("x")[:3]),
    "nn.init.normal_": (*_INIT, term(2, "std=1", "std<1"), term(1, "mean=0")),
    "nn.utils.clip_grad_norm_": (
        term(3, "parameters=1", "parameters=2", "parameters>2"),
        *_tensor("parameters")[:5],
        term(4, "max_norm<1", "max_norm=1", "max_norm>1"),
        values(4, "norm_type", 1, 2, 3, "inf"),
        term(2, "foreach", "foreach=False"),
        *_EARLIER,
    ),
    "nn.utils.clip_grad_value_": (
        term(3, "parameters=1", "parameters=2", "parameters>2"),
        *_tensor("parameters")[:5],
        term(3, "clip_value<1", "clip_value=1", "clip_value>1"),
        term(2, "foreach", "foreach=False"),
        *_EARLIER,
    ),
    "nn.utils.get_total_norm": (
        term(3, "tensors=1", "tensors=2", "tensors>2"),
        values(4, "norm_type", 1, 2, 3, "inf"),
        term(2, "foreach", "foreach=False"),
        *_tensor("tensors")[:4],
    ),
    "nn.utils.parameters_to_vector": (*_EARLIER,),
    "GradScaler.scale": (
        term(3, "init_scale=1", "init_scale>1", "init_scale>1000"),
        *_tensor("outputs")[:1],
        *_EARLIER,
    ),
    "GradScaler.unscale_": (
        term(3, "init_scale=1", "init_scale>1"),
        term(2, "growth_interval=1", "growth_interval>1"),
        *_EARLIER,
    ),
    "GradScaler.state_dict": (
        term(3, "init_scale=1", "init_scale>1"),
        term(2, "growth_interval=1", "growth_interval>1"),
        *_EARLIER,
    ),
    "AveragedModel.update_parameters": (*_MODULE, term(3, "use_buffers", "use_buffers=False")),
    "AveragedModel.__init__": (*_MODULE, term(3, "use_buffers", "use_buffers=False")),
    "F.cross_entropy": (
        *_tensor("input"),
        values(3, "reduction", "none", "mean", "sum"),
        term(3, "label_smoothing>0", "label_smoothing=0"),
        term(2, "weight"),
        term(2, "ignore_index>=0", "ignore_index<0"),
        values(2, "target_dtype", "int64", "float32"),
        *_EARLIER,
    ),
    "F.nll_loss": (*_tensor("input"), values(3, "reduction", "none", "mean", "sum"), term(2, "weight"), *_EARLIER),
    "func.functional_call": (
        *_MODULE,
        term(3, "tie_weights", "tie_weights=False"),
        term(2, "strict"),
        term(2, "parameter_and_buffer_dicts=1", "parameter_and_buffer_dicts>1"),
    ),
    "func.vmap": (
        term(3, "in_dims=0", "in_dims=1", "in_dims>1"),
        term(3, "out_dims=0", "out_dims=1", "out_dims=-1"),
        term(3, "args=1", "args=2", "args>2"),
        *_tensor("args")[:3],
        term(2, "chunk_size>=1"),
        *_EARLIER,
    ),
    "nn.utils.parametrize.register_parametrization": (
        *_MODULE,
        values(3, "tensor_name", "weight", "bias"),
        term(2, "unsafe"),
    ),
    "nn.utils.parametrize.remove_parametrizations": (
        *_MODULE,
        values(3, "tensor_name", "weight", "bias"),
        term(3, "leave_parametrized", "leave_parametrized=False"),
    ),
    "nn.utils.parametrizations._WeightNorm.forward": (*_tensor("weight_v"), *_EARLIER),
    "nn.utils.parametrizations._SpectralNorm.forward": (
        *_tensor("weight"),
        term(2, "training", "training=False"),
        *_EARLIER,
    ),
    "nn.utils.parametrizations._Orthogonal.forward": (*_tensor("X"), *_EARLIER),
    "Sequential.insert": (*_MODULE, term(3, "index=0", "index=1", "index<0", "index>1")),
    "ModuleList.insert": (*_MODULE, term(3, "index=0", "index=1", "index<0", "index>1")),
    "Sequential.__getitem__": (*_MODULE, term(3, "idx=0", "idx=1", "idx<0", "idx>1")),
    "torch.load": _MODULE,
}
_JACOBIANS = (
    term(3, "argnums=0", "argnums=1", "argnums<0", "argnums>=2"),
    term(3, "args=1", "args=2", "args>2"),
    *_tensor("args")[:5],
    term(2, "has_aux", "has_aux=False"),
    *_EARLIER,
)


def _terms(site: str, steps: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms of a site that the table does not name: those of sites that are like it."""
    if site in _PER_SITE:
        return _PER_SITE[site]
    if site in {each.name for each in STEPS}:
        return _of(site, steps)
    groups = {"LRScheduler": _RATES, "Optimizer": _OPTIMIZER, "nn.init": _INIT, "func": _JACOBIANS}
    found = next((terms for prefix, terms in groups.items() if site.startswith(prefix)), None)
    if found is not None:
        return found
    return _RATES if site.partition(".")[0] in SCHEDULERS else _MODULE


def _of(site: str, terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Those of a formula's terms that speak of its arguments."""
    arguments = {*ENTRIES[site].signature.parameters, "step", "earlier"}
    tensors = tuple(f"{name}_" for name in ("params", "grads"))
    return tuple(each for each in terms if each.fact in arguments or each.fact.startswith(tensors))


#: For each set the sites with their terms.
PYTHON_TABLES: Mapping[str, Mapping[str, tuple[Term, ...]]] = {
    "core": {site: _terms(site, _STEP) for site in ENTRIES},
    "extended": {site: _terms(site, _FORMULA) for site in EXTENDED},
}


#: How often each site is drawn: a form of a formula in core, and a scheduler, more seldom than the rest.
PYTHON_WEIGHTS: Mapping[str, Mapping[str, int]] = {
    "core": {site: 1 if ENTRIES[site] in STEPS else 6 for site in ENTRIES},
    "extended": {site: 3 if EXTENDED[site] in STEPS else 2 for site in EXTENDED},
}
