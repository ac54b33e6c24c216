"""What conditions at sites in Python imply, and what each site refuses: no call that gives a result meets those.

Each refusal is one of torch on the CPU; ``tests/test_python_contradictions.py`` shows them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from selfcheck.python_sites import STEPS

#: Arguments that are one tensor.
_TENSORS = ("weight", "input", "embeddings", "data", "self", "param", "tensor", "weight_v", "X")
#: Optimizers whose states begin with a count of steps.
COUNTING = ("Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam")
#: Arguments that are several, of which the first tells its rank, rows and columns.
_LISTS = ("parameters", "tensors", "args", "primals", "params")
#: Optimizers whose step is captured on other devices alone, if it is not fused; and whose step takes no sparse gradients.
_NOT_CAPTURED = ("adadelta", "adam", "adamax", "asgd", "nadam", "radam", "rmsprop", "rprop")
_DENSE = (*_NOT_CAPTURED, "adafactor", "muon")


LAYOUTS = ("transposed", "rows_strided", "strided", "expanded")
_SEVERAL = tuple((f"{{0}}_layout={lie}", "{0}_numel>=2") for lie in LAYOUTS)
#: What follows for a tensor from its rank and from its layout.
SINGLE = (("{0}_rank=0", "{0}_numel=1"), ("{0}_numel=1", "{0}_rows=1 & {0}_columns=1"))
LAID = (
    *_SEVERAL,
    ("{0}_layout=transposed", "{0}_rank>=2"),
    # One row whose columns lie side by side is contiguous.
    ("{0}_layout=rows_strided & {0}_rank<=2", "{0}_rows>=2"),
    ("{0}_layout=rows_strided", "{0}_rank>=2 & {0}_rows>=1"),
)
#: Of a tensor, whose row is as long as it has columns, and which has an element in each row and column if it has any.
_SIDES = ("{0}_rows", "{0}_columns")
ROWS = tuple(("{0}_rank=1", f"{side} == {{0}}_numel") for side in _SIDES)
_NUMEL = tuple(("{0}_numel>=1", f"{side} <= {{0}}_numel") for side in _SIDES)
#: What follows for several tensors: of one alone as for a tensor; their layout is that of the first that is not contiguous, and
#: their number of elements that of the largest, which has no less than the first of which rows and columns are told.
_OF_LISTS = (
    *_SEVERAL,
    ("{0}_numel=1 & {0}<=1", "{0}_rows=1 & {0}_columns=1"),
    *((f"{{0}}_layout={lie} & {{0}}<=1", "{0}_rank>=2") for lie in LAYOUTS[:2]),
    ("{0}_rank=1", "{0}_rows == {0}_columns"),
    *((given, f"{side} <= {{0}}_numel") for given in ("{0}<=1 & {0}_numel>=1", "{0}_rank=1") for side in _SIDES),
)


def of_each(names: Iterable[str], rules: Iterable[tuple[str, ...]]) -> Iterator[Any]:
    """Rules for each of some names, which stand for ``{0}``."""
    return (tuple(text.format(name) for text in rule) for name in names for rule in rules)


#: Arguments that an optimizer has not.
WITHOUT = {
    **dict.fromkeys(("RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam"), ("amsgrad", "fused")),
    **dict.fromkeys(("SGD", "Adagrad"), ("amsgrad",)),
    "SparseAdam": ("amsgrad", "fused", "foreach"),
}
#: What follows from a condition.
PYTHON_IMPLIED: tuple[tuple[str, str], ...] = (
    *of_each(_TENSORS, (*SINGLE, *LAID, ("{0}_layout=transposed", "{0}_columns>=2"), *ROWS, *_NUMEL)),
    *of_each(_LISTS, _OF_LISTS),
    # What argnums names is there.
    ("argnums>=2", "args>=2"),
    # A table that has columns but no elements has no rows, in which there is no token.
    ("looks_up & weight_numel<=0 & weight_columns>=1", "input_numel<=0"),
    ("input_numel=1", "of_one_class"),
    ("input_rank<=2 & input_columns=1", "of_one_class"),
    # Arguments that optimizers have not, and those that exclude each other.
    *((f"optimizer={name}", f"{flag}=False") for name, flags in WITHOUT.items() for flag in flags),
    ("foreach", "fused=False"),
    *((f"optimizer={name}", "counts_first") for name in COUNTING),
    ("amsgrad", "counts_first"),
    ("tied", "parameters>=1"),
    ("sparse_grads", "grads>=1"),
    ("mixed", "parameters>=2"),
    ("shared_storage", "parameters>=2"),
    ("shared_part", "parts>=2"),
    ("mixed_training", "parts>=2"),
    ("padding_idx=1", "num_embeddings>=2"),
    ("padding_idx=None", "padding=False"),
    ("parameters<=1 & tied=False", "several_names=False"),
    ("input_numel<=0 & weight_numel>=1", "gives_elements=False"),
    # A sum of nothing is zero.
    *((f"{name}_numel<=0 & bias=None", "gives_zeros") for name in ("input", "weight")),
    *((f"layout={lie}", "elements>=2") for lie in LAYOUTS[:3]),
    # Gradients have as many elements as their parameters.
    *((f"grads_layout={lie}", "params_numel>=2") for lie in LAYOUTS),
    *((f"grads_layout={lie} & params<=1", "params_rank>=2") for lie in LAYOUTS[:2]),
    # Of the steps that take sparse gradients none takes weight decay beside them.
    ("grads_layout=sparse", "weight_decay=0"),
    ("params_mixed", "params>=2"),
    ("grads_layout=sparse", "takes_sparse"),
    ("capturable", "is_captured"),
    ("differentiable", "keeps_graphs"),
    *((f"tensor_dtype={dtype}", "takes_half") for dtype in ("float16", "bfloat16")),
    *(
        (f"{flag}{value}", f"takes_{flag.removeprefix('has_')}")
        for flag in ("has_aux", "use_buffers")
        for value in ("", "=False")
    ),
)

#: What is so of every call, of modules and of optimizers.
PYTHON_ALWAYS: tuple[str, ...] = ("frozen <= parameters", "grads <= parameters", "stepped <= params")


def _given() -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "F.embedding", ("weight_rank=2", "looks_up")
    yield "F.embedding_bag", ("weight_rank=2", "input_rank>=1", "input_rank<=2")
    # A row of what goes in is as long as one of the table.
    yield "F.linear", ("weight_rank<=2", "input_columns == weight_columns")
    for name in ("Embedding", "EmbeddingBag"):
        yield f"{name}.from_pretrained", ("embeddings_rank=2",)
    for name in ("eye_", "sparse_"):
        yield f"nn.init.{name}", ("tensor_rank=2",)
    yield "nn.init.dirac_", ("tensor_rank>=3",)
    for name in ("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"):
        yield f"nn.init.{name}", ("tensor_rank>=2",)
    # There is no QR decomposition of half precision.
    yield "nn.init.orthogonal_", ("tensor_rank>=2", "takes_half=False")
    yield "nn.utils.parametrizations._Orthogonal.forward", ("X_rank>=2",)
    # It has no such argument; a model that averages has, and keeps it.
    yield "func.hessian", ("takes_aux=False",)
    yield "AveragedModel.update_parameters", ("takes_use_buffers=False",)
    # Those of a module are parts of it, beside their list and its dictionary.
    yield "nn.utils.parametrize.remove_parametrizations", ("parts>=4",)
    # A Parameter is pickled without its gradient, and with memory of its own.
    yield "pickle.loads", ("grads=0", "shared_storage=False")
    for step in STEPS:
        name, _, form = step.name.partition(".")
        so = {
            "takes_sparse=False": name in _DENSE or form == "fused",
            "is_captured=False": name in _NOT_CAPTURED and form != "fused",
            "keeps_graphs=False": form == "fused" or (form == "foreach" and name != "sgd"),
            "params_rank=2": name == "muon",
            # It refuses others; its steps are counted before they are taken.
            "grads_layout=sparse": name == "sparse_adam",
            "step>=1": name == "sparse_adam",
        }
        yield step.name, tuple(text for text, holds in so.items() if holds)


#: What is so of every call of a site.
PYTHON_GIVEN: Mapping[str, tuple[str, ...]] = dict(_given())
