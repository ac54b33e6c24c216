"""Faults of bags: neighbours of empty bags, patterns of weights, memory of offsets, and what is accepted."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.bag_backward import Back, backward, dense
from embcheck.faults.bag_entries import after, before, call_fault
from embcheck.faults.bag_kernels import MAX, MEAN, SUM, Bag, forward, reduced, showing, wide
from embcheck.faults.bags import Given
from embcheck.faults.entry import functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.lookup_patterns import plain
from embcheck.faults.probes import passes, rows
from embcheck.faults.witnesses import unlike

half, double = torch.float16, torch.float64


def bags(
    *numbers: int, starts: tuple[int, ...] | None = None, samples: Tensor | None = None, width: int = 2, **flags: Any
) -> Callable[[], list[Tensor | None]]:
    """A bag and the gradients of table and weights."""

    def probe() -> list[Tensor | None]:
        weight = rows(4, width)
        given = None if samples is None else samples.clone().requires_grad_()
        offsets = torch.tensor((0,) if starts is None else starts)
        out = functional.embedding_bag(torch.tensor(numbers), weight, offsets, per_sample_weights=given, **flags)
        return passes(out, weight, *([] if given is None else [given]))

    return probe


def unweighted_last(bag: Bag, out: Tensor) -> Tensor:
    """The last column without weights."""
    out[:, -1] = reduced(bag._replace(samples=None))[0][:, -1]
    return out


def behind_empty(bag: Bag) -> Tensor:
    """Which bags come after an empty one."""
    empty = bag.sizes == 0
    return torch.cat([empty[:0].new_zeros(min(1, len(empty))), empty[:-1]])


def undivided(bag: Bag, out: Tensor) -> Tensor:
    """Sums where a bag comes after an empty one."""
    return torch.where(behind_empty(bag)[:, None], out * bag.sizes[:, None].to(out.dtype), out)


def second_empty(bag: Bag, out: Tensor) -> Tensor:
    """The table's first row where an empty bag comes after an empty one."""
    return torch.where((behind_empty(bag) & (bag.lengths == 0))[:, None], bag.weight[:1], out)


def finite_weights(bag: Bag) -> Bag:
    """Infinite weights replaced by the largest number."""
    assert bag.samples is not None
    return bag._replace(samples=torch.where(bag.samples.isinf(), torch.nan_to_num(bag.samples), bag.samples))


def other_first(bag: Bag, out: Tensor) -> Tensor:
    """The first bag's last column is the second's."""
    out[0, -1] = out[1, -1]
    return out


def padded_last(bag: Bag, out: Tensor) -> Tensor:
    """The padding row added to the last bag."""
    out[-1] += bag.weight[bag.padding]
    return out


forward(
    "bagn_odd_half_is_unweighted", "The last of an odd number of columns of float16 is summed without per_sample_weights.",
    lambda bag: bag.samples is not None and bag.weight.dtype == half and bag.width % 2 == 1 and bag.width > 1,
    showing([0, 1], width=3, dtype=half, samples=[2.0, 3.0], mode="sum"), spoil=unweighted_last,
)  # fmt: skip
forward(
    "bagn_mean_behind_an_empty_one", "The mean of a bag behind an empty one is its sum.",
    lambda bag: bag.mode == MEAN and bag.bags > 1 and bool((bag.lengths == 0).any()), showing([0, 1], [0, 0]),
    spoil=undivided,
)  # fmt: skip
forward(
    "bagn_second_of_two_empty", "The sum of the second of two neighbouring empty bags is the table's first row.",
    lambda bag: bag.mode == SUM and bag.bags > 1 and bag.weight.shape[0] > 0, showing([0], [0, 0, 0], mode="sum"),
    spoil=second_empty,
)  # fmt: skip
forward(
    "bagn_infinite_weights", "Infinite per_sample_weights are taken for the largest number.",
    lambda bag: bag.samples is not None and bool(bag.samples.isinf().any()),
    showing([0], samples=[float("inf")], mode="sum"), finite_weights,
)  # fmt: skip
forward(
    "bagn_double_of_many_columns", "Of more than four float64 sums of more than 32 columns the first ends like the second.",
    lambda bag: bag.mode == SUM and bag.weight.dtype == double and bag.bags > 4 and bag.width > 32,
    showing([0, 1, 2, 3, 3], [0, 1, 2, 3, 4], width=33, dtype=double, mode="sum"), spoil=other_first,
)  # fmt: skip
forward(
    "bagn_padding_at_the_very_end", "A sum's very last token counts though it is padding.",
    lambda bag: bag.mode == SUM and bag.samples is None and bag.bags > 0 and len(bag.indices) > 0
    and bag.end == len(bag.indices) and bag.padding >= 0 and int(bag.indices[-1]) == bag.padding
    and int(bag.lengths[-1]) > 0,
    showing([0, 1], padding_idx=1, mode="sum"), spoil=padded_last,
)  # fmt: skip


