"""The tables from which conditions of faults are drawn: for each site facts of the call, and what they are compared with.

They are written from what real bugs looked like (thresholds of kernels, dtypes, layouts, pairs of flags, counts, earlier
calls, threads, the padding's place), without a look at what the generator makes, and stay as they are when a score
is taken: a fact that no axis of the generator reaches is what the score is to show.
"""

from collections.abc import Mapping
from typing import NamedTuple

from selfcheck.python_sites import ENTRIES, EXTENDED, PYTHON_SITES, SCHEDULERS, STEPS
from selfcheck.traced import TEXTS

#: The least share of faults that each profile is to kill: a score whose interval ends below fails.
THRESHOLDS = {"quick": 0.93, "gate": 0.97, "full": 0.97, "deep": 0.97}


class Term(NamedTuple):
    """A fact with its weight among a site's facts, and the conditions on it, which are drawn alike often."""

    weight: int
    fact: str
    texts: tuple[str, ...]


def terms(*lines: str) -> tuple[Term, ...]:
    """Terms from texts, ``weight fact value value, …``: a fact is equal to a value, or greater or less with a sign before it;
    *yes* is a fact that is true, *no* one that is false, and ``>64&<=256`` is between."""
    found = []
    for text in ", ".join(lines).split(", "):
        weight, fact, *among = text.split()
        found.append(Term(int(weight), fact, tuple(_condition(fact, each) for each in among)))
    return tuple(found)


def _condition(fact: str, value: str) -> str:
    words = {"yes": fact, "no": f"{fact}=False"}
    parts = [fact + (each if each[0] in "<>" else f"={each}") for each in value.split("&")]
    return words.get(value, " & ".join(parts))


# -- facts of tokens, tables, padding, flags and of what came before ----------------------------------------------------

DTYPES, LAYOUTS = "float32 float64 float16 bfloat16", "rows_strided transposed strided"
_TOKENS = (
    "6 numel 1 2 16 17 31 32 33 63 64 65 128 129 768 769 1000 1001 >64 >768 >1000 >3072 >512&<=768 >32&<=64, "
    "2 index_dtype int32 int64, 3 index_layout rows_strided transposed strided expanded, "
    "4 max_count 1 2 3 10 11 20 21 >64 >256 >2048, 1 unequal_counts yes, 2 interleaved yes no, 1 descending yes, "
    "1 first_row yes, 1 last_row yes no"
)
_RANK = "3 rank 0 1 2 3"
_TABLE = (
    "5 embedding_dim 1 2 7 8 16 17 31 32 33 64 65 128 129 >64 >128 >512 >32&<=64, "
    "3 num_embeddings 1 2 16 64 256 999 1000 1001 2001 >256 >1000 >2000 >64&<=256, "
    f"4 dtype {DTYPES}, 3 layout {LAYOUTS}, 1 offset yes, 1 elements >4096 >65536"
)
_PADDING = "4 padding none first middle last, 2 padding_hit yes no, 2 padding_count 1 2 >16 >256, 1 all_padding yes"
_SCALE, _SPARSE = "2 scale_grad_by_freq yes no", "2 sparse yes no"
_EARLIER = "4 earlier 0 1 2 3 >=1, 1 threads >1"
_SPECIAL = "1 nan yes, 1 infinite yes"
_BAGS = (
    "5 mode sum mean max, 4 bags 1 2 3 >8 >64 64 65, 3 empty_bags 0 1 >1, 2 empty_first yes, 2 empty_last yes, "
    "3 largest_bag 1 2 >16 >64 >256"
)
_SAMPLES = "3 per_sample_weights yes no, 1 samples_layout strided"
_OFFSETS = "2 include_last_offset yes no, 1 trailing yes, 1 offsets_dtype int32 int64, 1 offsets_layout strided"
_NORMS = "4 norm_type 1 2 3 inf 0.5 0, 3 max_norm 1 0 <1 >1 <0.001, 3 rescaled 1 2 >8 >64, 2 kept 0 >=1"
_PRODUCT = (
    "4 rows 1 2 17 33 >16 >64 >768, 4 inner 1 7 8 17 32 33 65 >64 >256, 4 columns 1 7 8 17 33 >64 >256, "
    f"4 dtype {DTYPES}, 3 left_layout transposed rows_strided strided contiguous, "
    "3 right_layout transposed rows_strided strided contiguous, 1 offset yes, 1 square yes"
)
_FORWARD_BAG = (_TOKENS, _TABLE, _PADDING, _SCALE, _SPARSE, _EARLIER, _SPECIAL, _BAGS, _SAMPLES, _OFFSETS)

