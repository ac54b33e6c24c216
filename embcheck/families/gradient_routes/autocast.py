"""What autocast makes of an autograd.Function and of a product, for the routes that ask."""

from typing import Any

import torch

from embcheck.families.lookup.programs import Tensor


def noting_function(told: list[Any], device: str, **options: Any) -> Any:
    """An autograd.Function that hands rows through, and notes the dtype of autocast in its passes, or None where it is disabled,
    and of what else it is given in a dictionary."""

    def note() -> None:
        told.append(torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None)

    forwards: Any = torch.amp.custom_fwd(device_type=device, **options)
    backwards: Any = torch.amp.custom_bwd(device_type=device)

    class Noting(torch.autograd.Function):
        @staticmethod
        @forwards  # type: ignore[untyped-decorator]
        def forward(ctx: Any, rows: Tensor, others: dict[str, Any]) -> Tensor:
            note()
            told.extend(each.dtype for each in (others["wide"], *others["more"]))
            return rows.clone()

        @staticmethod
        @backwards  # type: ignore[untyped-decorator]
        def backward(ctx: Any, sent: Tensor) -> Any:
            note()
            return sent, None

    return Noting


def casts_as_documented(device: str) -> bool:
    """Whether autocast, where no dtype is given, computes products in bfloat16 on the CPU and in float16 elsewhere, and losses of
    bfloat16 in float32."""
    one, region, products = torch.ones(1, 1, device=device), torch.autocast(device), set()
    for _ in range(2):  # as often as it is entered
        with region:
            products.add((one @ one).dtype)
    with torch.autocast(device, torch.bfloat16):
        scores = torch.ones(2, 3, dtype=torch.bfloat16, device=device)
        targets = torch.zeros(2, dtype=torch.int64, device=device)
        loss = torch.nn.functional.cross_entropy(scores, targets).dtype
    return (products, loss) == ({torch.bfloat16 if device == "cpu" else torch.float16}, torch.float32)


def left_by_regions(device: str) -> dict[str, Any]:
    """Whether autocast is on, and its dtype, after a region that was entered inside another one, and after one that was entered
    inside itself; then all is as it was before."""
    found = {}
    for name in ("inside_another", "inside_itself"):
        outer = torch.autocast(device, torch.bfloat16)
        inner = torch.autocast(device, torch.bfloat16) if name == "inside_another" else outer
        with torch.autocast(device, torch.float16, enabled=False):
            with outer, inner:
                pass
            found[name] = [torch.is_autocast_enabled(device), str(torch.get_autocast_dtype(device))]
    return found
