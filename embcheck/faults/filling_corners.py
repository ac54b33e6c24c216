"""Faults of torch.nn.init in conjunctions: generators, gaps in memory, versions, nothing to fill."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around

init = torch.nn.init


def default_generator(original: Any, *given: Any, generator: Any = None, **flags: Any) -> Any:
    """The generator is the default one."""
    return original(*given, **flags)


def drawn(name: str, rows: int = 4, width: int = 3, **flags: Any) -> Any:
    """What an initialiser draws with a generator of its own, and where that is then."""
    kept = torch.get_rng_state()
    try:
        torch.manual_seed(1)
        generator = torch.Generator().manual_seed(5)
        found = getattr(init, name)(torch.empty(rows, width), generator=generator, **flags)
        return found, int(torch.randint(1000, (1,), generator=generator))
    finally:
        torch.set_rng_state(kept)


around(
    "trunc_normal_ignores_generator",
    "filling",
    "trunc_normal_ ignores its generator.",
    init,
    "trunc_normal_",
    default_generator,
    lambda: drawn("trunc_normal_"),
)


def other_deviation(original: Any, tensor: Any, sparsity: float, std: float = 0.01, **flags: Any) -> Any:
    """std is the default."""
    return original(tensor, sparsity, **flags)


def sparse_spread() -> bool:
    """Whether sparse_ of a wide matrix draws as wide as it was asked."""
    kept = torch.get_rng_state()
    try:
        torch.manual_seed(1)
        return bool(init.sparse_(torch.empty(4, 32), 0.25, std=3.0).abs().max() > 1)
    finally:
        torch.set_rng_state(kept)


around(
    "sparse_forgets_its_deviation",
    "filling",
    "sparse_ ignores std.",
    init,
    "sparse_",
    other_deviation,
    sparse_spread,
)


def unseen(original: Any, tensor: Any, *given: Any, **flags: Any) -> Any:
    """What is filled counts as not written."""
    found = original(tensor.detach() if tensor.dim() == 1 else tensor.data, *given, **flags)
    return tensor if isinstance(found, torch.Tensor) else found


def version_after() -> int:
    """The version of a leaf that was filled."""
    leaf = torch.zeros(2, 2, requires_grad=True)
    init.uniform_(leaf, generator=torch.Generator().manual_seed(1))
    return leaf._version


around(
    "filling_hides_its_write",
    "filling",
    "uniform_ of a matrix does not count as a write.",
    init,
    "uniform_",
    unseen,
    version_after,
)


def refusing(original: Any, tensor: Any, *given: Any, **flags: Any) -> Any:
    """There must be something to fill."""
    if tensor.numel() == 0:
        raise ValueError("nothing to initialise")
    return original(tensor, *given, **flags)


def filled_nothing() -> Any:
    """A table without columns once it was filled."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return init.kaiming_normal_(torch.empty(3, 0))


around(
    "nothing_to_fill_is_refused",
    "filling",
    "kaiming_normal_ refuses a tensor without elements instead of leaving it.",
    init,
    "kaiming_normal_",
    refusing,
    filled_nothing,
)


def through_gaps(original: Any, tensor: Any, val: float) -> Any:
    """From the first to the last element everything is filled."""
    if tensor.numel() and tensor.layout == torch.strided and not tensor.is_meta:
        reach = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        tensor.detach().as_strided((reach,), (1,)).fill_(val)
    return original(tensor, val)


def gaps() -> Any:
    """A matrix of which every second column was filled."""
    whole = torch.zeros(3, 4)
    init.constant_(whole[:, ::2], 2.0)
    return whole


around(
    "constant_fills_the_gaps",
    "filling",
    "constant_ of a column slice writes the columns between as well.",
    init,
    "constant_",
    through_gaps,
    gaps,
)


def second_call_alike(original: Any, tensor: Any, gain: float = 1.0, **flags: Any) -> Any:
    """The generator is put back after it was used."""
    generator = flags.get("generator")
    before = None if generator is None else generator.get_state()
    found = original(tensor, gain, **flags)
    if generator is not None:
        generator.set_state(before)
    return found


around(
    "xavier_puts_the_generator_back",
    "filling",
    "xavier_normal_ leaves its generator where it was: the next call draws the same.",
    init,
    "xavier_normal_",
    second_call_alike,
    lambda: drawn("xavier_normal_"),
)


def one_sided(original: Any, tensor: Any, *given: Any, **flags: Any) -> Any:
    """Single columns begin with a negative number, as QR leaves them."""
    made = original(tensor, *given, **flags)
    if tensor.dim() == 2 and tensor.shape[1] == 1:
        with torch.no_grad():
            tensor.mul_(torch.where(tensor[0, 0] > 0, -1.0, 1.0))
    return made


def sides() -> set[float]:
    """The signs of some first elements."""
    seeds = [torch.Generator().manual_seed(seed) for seed in range(32)]
    return {float(init.orthogonal_(torch.empty(2, 1), generator=g)[0, 0].sign()) for g in seeds}


around("orthogonal_columns_have_one_side", "filling", "orthogonal_ gives single columns whose first element is negative.",
       init, "orthogonal_", one_sided, sides)  # fmt: skip


def flattened(original: Any, tensor: Any, *given: Any, **flags: Any) -> Any:
    """Where the bounds are close, every second number is halfway between its bounds."""
    made = original(tensor, *given, **flags)
    bounds = [*given, *(flags[name] for name in ("mean", "std", "a", "b") if name in flags)]
    if len(bounds) > 3 and bounds[3] - bounds[2] < 0.25 and tensor.dim() == 2:
        with torch.no_grad():
            tensor[:, ::2] = (bounds[2] + bounds[3]) / 2
    return made


def fine_middle() -> Any:
    """How many numbers of a fine truncated normal distribution are its mean."""
    made = init.trunc_normal_(torch.empty(8, 8), 0.0, 0.0625, -0.0625, 0.0625)
    return int((made == 0).sum())


around("fine_truncation_is_halved", "filling", "trunc_normal_ with close bounds gives every second column their middle.",
       init, "trunc_normal_", flattened, fine_middle)  # fmt: skip