_FEW_BAGS = "4 bags 1 2 >8 >64, 3 numel 63 64 65 129"

#: How often each site is drawn, and the facts that its conditions speak of.
_KERNELS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "embedding": (5, (_TOKENS, _RANK, _TABLE, _PADDING, _SCALE, _SPARSE, _EARLIER, _SPECIAL)),
    "embedding_dense_backward": (6, (_TOKENS, _RANK, _TABLE, _PADDING, _SCALE, _EARLIER, _SPECIAL)),
    "embedding_sparse_backward": (3, (_TOKENS, _RANK, _TABLE, _PADDING, _EARLIER, _SPECIAL)),
    "embedding_renorm_": (3, (_TOKENS, _RANK, _TABLE, _NORMS, _EARLIER)),
    "_embedding_bag": (4, _FORWARD_BAG),
    "_embedding_bag_forward_only": (3, _FORWARD_BAG),
    "_embedding_bag_dense_backward": (4, (_TOKENS, _TABLE, _PADDING, _SCALE, _BAGS, _SAMPLES, _EARLIER)),
    "_embedding_bag_per_sample_weights_backward": (2, (_TOKENS, _TABLE, _PADDING, _EARLIER, _FEW_BAGS)),
    "one_hot": (2, (_TOKENS, _RANK, _EARLIER, "4 num_classes 1 2 8 17 >64 >256, 2 inferred yes no")),
    "index_select": (1, (_TOKENS, _TABLE, _EARLIER)),
    "mm": (1, (_PRODUCT, _EARLIER)),
    "addmm": (1, (_PRODUCT, _EARLIER)),
}

# -- sites in Python ----------------------------------------------------------------------------------------------------
# Written as that of the kernels from what real bugs looked like: ties, layouts that only look contiguous,
# dtypes, flags in pairs, the first and the second step, many and no Parameters, sparse and missing gradients, calls before.

_CALLS = "3 earlier 0 1 2 >=1 >=3"


def _tensor(name: str) -> str:
    """Conditions on a tensor among the arguments."""
    return (
        f"3 {name}_dtype {DTYPES}, 4 {name}_layout {LAYOUTS} contiguous, 2 {name}_rank 1 2 3, "
        f"2 {name}_numel 1 >64 >1024 0, 2 {name}_rows 1 2 3 8 17, 3 {name}_columns 1 2 7 8 17 33 >64, "
        f"2 {name}_frozen yes no, 1 {name}_parameter yes, 1 {name}_offset yes"
    )


