"""Modes of torch.distributed in a single process: distributed tensors."""

from typing import Any

import torch
import torch.distributed

from embcheck.modes.layer import FUNC, IN_PLACE, TABLE, Build, Call, Tensor, handed, on_routes
from embcheck.modes.mode import add_mode


def alone() -> None:
    """The process group of this one process, made once."""
    if not torch.distributed.is_initialized():
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)


def no_group() -> str | None:
    """Why there is no process group here."""
    if not torch.distributed.is_available():
        return "this torch was built without torch.distributed"
    try:
        alone()
    except (RuntimeError, ValueError, OSError) as error:
        first, _, _ = str(error).partition("\n")
        return f"no process group of one: {first}"
    return None


def no_tensor() -> str | None:
    """Why there are no distributed tensors here."""
    try:
        import torch.distributed.tensor  # noqa: F401
    except ImportError:
        return "this release has no torch.distributed.tensor"
    return no_group()


def placed(build: Build, placement: str, *axis: int) -> Build:
    """The table is a distributed tensor on a mesh of one process; the result is taken together."""
    from torch.distributed import tensor as distributed

    alone()
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    place = getattr(distributed, placement)(*axis)

    def around(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
        spread = distributed.DTensor.from_local(table, mesh, [place])
        copies = [
            distributed.DTensor.from_local(g, mesh, [distributed.Replicate()]) if isinstance(g, Tensor) else g
            for g in given
        ]
        return function(spread, *copies).full_tensor()  # type: ignore[attr-defined, no-any-return]

    return handed(build, around)


_FIXED = "the result is a view that autograd lets nobody write to"
_PLACED = {
    "limited": f"{IN_PLACE}, which here is another",
    "limited=False": "renorm's spellings are bags too, for which no sharding strategy is registered",
    "sparse": "no sharding strategy is registered for sparse gradients",
    "route=double_backward": "what takes a table apart is not differentiated twice",
    "route=doubled": _FIXED,
    "history=output_overwritten": _FIXED,
    "route=forward_mode": "DTensor has no forward mode",
    **on_routes(FUNC, "DTensor is no tensor of torch.func"),
    "route=batched": "DTensor is no tensor of torch.vmap",
    "embedding_dim=0 & entry=linear": "a table without columns is not sharded by them",
} | {f"entry={name}": "no sharding strategy is registered for it" for name in ("bag_sum", "bag_mean", "bag_max")}

_DTENSOR: dict[str, Any] = {"calls": TABLE, "rebuilds": True, "lacking": no_tensor, "cost": 6, "cannot": _PLACED}
_ONE = "The table is a DTensor on one process"
add_mode("dtensor_replicate", f"{_ONE}, Replicate().", placed, "Replicate", **_DTENSOR)
add_mode("dtensor_rows", f"{_ONE}, its rows sharded: Shard(0).", placed, "Shard", 0, **_DTENSOR)
add_mode("dtensor_columns", f"{_ONE}, its columns sharded: Shard(1).", placed, "Shard", 1, **_DTENSOR)