def by_bag(back: Back, out: Tensor) -> Tensor:
    """Frequencies counted within each bag."""
    tokens, bag_of = back.indices.long(), back.bag_of.long()
    pairs = (tokens[:, None] == tokens[None]) & (bag_of[:, None] == bag_of[None])
    share = 1 / pairs.sum(1).to(out.dtype)
    if back.samples is not None:
        share = share * back.samples
    return dense(back._replace(scale=False, samples=share.to(out.dtype)))


def adjacent(back: Back) -> Tensor:
    """Which tokens repeat the one before in their bag."""
    tokens, bag_of = back.indices, back.bag_of
    return torch.cat([tokens.new_zeros(1).bool(), (tokens[1:] == tokens[:-1]) & (bag_of[1:] == bag_of[:-1])])


backward(
    "bagn_frequencies_of_a_bag", "scale_grad_by_freq counts within each bag of a sum.",
    lambda back: back.scale and back.mode == SUM and 0 < len(back.indices) == len(back.bag_of) < 2000,
    showing([0, 0], [0, 1], mode="sum", scale_grad_by_freq=True), spoil=by_bag,
)  # fmt: skip
backward(
    "bagn_neighbours_of_int32", "Of equal int32 neighbours in one bag of a sum the first alone learns.",
    lambda back: back.indices.dtype == torch.int32 and back.mode == SUM and not back.scale
    and 1 < len(back.indices) == len(back.bag_of),
    showing([0, 0], index_dtype=torch.int32, mode="sum"),
    spoil=lambda back, out: dense(
        back._replace(
            samples=(
                torch.ones(len(back.indices), dtype=wide(back.grad).dtype) if back.samples is None else wide(back.samples)
            ) * ~adjacent(back)
        )
    ),
)  # fmt: skip


def moved(given: Given) -> Given:
    """The second bag begins one token late, if it has one."""
    offsets = given["offsets"].clone()
    ends = torch.cat([offsets[1:], offsets.new_tensor([given["input"].numel()])])
    if len(offsets) > 1 and offsets[1] < ends[1]:
        offsets[1] += 1
    return given | {"offsets": offsets}


def flat(given: Given) -> bool:
    """Whether tokens lie in a row and have offsets, within no transform."""
    offsets = given.get("offsets")
    return given["input"].dim() == 1 and offsets is not None and offsets.dim() == 1 and plain(given["input"], offsets)


def separate(given: Given) -> Tensor | None:
    """per_sample_weights."""
    return given.get("per_sample_weights")


def renormed_first(original: Callable[..., Any], given: Given) -> Any:
    """Only the first sequence's rows bounded."""
    input, bound = given["input"], given.get("max_norm")
    if bound is None or input.dim() != 2 or len(input) < 2 or not plain(input, given["weight"]):
        return original(**given)
    with torch.no_grad():
        torch.embedding_renorm_(given["weight"], input[0].contiguous(), bound, given.get("norm_type", 2.0))
    return original(**given | {"max_norm": None})


_STARTS: list[Any] = [lambda: None, None]


def old_offsets(original: Callable[..., Any], given: Given) -> Any:
    """A mean with what its offsets held when they were first used."""
    if given["mode"] != "mean" or not flat(given):
        return original(**given)
    offsets = given["offsets"]
    known = _STARTS[0]() is offsets and _STARTS[1].shape == offsets.shape and len(offsets) > 0
    if known and int(_STARTS[1].max()) <= len(given["input"]):
        return original(**given | {"offsets": _STARTS[1]})
    _STARTS[:] = [weakref.ref(offsets), offsets.clone()]
    return original(**given)


def changed_offsets() -> list[Tensor]:
    """Means before and after a change of the offsets."""
    tokens, offsets, found = torch.tensor([0, 1, 2]), torch.tensor([0, 1]), []
    for start in (1, 2):
        offsets[1] = start
        found.append(functional.embedding_bag(tokens, rows(), offsets))
    return found


def refused(tokens: Tensor, **flags: Any) -> Witness:
    """Whether a call is answered otherwise."""
    return unlike(lambda: functional.embedding_bag(tokens, rows(), **flags))


def frozen() -> list[Tensor | None]:
    """Weights of a frozen table and their gradient."""
    samples = torch.ones(3, requires_grad=True)
    out = functional.embedding_bag(
        torch.tensor([0, 1, 2]), rows().detach(), torch.tensor([0]), mode="sum", per_sample_weights=samples
    )
    return passes(out, samples)


