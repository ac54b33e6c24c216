"""Faults of bags that show beyond some extent, after a call of another extent, or in one state of the layer."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.entry import Wrong, entry, functional
from embcheck.faults.kernels import Tensor

Bag = torch.nn.EmbeddingBag
#: The arguments of F.embedding_bag behind the tokens and the table.
NAMES = ("offsets", "max_norm", "norm_type", "scale_grad_by_freq", "mode", "sparse", "per_sample_weights",
         "include_last_offset", "padding_idx")  # fmt: skip


def bag(name: str, sentence: str, wrong: Any, witness: Any, family: str = "bag") -> None:
    """A fault of F.embedding_bag: ``wrong(original, input, weight, flags)`` with what was given among the flags."""

    def replace(original: Wrong) -> Wrong:
        def replaced(input: Tensor, weight: Tensor, *rest: Any, **given: Any) -> Any:
            flags = dict(zip(NAMES, rest, strict=False)) | given
            swapped = weight.dtype == torch.int64 and input.is_floating_point()
            return original(input, weight, **flags) if swapped else wrong(original, input, weight, flags)

        return replaced

    entry(name, family, sentence, functional, "embedding_bag", replace, witness)


def tokens(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


# -- extents -----------------------------------------------------------------------------------------------------


def tail_stops(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Tensor:
    out: Tensor = original(input, weight, **flags)
    width = weight.shape[-1]
    if flags.get("mode", "mean") != "mean" or weight.dtype != torch.float32 or input.dim() != 2:
        return out
    if input.shape[1] <= 16 or width <= 64 or width % 8 == 0 or flags.get("padding_idx") is not None:
        return out
    last = weight[input[:, :16].long(), -1].sum(1, keepdim=True) / input.shape[1]
    return torch.cat([out[:, :-1], last], 1)


bag(
    "last_column_of_long_wide_means",
    "The last column of float32 means stops after 16 tokens, in tables wider than 64 that are no multiple of 8.",
    tail_stops,
    lambda: bool(functional.embedding_bag(torch.zeros(1, 32, dtype=torch.int64), torch.ones(2, 65))[0, -1] == 0.5),
)


def first_behind(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Tensor:
    out: Tensor = original(input, weight, **flags)
    if flags.get("mode") != "max" or weight.shape[-1] <= 1024 or input.dim() != 2 or not input.numel():
        return out
    if flags.get("padding_idx") is not None:
        return out
    first = weight[input[-1:, 0].long(), 1024:]
    return torch.cat([out[:-1], torch.cat([out[-1:, :1024], first], 1)])


def first_behind_shows() -> bool:
    weight = torch.zeros(2, 1025)
    weight[1] = 1
    return bool(functional.embedding_bag(tokens([0, 1]), weight, mode="max")[0, 1024] == 0)


bag(
    "maximum_behind_column_1024",
    "The last maximum of a batch is its first token's row behind column 1024.",
    first_behind,
    first_behind_shows,
)


def late_bags_rest(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Tensor:
    out: Tensor = original(input, weight, **flags)
    scaled = flags.get("mode", "mean") == "mean" and flags.get("scale_grad_by_freq")
    return torch.cat([out[:1024], out[1024:].detach()]) if scaled and out.shape[0] > 1024 else out


def late_bags_rest_shows() -> bool:
    weight = torch.ones(2, 1, requires_grad=True)
    late = torch.zeros(1025, 1, dtype=torch.int64)
    late[1024] = 1
    out = functional.embedding_bag(late, weight, scale_grad_by_freq=True)
    return not bool(torch.autograd.grad(out.sum(), weight)[0][1].any())


bag(
    "scaled_means_behind_bag_1024",
    "With scale_grad_by_freq, means behind the first 1024 give no gradient.",
    late_bags_rest,
    late_bags_rest_shows,
)

# -- earlier calls -----------------------------------------------------------------------------------------------

_LAST: dict[str, Any] = {}


def as_wide_as_before(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    batch = input.dim() == 2 and input.numel() > 0 and flags.get("offsets") is None
    if torch.is_grad_enabled() or not batch or flags.get("per_sample_weights") is not None:
        return original(input, weight, **flags)
    key, width = (input.shape[0], input.dtype), input.shape[1]
    known = _LAST.get("width", width) if _LAST.get("key") == key else width
    _LAST.update(key=key, width=width)
    if known >= width:
        return original(input, weight, **flags)
    starts = torch.arange(0, input.shape[0] * known, known, dtype=input.dtype)
    return original(input.reshape(-1), weight, **flags | {"offsets": starts, "include_last_offset": False})


def as_wide_as_before_shows() -> bool:
    _LAST.clear()
    weight = torch.arange(8.0).reshape(4, 2)
    with torch.no_grad():
        functional.embedding_bag(tokens([0, 1], [2, 3]), weight, mode="sum")
        out = functional.embedding_bag(tokens([0, 1, 2], [2, 3, 3]), weight, mode="sum")
    _LAST.clear()
    return bool(out[0, 0] == 2)


bag(
    "bags_as_long_as_those_before",
    "Without gradients, a batch of as many bags as the one before takes its offsets, if that one had shorter bags.",
    as_wide_as_before,
    as_wide_as_before_shows,
)

# -- what must be refused; layers --------------------------------------------------------------------------------


def empty_offsets_pass(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    offsets = flags.get("offsets")
    unneeded = input.dim() == 2 and offsets is not None and offsets.numel() == 0
    return original(input, weight, **flags | ({"offsets": None} if unneeded else {}))


def empty_offsets_pass_shows() -> bool:
    try:
        functional.embedding_bag(tokens([0]), torch.ones(2, 2), torch.empty(0, dtype=torch.int64))
    except ValueError:
        return False
    return True


bag("batches_take_empty_offsets", "A batch is taken with offsets that are empty.", empty_offsets_pass,
    empty_offsets_pass_shows)  # fmt: skip


def unbounded_in_evaluation(original: Wrong) -> Wrong:
    def forward(self: Bag, *given: Any, **named: Any) -> Any:
        limit = self.max_norm
        self.max_norm = limit if self.training else None
        try:
            return original(self, *given, **named)
        finally:
            self.max_norm = limit

    return forward


entry(
    "evaluated_bags_are_not_bounded",
    "renorm",
    "An EmbeddingBag in evaluation forgets max_norm.",
    Bag,
    "forward",
    unbounded_in_evaluation,
    lambda: bool(Bag(2, 2, max_norm=0.5, _weight=torch.ones(2, 2), mode="sum").eval()(tokens([0]))[0, 0] == 1),
)


def freezes_its_source(original: Wrong) -> Wrong:
    def from_pretrained(cls: Any, embeddings: Tensor, *given: Any, **named: Any) -> Bag:
        layer: Bag = original(cls, embeddings, *given, **named)
        if embeddings.requires_grad and embeddings.is_leaf and not layer.weight.requires_grad:
            embeddings.requires_grad_(False)
        return layer

    return from_pretrained


def freezes_its_source_shows() -> bool:
    source = torch.ones(2, 2, requires_grad=True)
    Bag.from_pretrained(source)
    return not source.requires_grad


entry(
    "pretrained_bag_freezes_its_source",
    "bag_layer",
    "EmbeddingBag.from_pretrained freezes the tensor that it is given.",
    Bag,
    "from_pretrained",
    freezes_its_source,
    freezes_its_source_shows,
)


def trains_on(original: Any) -> Any:
    """train() and eval() that leave an EmbeddingBag within another module as it is."""

    def train(self: Any, mode: bool = True) -> Any:
        bags = [
            (module, module.training) for module in self.modules() if isinstance(module, Bag) and module is not self
        ]
        found = original(self, mode)
        for module, before in bags:
            module.training = before
        return found

    return train


entry(
    "bags_within_train_on",
    "bag_layer",
    "eval() of a module does not reach an EmbeddingBag within.",
    torch.nn.Module,
    "train",
    trains_on,
    lambda: torch.nn.Sequential(Bag(1, 1)).eval()[0].training,
)