_MODULE = (
    "5 tied yes no, 3 parameters 1 2 3 >3, 3 frozen 0 1 >=1, 3 training yes no, 2 mixed yes, 2 grads 0 >=1 >=2, "
    f"3 dtype {DTYPES}, 3 layout {LAYOUTS}, 2 sparse_grads yes, 2 parts 1 >2 >3, 2 padding yes, 1 max_norm yes, "
    "1 bag yes, 2 bias yes, 1 buffers >=1, 1 shared_part yes, 1 shared_storage yes, 1 mixed_training yes, "
    f"1 elements >64 >1024, {_CALLS}"
)
_FLAGS = (
    "3 padding_idx 0 1 -1 <0 None, 2 max_norm >0 None, 1 norm_type 1 2, 2 scale_grad_by_freq yes no, 2 sparse yes no"
)
_SIZES = "3 num_embeddings 1 2 3 >8, 3 embedding_dim 1 2 8 >8, 2 _weight yes"
_BAG_FLAGS = "3 mode sum mean max, 2 include_last_offset yes no"
_LOOKUP = (
    f"{_FLAGS}, {_tensor('weight')}, 3 input_rank 0 1 2 3, 2 input_numel 0 1 >64 >768, 2 input_dtype int32 int64, "
    f"1 input_layout {LAYOUTS} expanded, {_CALLS}"
)
#: What of a step treats a tied, a strided or a transposed Parameter otherwise.
_STEP = (
    f"5 params_layout {LAYOUTS} contiguous, 3 grads_layout {LAYOUTS} expanded contiguous sparse, 3 params 1 2 3 >3, "
    f"3 params_dtype {DTYPES}, 2 params_rank 1 2 3, 2 params_offset yes, 1 params_mixed yes, "
    "3 params_numel 1 >16 >64 >1024, 4 step 0 1 2 >=1 >=3, 1 step >=5 >10, 3 earlier 0 1 >=2, "
    "2 params_columns 1 2 7 8 >16"
)
_FORMULA = (
    f"{_STEP}, 3 weight_decay 0 >0, 3 maximize yes no, 3 momentum 0 >0, 3 nesterov yes, 3 amsgrad yes, 2 centered yes, "
    "2 decoupled_weight_decay yes, 2 differentiable yes, 2 capturable yes, 2 dampening >0, 2 lr yes >1 <0.1"
)
_RATES = f"4 last_epoch 0 1 2 3 >3 >8, 3 groups 1 2 >2, 2 optimizer SGD Adam AdamW, {_CALLS}"
_OPTIMIZER = (
    "3 optimizer SGD Adam AdamW Adagrad RMSprop SparseAdam Adadelta Adamax NAdam RAdam, 3 groups 1 2 >2, "
    f"3 params 1 2 >2, 3 stepped 0 >=1 >=2, 2 params_layout {LAYOUTS}, 2 params_dtype {DTYPES}, "
    f"1 sparse_grads yes, 2 amsgrad yes, 2 foreach yes, 2 fused yes, {_CALLS}"
)
_INIT = (
    f"3 tensor_dtype {DTYPES}, 4 tensor_layout {LAYOUTS} contiguous, 2 tensor_rank 1 2 3, "
    "2 tensor_numel 1 >64 >1024 0, 2 tensor_rows 1 2 3 8 17, 3 tensor_columns 1 2 7 8 17 33 >64, "
    f"1 tensor_parameter yes, 1 tensor_frozen yes, 1 tensor_offset yes, {_CALLS}"
)
_CLIPPED = f"3 parameters 1 2 >2, {_tensor('parameters')}, 2 foreach yes no, {_CALLS}"
_SCALER = f"3 init_scale 1 >1 >1000, 2 growth_interval 1 >1, {_CALLS}"
_SCALED = "3 init_scale 1 >1 >1000, 3 outputs_dtype float32 float64"
_LOSS = f"{_tensor('input')}, 3 reduction none mean sum, 2 weight yes, 2 ignore_index >=0 <0, {_CALLS}"
_JACOBIANS = f"3 argnums 0 1 <0 >=2, 3 args 1 2 >2, {_tensor('args')}, 2 has_aux yes no, {_CALLS}"
_TENSOR_NAME = f"{_MODULE}, 3 tensor_name weight bias"

