"""Programs: lookups in tables that several processes share.  Each rank is a fork of this process."""

import io
import multiprocessing
import os
import pathlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing

from embcheck.core.registry import by_name, named

Tensor = torch.Tensor
#: Of a mesh, the table, its placement and the layer's flags: the parameter, the lookup of tokens that are placed, and the
#: weight of a tied head, if that is not the parameter.
Make = Callable[[Any, Tensor, Any, dict[str, Any]], tuple[Any, ...]]
#: What is done with what was looked up: ``use(rows, another lookup, the table)``.
Use = Callable[[Tensor, Callable[[], Tensor], Tensor], Tensor]

#: Seconds that those below have at most once one has failed, and between two looks whether they wait in vain.
GRACE, LOOK = 1.0, 0.025
#: How it begins where ranks make no process group.
APART = "the ranks can't reach each other"


def on_ranks(count: int, work: Callable[[], Any]) -> list[Any]:
    """What ``work`` gives on each rank of a process group; what the lowest of those raised that did is raised here."""
    import torch._dynamo  # which distributed tensors import when first used: not on every rank

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    context: Any = torch.multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(False) for _ in range(count)]
        processes = [
            context.Process(target=answer, args=(rank, count, folder, pipe[1], work)) for rank, pipe in enumerate(pipes)
        ]
        for process in processes:
            process.start()
        try:
            answers = gathered([reading for reading, _ in pipes], processes)
        finally:
            for process in processes:
                process.kill()
                process.join()
    for _, error in answers:
        if error is not None:
            raise error
    return [given for given, _ in answers]


def answer(rank: int, count: int, folder: str, pipe: Any, work: Callable[[], Any]) -> None:
    """What one rank does: it sends what its work gave or raised, and waits for its end."""
    told: tuple[Any, BaseException | None]
    parent: Any = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    torch.set_num_threads(1)  # makes the thread pool anew, before autograd's threads do so at once
    # The ranks talk on this machine alone, whatever its name resolves to.
    within = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if within:
        os.environ["GLOO_SOCKET_IFNAME"] = within[0]
    try:
        try:
            torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/s", rank=rank, world_size=count)
        except Exception as error:
            raise RuntimeError(f"{APART}: {error}") from None
        told = work(), None
    except Exception as error:
        told = None, error
    held = io.BytesIO()
    torch.save(told, held)
    pipe.send_bytes(held.getvalue())
    threading.Event().wait()  # a rank that ends makes the others fail in the midst of their work


def gathered(pipes: list[Any], processes: list[Any]) -> list[tuple[Any, BaseException | None]]:
    """What the ranks send, in their order; once one has failed, of those below it that do not wait for it in vain, for what the
    lowest raised is told."""
    answers: dict[int, tuple[Any, BaseException | None]] = {}
    asked = range(len(pipes))
    end: float | None = None  # the clock does not tell whether they hang: who waits for this process does
    before: list[str] = []
    while (waiting := [rank for rank in asked if rank not in answers]) and (end is None or time.monotonic() < end):
        signs = [sign for rank in waiting for sign in (pipes[rank], processes[rank].sentinel)]
        ready = connection.wait(signs, None if end is None else LOOK)
        for rank in waiting:
            if pipes[rank].poll():
                answers[rank] = torch.load(io.BytesIO(pipes[rank].recv_bytes()), weights_only=False)
            elif processes[rank].sentinel in ready:
                processes[rank].join(GRACE)  # until then it has no exit code
                answers[rank] = None, RuntimeError(f"a rank died, with exit code {processes[rank].exitcode}")
        if end is not None and not ready:
            now = asleep([process for rank, process in enumerate(processes) if rank not in answers])
            if now and now == before:
                break
            before = now
        failed = [rank for rank, (_, error) in answers.items() if error is not None]
        if end is None and failed:
            end = time.monotonic() + GRACE
        asked = range(min(failed, default=len(pipes)))
    return [answers[rank] for rank in sorted(answers)]


def asleep(processes: list[Any]) -> list[str]:
    """How often the main thread of each process went to sleep, as /proc tells it: if that stays, they wait for each other.  Empty
    while one of their threads runs or is about to, and where the system does not tell."""
    try:
        for process in processes:
            for thread in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
                if "\nState:\tS" not in (thread / "status").read_text():
                    return []
        mains = [pathlib.Path(f"/proc/{process.pid}/status").read_text() for process in processes]
    except OSError:
        return []
    return [told.partition("\nvoluntary_ctxt_switches:")[2] for told in mains]


def spread(given: Tensor, mesh: Any, place: Any) -> Any:
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(given, mesh, [place])


def whole(given: Any) -> Any:
    return given.full_tensor() if hasattr(given, "full_tensor") else given


