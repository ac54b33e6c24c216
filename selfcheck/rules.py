"""What follows from conditions of drawn faults, and what is so of every call, or of every call of a site.

What follows is a condition, or compares two facts: ``one <= other`` or ``one == other``, with spaces around the sign.  What a
site in Python refuses is refused by torch on the CPU; ``tests/test_python_contradictions.py`` shows each.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from selfcheck.python_sites import STEPS

#: Arguments of functions in Python that are one tensor.
_TENSORS = ("weight", "input", "embeddings", "data", "self", "param", "tensor", "weight_v", "X")
#: Optimizers whose states begin with a count of steps.
COUNTING = ("Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam")
#: Arguments that are several, of which the first tells its rank, rows and columns.
_LISTS = ("parameters", "tensors", "args", "primals", "params")
#: Optimizers whose step is captured on other devices alone, if it is not fused; and whose step takes no sparse gradients.
_NOT_CAPTURED = ("adadelta", "adam", "adamax", "asgd", "nadam", "radam", "rmsprop", "rprop")
_DENSE = (*_NOT_CAPTURED, "adafactor", "muon")
_LAYOUTS = ("transposed", "rows_strided", "strided", "expanded")
_SEVERAL = tuple((f"{{0}}_layout={lie}", "{0}_numel>=2") for lie in _LAYOUTS)
#: What follows for a tensor from its rank and from its layout.
_SINGLE = (("{0}_rank=0", "{0}_numel=1"), ("{0}_numel=1", "{0}_rows=1 & {0}_columns=1"))
_LAID = (
    *_SEVERAL,
    ("{0}_layout=transposed", "{0}_rank>=2"),
    # One row whose columns lie side by side is contiguous.
    ("{0}_layout=rows_strided & {0}_rank<=2", "{0}_rows>=2"),
    ("{0}_layout=rows_strided", "{0}_rank>=2 & {0}_rows>=1"),
)
#: Of a tensor, whose row is as long as it has columns, and which has an element in each row and column if it has any.
_SIDES = ("{0}_rows", "{0}_columns")
_ROWS_OF = tuple(("{0}_rank=1", f"{side} == {{0}}_numel") for side in _SIDES)
_NUMEL = tuple(("{0}_numel>=1", f"{side} <= {{0}}_numel") for side in _SIDES)
#: What follows for several tensors: of one alone as for a tensor; their layout is that of the first that is not contiguous, and
#: their number of elements that of the largest, which has no less than the first of which rows and columns are told.
_OF_LISTS = (
    *_SEVERAL,
    ("{0}_numel=1 & {0}<=1", "{0}_rows=1 & {0}_columns=1"),
    *((f"{{0}}_layout={lie} & {{0}}<=1", "{0}_rank>=2") for lie in _LAYOUTS[:2]),
    ("{0}_rank=1", "{0}_rows == {0}_columns"),
    *((given, f"{side} <= {{0}}_numel") for given in ("{0}<=1 & {0}_numel>=1", "{0}_rank=1") for side in _SIDES),
)


def _of_each(names: Iterable[str], rules: Iterable[tuple[str, ...]]) -> Iterator[Any]:
    """Rules for each of some names, which stand for ``{0}``."""
    return (tuple(text.format(name) for text in rule) for name in names for rule in rules)


#: Arguments that an optimizer has not.
WITHOUT = {
    **dict.fromkeys(("RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam"), ("amsgrad", "fused")),
    **dict.fromkeys(("SGD", "Adagrad"), ("amsgrad",)),
    "SparseAdam": ("amsgrad", "fused", "foreach"),
}
#: Tensors of graphs, and those that are told how they lie.
_TRACED_LAID = ("indices", "grad_output", "self", "weight")
_TRACED = ("weight", "indices", "index", "self", "mask", "values", "grad_output", "offsets")

#: What follows in graphs.
OF_GRAPHS: tuple[tuple[str, str], ...] = (
    *_of_each(_TRACED, (*_SINGLE, ("{0}_numel=1", "{0}_rows<=1"), ("{0}_numel=2", "{0}_rows<=2"), *_ROWS_OF)),
    *_of_each(_TRACED_LAID, (*_LAID, ("{0}_layout=transposed", "{0}_numel>=4"))),
    *_of_each(_TRACED_LAID, [("{0}_rank=2 & {0}_rows=1 & {0}_columns=1", "{0}_layout=contiguous")]),
    *((f"{text}_layout={lie}", f"{name}_rows>=2")  # one row is contiguous
      for lie in _LAYOUTS[:2] for name, text in (("weight", "weight"), ("self", "self_rank=2 & self"))),
    ("indices_layout=expanded & indices_rank=1", "tokens_differ=False"),  # which are one in memory
    ("mode>0", "per_sample_weights=None"),  # which kernels call mean and max
    *((f"padding_idx{row}", f"weight_rows>={rows} & num_weights>={rows}") for row, rows in (("=1", 2), (">1", 3))),
    *((f"indices_rank={rank}", f"grad_output_rank={rank + 1}") for rank in range(4)),
    # The gradient of a table is summed from that of the rows, which has an axis more than the tokens, and what it is divided by
    # from as many ones as there are tokens.
    *((f"indices_rank={rank}", f"values_rank>={rank} & values_rank<={rank + 1}") for rank in range(4)),
    *((f"values_rank={rank}", f"indices_rank>={rank - 1} & indices_rank<={rank}") for rank in range(1, 4)),
    *((f"self_dtype={dtype} & indices_rank={rank}", f"values_rank={rank + 1}")
      for dtype in ("float32", "float64") for rank in range(3)),
    *((f"self_dtype={half}", "keeps_half") for half in ("float16", "bfloat16")),
    *((f"indices_{several}", "grad_output_rows == indices_rows") for several in ("rank>=1", "rows>=2", "numel>=2")),
    *((f"values_rank={rank} & indices_rank={rank}", "self_rows == self_columns") for rank in (1, 2)),
    ("mask_rank=1 & indices_rank=0", "values_rows == self_columns"),
)  # fmt: skip

#: What follows from conditions: they can't be drawn with what contradicts it.
IMPLIED: tuple[tuple[str, str], ...] = (
    # -- of kernels
    ("rank=0", "numel=1"),
    ("padding_hit", "padding_count>=1"),
    ("padding_hit=False", "padding_count=0"),
    ("padding=none", "padding_count=0 & padding_hit=False"),
    ("padding_count>=1", "padding_hit"),
    ("padding=middle", "num_embeddings>=3"),
    ("padding=last", "num_embeddings>=2"),
    ("all_padding", "padding_count>=1 & interleaved=False & unequal_counts=False"),
    ("unequal_counts", "numel>=3 & num_embeddings>=2 & max_count>=2"),
    ("interleaved", "numel>=3 & max_count>=2 & num_embeddings>=2"),
    ("descending", "numel>=2 & num_embeddings>=2 & max_count<=1 & interleaved=False & all_padding=False"),
    *((f"index_layout={lie}", "numel>=4 & rank>=2") for lie in _LAYOUTS[:2]),
    ("index_layout=strided", "numel>=2"),
    # So many tokens have no two axes that are longer than one.
    *((f"index_layout={lie} & numel={prime}", f"numel>{prime}") for lie in _LAYOUTS[:2] for prime in (17, 31, 769)),
    ("index_layout=expanded", "max_count>=2"),
    # A row of tokens is expanded from one.
    ("index_layout=expanded & rank<=1", "unequal_counts=False & interleaved=False"),
    ("inferred", "last_row"),
    ("layout=transposed", "embedding_dim>=2"),
    ("layout=rows_strided", "embedding_dim>=1"),
    ("per_sample_weights", "mode=sum"),
    ("samples_layout=strided", "per_sample_weights & numel>=2"),
    ("empty_first", "empty_bags>=1"),
    ("empty_last", "empty_bags>=1"),
    ("trailing", "include_last_offset"),
    # Of one row what has its columns side by side is contiguous, and so is a column whose rows are.
    ("left_layout=rows_strided", "rows>=2"),
    ("left_layout=transposed", "inner>=2"),
    ("right_layout=rows_strided", "inner>=2"),
    ("right_layout=transposed", "columns>=2"),
    ("all_padding", "numel == padding_count"),
    ("num_embeddings<=1", "numel == max_count"),
    ("index_layout=expanded & rank<=1", "numel == max_count"),
    ("square", "rows == inner"),
    ("square", "inner == columns"),
    # -- of sites in Python
    *_of_each(_TENSORS, (*_SINGLE, *_LAID, ("{0}_layout=transposed", "{0}_columns>=2"), *_ROWS_OF, *_NUMEL)),
    *_of_each(_LISTS, _OF_LISTS),
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
    ("parameters<=2 & mixed", "two_alike=False"),
    ("input_numel<=0 & weight_numel>=1", "gives_elements=False"),
    # A sum of nothing is zero.
    *((f"{name}_numel<=0 & bias=None", "gives_zeros") for name in ("input", "weight")),
    *((f"layout={lie}", "elements>=2") for lie in _LAYOUTS[:3]),
    # Gradients have as many elements as their parameters.
    *((f"grads_layout={lie}", "params_numel>=2") for lie in _LAYOUTS),
    *((f"grads_layout={lie} & params<=1", "params_rank>=2") for lie in _LAYOUTS[:2]),
    # Of the steps that take sparse gradients none takes weight decay beside them.
    ("grads_layout=sparse", "weight_decay=0"),
    ("params_mixed", "params>=2"),
    ("grads_layout=sparse", "takes_sparse"),
    *((f"tensor_dtype={dtype}", "takes_half") for dtype in ("float16", "bfloat16")),
    *((f"{flag}{value}", f"takes_{flag}") for flag in ("has_aux", "use_buffers") for value in ("", "=False")),
    *OF_GRAPHS,
    # -- of kernels: which row is padding, and whether it occurs; and bags
    ("padding=first & padding_hit", "first_row"),
    ("padding=first & padding_hit=False", "first_row=False"),
    ("padding=first & first_row", "padding_hit"),
    ("padding=last & padding_hit", "last_row"),
    ("padding=last & padding_hit=False", "last_row=False"),
    ("padding=last & last_row", "padding_hit"),
    ("padding=last & last_row=False", "padding_hit=False"),
    ("padding=first & all_padding & num_embeddings>=2", "last_row=False"),
    ("padding=middle & all_padding", "first_row=False & last_row=False"),
    ("padding=last & all_padding", "first_row=False"),
    ("num_embeddings<=1 & numel>=1", "first_row & last_row"),
    ("num_embeddings<=1 & numel>=1 & padding_hit", "all_padding"),
    ("bags<=1 & largest_bag<=1", "several_in_bags=False"),
    ("bags<=1 & empty_bags>=1", "largest_bag=0"),
    ("bags<=2 & empty_bags>=2", "largest_bag=0"),
    ("bags<=1 & empty_first", "empty_last"),
    ("bags<=1 & empty_last", "empty_first"),
)

#: What is so of every call.
ALWAYS: tuple[str, ...] = (
    "max_count <= numel",
    "padding_count <= max_count",
    "largest_bag <= numel",
    "empty_bags <= bags",
    "rescaled <= num_embeddings",
    "rescaled <= numel",
    "embedding_dim <= elements",
    "num_embeddings <= elements",
    "frozen <= parameters",
    "grads <= parameters",
    "stepped <= params",
)


def _of_step(name: str, form: str) -> tuple[str, ...]:
    so = {
        "takes_sparse=False": name in _DENSE or form == "fused",
        "capturable=False": name in _NOT_CAPTURED and form != "fused",
        "differentiable=False": form == "fused" or (form == "foreach" and name != "sgd"),
        "params_rank=2": name == "muon",
        # It refuses others; its steps are counted before they are taken.
        "grads_layout=sparse": name == "sparse_adam",
        "step>=1": name == "sparse_adam",
    }
    return tuple(text for text, holds in so.items() if holds)


_MASKED = ("self_layout=contiguous", "keeps_half=False", "values_rank == mask_rank")
_BAG = ("indices_rank=1", "offsets_rank=1", "weight_rank=2")
#: What is so of every call of a site, for the reason that stands beside it.
GIVEN: Mapping[str, tuple[str, ...]] = {
    # at::embedding_bag hands on its indices and offsets contiguous; the kernels read any others as if they were.
    **{f"_embedding_bag{end}": ("rank<=1", "index_layout=contiguous", "offsets_layout=contiguous")
       for end in ("", "_forward_only", "_dense_backward", "_per_sample_weights_backward")},
    # It takes nothing else, and its classes are the rows of its table, which is as wide as it is high.
    "one_hot": ("index_dtype=int64", "num_classes == num_embeddings", "num_classes == embedding_dim"),
    # It takes a row of tokens.
    "index_select": ("rank<=1",),
    "F.embedding": ("weight_rank=2", "looks_up"),
    "F.embedding_bag": ("weight_rank=2", "input_rank>=1", "input_rank<=2"),
    # A row of what goes in is as long as one of the table.
    "F.linear": ("weight_rank<=2", "input_columns == weight_columns"),
    **{f"{name}.from_pretrained": ("embeddings_rank=2",) for name in ("Embedding", "EmbeddingBag")},
    **{f"nn.init.{name}_": ("tensor_rank=2",) for name in ("eye", "sparse")},
    "nn.init.dirac_": ("tensor_rank>=3",),
    **{f"nn.init.{name}_{kind}_": ("tensor_rank>=2",) for name in ("xavier", "kaiming") for kind in ("uniform", "normal")},
    # There is no QR decomposition of half precision.
    "nn.init.orthogonal_": ("tensor_rank>=2", "takes_half=False"),
    "nn.utils.parametrizations._Orthogonal.forward": ("X_rank>=2",),
    # It has no such argument; a model that averages has, and keeps it.
    "func.hessian": ("takes_has_aux=False",),
    "AveragedModel.update_parameters": ("takes_use_buffers=False",),
    # Those of a module are parts of it, beside their list and its dictionary.
    "nn.utils.parametrize.remove_parametrizations": ("parts>=4",),
    # A Parameter is pickled without its gradient, and with memory of its own.
    "pickle.loads": ("grads=0", "shared_storage=False"),
    **{step.name: _of_step(*step.name.split(".")) for step in STEPS},
    # In graphs a gradient in half precision is summed in single precision, into zeros that the decomposition makes; a mask has as
    # many axes as what it masks; inductor's boxes do not say how they lie in memory.
    "decomposition.embedding": ("weight_rank=2",),
    # All that puts rows of lookups adds them.
    "decomposition._unsafe_index_put": ("self_layout=contiguous", "keeps_half=False", "accumulate"),
    "decomposition._unsafe_masked_index_put_accumulate": _MASKED,
    "decomposition.masked_fill": ("keeps_half=False", "self_rank == mask_rank"),
    "decomposition.index_select": ("self_rank=2", "index_rank<=1"),
    "lowering.embedding": ("weight_rank=2", "weight_layout=contiguous", "indices_layout=contiguous"),
    "lowering.index": ("self_layout=contiguous",),
    "lowering.div": ("keeps_half=False",),
    "lowering._unsafe_masked_index_put_accumulate": _MASKED,
    **{f"lowering._embedding_bag{end}": (*_BAG, "weight_layout=contiguous")
       for end in ("", "_forward_only", "_per_sample_weights_backward")},
}  # fmt: skip

#: What the rows of the tensor are that is told of: of a table its own, of an upstream gradient tokens or bags.
ROWS: Mapping[str, str] = {
    **dict.fromkeys(("embedding", "embedding_renorm_", "index_select"), "num_embeddings"),
    **{f"_embedding_bag{end}": "num_embeddings" for end in ("", "_forward_only", "_per_sample_weights_backward")},
    **dict.fromkeys(("embedding_dense_backward", "embedding_sparse_backward"), "numel"),
    "_embedding_bag_dense_backward": "bags",
}

#: What follows once a fact is as great as another, which is not zero.
FULL = ("padding_count", "numel", "all_padding")

#: A fact that is never greater than the product of two others.
PRODUCTS: tuple[tuple[str, str, str], ...] = (
    ("numel", "num_embeddings", "max_count"),
    ("elements", "num_embeddings", "embedding_dim"),
)