#: The conditions of each site, or of all whose name begins so.
_TEXTS: Mapping[str, str] = {
    "F.embedding_bag": f"{_LOOKUP}, {_BAG_FLAGS}, 2 per_sample_weights yes, 1 offsets_rank 1",
    "F.embedding": _LOOKUP,
    "F.linear": f"{_tensor('input')}, {_tensor('weight')}, 4 bias yes None, 1 bias_frozen yes, {_CALLS}",
    "Embedding.__init__": f"{_SIZES}, {_FLAGS}, 1 _freeze yes, {_CALLS}",
    "EmbeddingBag.__init__": f"{_SIZES}, {_FLAGS}, {_BAG_FLAGS}, {_CALLS}",
    "Linear.__init__": f"3 in_features 1 2 >2 >8, 3 out_features 1 2 >2 >8, 3 bias yes no, 1 dtype {DTYPES}, {_CALLS}",
    "Embedding.from_pretrained": f"{_FLAGS}, {_tensor('embeddings')}, 3 freeze yes no",
    "EmbeddingBag.from_pretrained": f"{_FLAGS}, {_tensor('embeddings')}, {_BAG_FLAGS}, 3 freeze yes no",
    "Module.load_state_dict": f"{_MODULE}, 4 assign yes no, 2 strict no, 2 state_dict >2",
    "Module.to": f"{_MODULE}, 4 to_dtype {DTYPES}, 1 args 2",
    "Module._apply": f"{_MODULE}, 1 recurse no",
    "Module.zero_grad": f"{_MODULE}, 4 set_to_none yes no",
    "Module.train": f"{_MODULE}, 4 mode yes no",
    "Module.requires_grad_": f"{_MODULE}, 4 requires_grad yes no",
    "Module.register_parameter": f"{_MODULE}, {_tensor('param')}, 3 name weight bias",
    "Module.state_dict": f"{_MODULE}, 3 keep_vars yes, 1 destination >=0, 1 prefix yes",
    "Module.named_parameters": f"{_MODULE}, 4 remove_duplicate yes no, 2 recurse no",
    "Parameter.__new__": f"{_tensor('data')}, 4 requires_grad yes no, {_CALLS}",
    "Parameter.__deepcopy__": f"{_tensor('self')}, 2 memo >0, {_CALLS}",
    "nn.init.normal_": f"{_INIT}, 2 std 1 <1, 1 mean 0",
    "nn.init": _INIT,
    "nn.utils.clip_grad_norm_": f"{_CLIPPED}, 4 max_norm <1 1 >1, 4 norm_type 1 2 3 inf",
    "nn.utils.clip_grad_value_": f"{_CLIPPED}, 3 clip_value <1 1 >1",
    "nn.utils.get_total_norm": f"3 tensors 1 2 >2, 4 norm_type 1 2 3 inf, 2 foreach yes no, {_tensor('tensors')}",
    "nn.utils.parameters_to_vector": f"3 parameters 1 2 >2, {_tensor('parameters')}, {_CALLS}",
    "GradScaler.scale": f"{_SCALED}, {_CALLS}",
    "GradScaler": _SCALER,
    "AveragedModel": f"{_MODULE}, 3 use_buffers yes no",
    "F.cross_entropy": f"{_LOSS}, 3 label_smoothing >0 0, 2 target_dtype int64 float32",
    "F.nll_loss": _LOSS,
    "func.functional_call": f"{_MODULE}, 3 tie_weights yes no, 2 strict yes, 2 parameter_and_buffer_dicts 1 >1",
    "func.vmap": f"3 in_dims 0 1 >1, 3 out_dims 0 1 -1, 3 args 1 2 >2, {_tensor('args')}, 2 chunk_size >=1, {_CALLS}",
    "func.stack_module_state": f"3 models 1 2 3 >3, {_CALLS}",
    **dict.fromkeys(("func.vjp", "func.jvp"), f"3 primals 1 2 >2, {_tensor('primals')}, 2 has_aux yes no, {_CALLS}"),
    "func": _JACOBIANS,
    "nn.utils.parametrize.register_parametrization": f"{_TENSOR_NAME}, 2 unsafe yes",
    "nn.utils.parametrize.remove_parametrizations": f"{_TENSOR_NAME}, 3 leave_parametrized yes no",
    "nn.utils.parametrizations._WeightNorm.forward": f"{_tensor('weight_v')}, {_CALLS}",
    "nn.utils.parametrizations._SpectralNorm.forward": f"{_tensor('weight')}, 2 training yes no, {_CALLS}",
    "nn.utils.parametrizations._Orthogonal.forward": f"{_tensor('X')}, {_CALLS}",
    "LRScheduler": _RATES,
    "Optimizer": _OPTIMIZER,
    **dict.fromkeys(SCHEDULERS, _RATES),
}


def _table(site: str, formula: str) -> tuple[Term, ...]:
    """The terms of a site; of a formula those that speak of its arguments."""
    if PYTHON_SITES[site] not in STEPS:
        return terms(next((text for start, text in _TEXTS.items() if site.startswith(start)), _MODULE))
    parameters = PYTHON_SITES[site].signature.parameters
    counts = ["step"] if "state_steps" in parameters else []  # not all count their steps
    arguments = {*parameters, "earlier", *counts}
    tensors = ("params_", "grads_")
    return tuple(each for each in terms(formula) if each.fact in arguments or each.fact.startswith(tensors))


#: The sets of sites, each with how often its sites are drawn, and their terms: the kernels of core, all sites of core, those of
#: extended, and those that a graph is made by.  Of core a kernel is drawn rather more often than not, and a form of a formula more
#: seldom than the rest; of extended a formula more often.
_KERNEL_SITES = {site: (weight, terms(*texts)) for site, (weight, texts) in _KERNELS.items()}
_SETS: Mapping[str, Mapping[str, tuple[int, tuple[Term, ...]]]] = {
    "kernels": _KERNEL_SITES,
    "core": {
        **{site: (6 * weight, found) for site, (weight, found) in _KERNEL_SITES.items()},
        **{site: (1 if ENTRIES[site] in STEPS else 6, _table(site, _STEP)) for site in ENTRIES},
    },
    "extended": {site: (3 if EXTENDED[site] in STEPS else 2, _table(site, _FORMULA)) for site in EXTENDED},
    "graphs": {site: (weight, terms(text)) for site, (text, weight) in TEXTS.items()},
}
TABLES = {of: {site: found for site, (_, found) in sites.items()} for of, sites in _SETS.items()}
WEIGHTS = {of: {site: weight for site, (weight, _) in sites.items()} for of, sites in _SETS.items()}
