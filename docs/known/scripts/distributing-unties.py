# law:  A tied weight is one Parameter before a model is spread over processes, and after, and after each step.
# case: Parallel(spread='distributed')
# got:  [[False, False]], expected [[True, True]]
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import multiprocessing.connection as connection
import io
import os
import socket
import tempfile
import time
import torch.multiprocessing

torch.set_num_threads(1)
table = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[2, 1], [1, 2], [0, 2]]))
other = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [-1, 0], [-2, 0]]))
tokens = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).copy_(torch.tensor([0, 1]))
upstream = torch.full((22,), torch.nan).as_strided((2, 3), (3, 1), 8).copy_(torch.tensor([[0, 2, 1], [-1, 2, 1]]))


def distributed(model, mesh):
    from torch.distributed.tensor import Replicate, distribute_module, distribute_tensor

    def given(module, inputs, mesh):
        return distribute_tensor(inputs[0], mesh, [Replicate()])

    def taken(module, value, mesh):
        return value.full_tensor()

    return distribute_module(model, mesh, input_fn=given, output_fn=taken)

LIMIT = 120.0
GRACE = 1.0

def gathered(pipes, processes):
    """What the ranks send, in their order; once one has failed, of those that do not wait for it in vain."""
    answers = {}
    end = time.monotonic() + LIMIT
    while len(answers) < len(pipes) and time.monotonic() < end:
        waiting = [rank for rank in range(len(pipes)) if rank not in answers]
        signs = [sign for rank in waiting for sign in (pipes[rank], processes[rank].sentinel)]
        ready = connection.wait(signs, max(end - time.monotonic(), 0.0))
        for rank in waiting:
            if pipes[rank].poll():
                answers[rank] = torch.load(io.BytesIO(pipes[rank].recv_bytes()), weights_only=False)
            elif processes[rank].sentinel in ready:
                processes[rank].join(GRACE)  # until then it has no exit code
                answers[rank] = None, RuntimeError(f"a rank died, with exit code {processes[rank].exitcode}")
        if any(error is not None for _, error in answers.values()):
            end = min(end, time.monotonic() + GRACE)
    if len(answers) < len(pipes) and all(error is None for _, error in answers.values()):
        raise TimeoutError(f"ranks {sorted(set(range(len(pipes))) - set(answers))} gave no answer")
    return [answers[rank] for rank in sorted(answers)]

APART = "the ranks can't reach each other"

def answer(rank, count, folder, pipe, work):
    """What one rank does: it sends what its work gave or raised, and waits for its end."""
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
    time.sleep(LIMIT)  # a rank that ends makes the others fail in the midst of their work


def on_ranks(work):
    """What ``work`` gives on each rank of a process group; what the lowest of those raised that did is raised here."""
    import torch._dynamo  # which distributed tensors import when first used: not on every rank

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    context = torch.multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(False) for _ in range(1)]
        processes = [
            context.Process(target=answer, args=(rank, 1, folder, pipe[1], work)) for rank, pipe in enumerate(pipes)
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


def model_of(table, flags):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            rows, width = table.shape
            self.words = torch.nn.Embedding(rows, width, _weight=table.clone(), **flags)
            self.head = torch.nn.Linear(width, rows, bias=False, dtype=table.dtype)
            self.head.weight = self.words.weight

        def forward(self, tokens):
            found = self.words(tokens)
            return self.head(found)

    return Model()


def whole(given):
    """A tensor in one piece."""
    found = given.full_tensor() if hasattr(given, "full_tensor") else given
    return found


def parallel(flags, table, tokens, upstream):
    def work():
        from torch.distributed.device_mesh import init_device_mesh

        model = model_of(table, flags)
        call = distributed(model, init_device_mesh("cpu", (1,)))
        ties = [model.words.weight is model.head.weight]
        counts = [len(list(call.parameters()))]
        optimizer = torch.optim.SGD(call.parameters(), lr=0.5)
        values = []
        for _ in range(1):
            optimizer.zero_grad()
            value = call(tokens)
            value.backward(upstream)
            optimizer.step()
            values.append(whole(value.detach()))
        ties.append(model.words.weight is model.head.weight)
        counts.append(len(list(call.parameters())))
        parts = [model.words.weight, *([model.head.weight])]
        learnt = torch.stack([whole(part.detach()) for part in parts])
        return {"values": torch.stack(values), "learnt": learnt, "ties": ties, "counts": counts}

    answers = on_ranks(work)
    found = {name: torch.stack([seen[name] for seen in answers]) for name in ("values", "learnt")}
    return found | {name: [seen[name] for seen in answers] for name in ("ties", "counts")}


seen = parallel(table=table, tokens=tokens, upstream=upstream, flags={})
got, expected, wrong = seen["ties"], [[True, True]], [[False, False]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
