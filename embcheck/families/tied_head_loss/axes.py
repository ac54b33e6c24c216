"""The axes of a case of tied_head_loss: what each may be."""

from typing import Annotated, NamedTuple

from embcheck.families.tied_head_loss.programs import LOSSES, RECEIVED

#: Which targets are ignored, by the axis ``ignored``.
IGNORED = ("nothing", "some", "all")
#: The ignore_index of the axis ``ignore``: the default, or a number that stands inside or outside the classes.
IGNORE = ("default", "first", "beyond")
#: What is wrong with a call, of which each must raise.
MISTAKES = ("target_beyond", "target_negative", "weights_short", "targets_fewer", "smoothing_above_one")


class PredictionAxes(NamedTuple):
    num_embeddings: Annotated[int, (4, 3, 1, 7, 33, 2, 8, 17)] = 4
    embedding_dim: Annotated[int, (2, 1, 5, 0)] = 2
    shape: Annotated[tuple[int, ...], ((3,), (), (5,), (2, 3), (3, 3), (0,), (2, 2, 2), (17,))] = (3,)
    call: Annotated[str, tuple(LOSSES)] = "cross_entropy"
    #: "index", or "probability" for a distribution over the classes
    targets: Annotated[str, ("index", "probability")] = "index"
    reduction: Annotated[str, ("mean", "sum", "none")] = "mean"
    ignored: Annotated[str, IGNORED] = "nothing"
    ignore: Annotated[str, IGNORE] = "default"
    #: whether classes have weights, among them zero
    weighted: Annotated[bool, (False, True)] = False
    label_smoothing: Annotated[float, (0.0, 0.25, 1.0)] = 0.0
    bias: Annotated[bool, (False, True)] = False
    padding_idx: Annotated[int | None, (None, 0, -1)] = None
    #: by what the table is multiplied: with 4 exp(z) overflows in float32
    scale: Annotated[int, (1, 4)] = 1
    dtype: Annotated[str, ("float32", "float64", "float16", "bfloat16")] = "float32"
    layout: Annotated[str, ("contiguous", "transposed", "column_slice", "strided")] = "contiguous"
    mistake: str | None = None
    seed: int = 0
    #: what the loss is given: logits as the head made them, as they lie otherwise, a Parameter, or what needs no gradient
    received: Annotated[str, tuple(RECEIVED)] = "made"
    #: whether the classes are the second axis of several, as of an image, and not the last one of a batch
    classes_second: Annotated[bool, (False, True)] = False
    #: how often the loss was computed before, of other logits
    earlier: Annotated[int, (0, 1, 2, 3)] = 0