def layer_of(table: Tensor, flags: dict[str, Any]) -> Any:
    rows, width = table.shape
    return torch.nn.Embedding(rows, width, _weight=table, dtype=table.dtype, **flags)


def distributed(mesh: Any, table: Tensor, place: Any, flags: dict[str, Any]) -> tuple[Tensor, Callable[[Any], Tensor]]:
    leaf = spread(table, mesh, place).requires_grad_()
    return leaf, lambda tokens: torch.nn.functional.embedding(tokens, leaf, **flags)


def layer(mesh: Any, table: Tensor, place: Any, flags: dict[str, Any]) -> tuple[Tensor, Callable[[Any], Tensor]]:
    """An nn.Embedding whose parameter is distributed."""
    made = layer_of(table, flags)
    made.weight = torch.nn.Parameter(spread(table, mesh, place))
    return made.weight, made


def parallelized(mesh: Any, table: Tensor, place: Any, flags: dict[str, Any]) -> tuple[Tensor, Callable[[Any], Tensor]]:
    """An nn.Embedding in tensor parallelism, its rows or its columns in pieces; it takes and gives plain tensors."""
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    styles = {0: RowwiseParallel, 1: ColwiseParallel}
    style = styles[place.dim](input_layouts=Replicate(), output_layouts=Replicate())
    made: Any = parallelize_module(layer_of(table, flags), mesh, style)
    return made.weight, lambda tokens: made(whole(tokens))


def fully_sharded(
    mesh: Any, table: Tensor, place: Any, flags: dict[str, Any]
) -> tuple[Tensor, Callable[[Any], Tensor]]:
    """An nn.Embedding under fully_shard, which gathers the table for each pass."""
    from torch.distributed.fsdp import fully_shard

    made: Any = torch.nn.Sequential(layer_of(table, flags))
    fully_shard(made, mesh=mesh)
    return made[0].weight, lambda tokens: made(whole(tokens))


def tied_model(mesh: Any, table: Tensor, place: Any, flags: dict[str, Any]) -> tuple[Tensor, Any, Tensor]:
    """An nn.Embedding and a head with the same weight, distributed as one module."""
    from torch.distributed.tensor import distribute_module

    words, head = layer_of(table, flags), torch.nn.Linear(table.shape[1], len(table), bias=False)
    head.weight = words.weight
    distribute_module(torch.nn.Sequential(words, head), mesh)
    return words.weight, words, head.weight


def after_taller(mesh: Any, table: Tensor, place: Any, flags: dict[str, Any]) -> tuple[Tensor, Callable[[Any], Tensor]]:
    """A table like another with twice as many rows, in which the same tokens were looked up before, with a backward pass."""
    _, earlier = distributed(mesh, torch.cat([table, table]), place, flags)
    leaf, call = distributed(mesh, table, place, flags)

    def looked_up(tokens: Any) -> Tensor:
        value = whole(earlier(tokens))
        value.backward(torch.ones_like(value))
        return call(tokens)

    return leaf, looked_up


MADE: dict[str, Make] = by_name(distributed, layer, parallelized, fully_sharded, after_taller)
USES: dict[str, Use] = named(
    {
        "alone": lambda rows, other, table: rows,
        "transposed": lambda rows, other, table: rows.transpose(0, -1),
        "stacked": lambda rows, other, table: torch.stack([rows, rows]),
        "summed": lambda rows, other, table: rows.sum(0),
        "chosen": lambda rows, other, table: rows[0],
        "flattened": lambda rows, other, table: rows.flatten(),
        "unsqueezed": lambda rows, other, table: rows.unsqueeze(0),
        "added": lambda rows, other, table: rows.relu() + rows.abs(),  # as a residual connection does
        "another": lambda rows, other, table: rows + other(),
        "projected": lambda rows, other, table: torch.nn.functional.linear(rows, table),  # through a tied head
    }
)


def sharded(
    make: Make,
    use: Use,
    ranks: int,
    place: int | None,
    tokens_place: int | None,
    flags: dict[str, Any],
    table: Tensor,
    tokens: Tensor,
    others: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    def work() -> dict[str, Any]:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import Replicate, Shard

        mesh = init_device_mesh("cpu", (ranks,))
        placed, tokens_placed = (Replicate() if dim is None else Shard(dim) for dim in (place, tokens_place))
        leaf, call, *head = make(mesh, table.clone(), placed, flags)
        given, again = (spread(each, mesh, tokens_placed) for each in (tokens, others))
        value = whole(use(call(given), lambda: call(again), *(head or [leaf])))
        value.backward(upstream)
        return {
            "value": value.detach().clone(),  # a view of what is still gathered does not wait for it
            "weight_grad": None if leaf.grad is None else whole(leaf.grad),
            "table": whole(leaf.detach()),
        }

    answers = on_ranks(ranks, work)
    return {name: torch.stack([seen[name] for seen in answers]) for name in ("value", "weight_grad", "table")}