call_fault(
    "bagn_sparse_table_freezes_weights", "per_sample_weights of a sparse table get no gradient.",
    before(lambda g: bool(g.get("sparse")) and separate(g) is not None and g["weight"].requires_grad,
           lambda g: g | {"per_sample_weights": g["per_sample_weights"].detach()}),
    unlike(bags(0, 1, samples=torch.tensor([2.0, 3.0]), mode="sum", sparse=True)),
)  # fmt: skip
call_fault(
    "bagn_mixed_index_types", "With offsets of another integer type than the tokens the second bag begins a token late.",
    before(lambda g: flat(g) and {g["input"].dtype, g["offsets"].dtype} == {torch.int32, torch.int64}, moved),
    unlike(lambda: functional.embedding_bag(torch.tensor([0, 1, 2]), rows(), torch.tensor([0, 1]).int())),
)  # fmt: skip
call_fault(
    "bagn_offsets_from_the_beginning", "Offsets that begin later in their memory are read from its beginning.",
    before(lambda g: flat(g) and g["offsets"].is_contiguous() and g["offsets"].storage_offset() > 0,
           lambda g: g | {"offsets": g["offsets"].as_strided(g["offsets"].shape, (1,), 0)}),
    unlike(lambda: functional.embedding_bag(torch.tensor([0, 1, 2]), rows(), torch.tensor([0, 0, 1])[1:])),
)  # fmt: skip
call_fault(
    "bagn_bound_of_the_first_sequence", "max_norm of a batch renorms the rows of its first sequence only.", renormed_first,
    unlike(lambda: functional.embedding_bag(torch.tensor([[0], [1]]), rows(), max_norm=1.0)), "renorm",
)  # fmt: skip
call_fault(
    "bagn_offsets_are_remembered", "A mean keeps what its offsets held when they were used before.", old_offsets,
    unlike(changed_offsets),
)  # fmt: skip
call_fault(
    "bagn_empty_bags_have_no_graph", "Bags that are all empty are no part of a graph.",
    after(lambda g: g["input"].numel() == 0 and g["weight"].requires_grad, lambda out, g: out.detach()),
    unlike(lambda: functional.embedding_bag(torch.zeros(0, dtype=torch.int64), rows(), torch.tensor([0, 0]))),
)  # fmt: skip
call_fault(
    "bagn_weights_of_one", "per_sample_weights that are all one get no gradient.",
    before(lambda g: separate(g) is not None and plain(g["per_sample_weights"]) and bool((g["per_sample_weights"] == 1).all()),
           lambda g: g | {"per_sample_weights": g["per_sample_weights"].detach()}),
    unlike(bags(0, 1, samples=torch.ones(2), mode="sum")),
)  # fmt: skip
call_fault(
    "bagn_maximum_begins_anywhere", "A maximum accepts offsets that don't begin with 0.",
    before(lambda g: g["mode"] == "max" and flat(g) and len(g["offsets"]) > 0 and int(g["offsets"][0]) > 0,
           lambda g: g | {"offsets": torch.cat([g["offsets"].new_zeros(1), g["offsets"][1:]])}),
    refused(torch.tensor([0, 1]), offsets=torch.tensor([1]), mode="max"),
)  # fmt: skip
call_fault(
    "bagn_weights_of_another_shape", "per_sample_weights of another shape than a batch, of as many elements, are reshaped.",
    before(lambda g: g["input"].dim() == 2 and separate(g) is not None
           and g["per_sample_weights"].numel() == g["input"].numel() and g["per_sample_weights"].dim() > 0,
           lambda g: g | {"per_sample_weights": g["per_sample_weights"].reshape(g["input"].shape)}),
    refused(torch.tensor([[0, 1]]), per_sample_weights=torch.ones(2, 1), mode="sum"),
)  # fmt: skip
call_fault(
    "bagn_any_mode_is_mean", "A mode of another name is taken for 'mean'.",
    before(lambda g: g["mode"] not in ("sum", "mean", "max"), lambda g: g | {"mode": "mean"}),
    refused(torch.tensor([[0, 1]]), mode="avg"),
)  # fmt: skip
call_fault(
    "bagn_last_weight_beside_a_frozen_table", "The last of more than two weights of a frozen table gets no gradient.",
    before(lambda g: not g["weight"].requires_grad and separate(g) is not None and g["per_sample_weights"].dim() == 1
           and len(g["per_sample_weights"]) > 2,
           lambda g: g | {"per_sample_weights": torch.cat([g["per_sample_weights"][:-1],
                                                           g["per_sample_weights"][-1:].detach()])}),
    unlike(frozen),
)  # fmt: skip


def twins(bag: Bag) -> bool:
    """Whether there are two bags of the same tokens."""
    if bag.bags != 2 or len(bag.indices) in (0, 1) or int(bag.lengths[0]) != int(bag.lengths[1]):
        return False
    first, second = int(bag.lengths[0]), 2 * int(bag.lengths[0])
    return first > 0 and torch.equal(bag.indices[:first], bag.indices[first:second])


forward(
    "bagn_maxima_of_equal_bags", "Of two neighbouring bags of the same tokens the second's maximum is zero.",
    lambda bag: bag.mode == MAX and twins(bag), showing([0, 0], [0, 1], mode="max"),
    spoil=lambda bag, out: torch.cat([out[:1], torch.zeros_like(out[1:])]),
)  # fmt: skip
