# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(0, 2), entry='one_hot_product')
# got:  the process died: hang
import sys
import contextlib
import glob
import contextlib
import glob
import signal
import subprocess

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.distributed.device_mesh


def used(pid):  # hundredths of a second of CPU time, with what it started and what of that has ended
    told = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            told[int(path.split("/")[2])] = [*map(int, open(path).read().rpartition(")")[2].split()[1:15])]
    family = [pid]
    for member in family:
        family += [other for other, stat in told.items() if stat[0] == member]
    return sum(sum(told[member][10:14]) for member in family if member in told)


if len(sys.argv) == 1:  # the program has no end: it runs in a child, which gets 20 s of CPU time
    child, before = subprocess.Popen([sys.executable, __file__, "child"]), None
    while child.poll() is None:
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            now = used(child.pid)
            if before is not None and now - before < 30:  # it waits for ever
                child.kill()
                print("CPU time of the child, which waits:", (now - before) / 100, "s")
                sys.exit(1 if now else 2)  # 2: this system does not tell it
            before = now
    print("exit status of the child:", child.returncode, "expected 0")
    sys.exit(1 if child.returncode == -signal.SIGPROF else 2 if child.returncode else 0)
signal.setitimer(signal.ITIMER_PROF, 20)
torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((0, 2), (2, 1), 8)
upstream = torch.full((17,), torch.nan).as_strided((0, 2, 1), (2, 1, 1), 8)


def alone():
    """The process group of this one process, made once."""
    if not torch.distributed.is_initialized():
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)


def handed(around):
    """Each call is ``around(function, table, given)`` with ``function(table, *given)``."""

    def built(weight, **flags):
        leaf, call = one_hot_product(weight, **flags)

        def function(table, *given):
            if not isinstance(call, torch.nn.Module):
                return one_hot_product(table, **flags)[1](*given)
            ((name, _),) = call.named_parameters()
            return torch.func.functional_call(call, {name: table}, given)  # type: ignore[no-any-return]

        return leaf, lambda *given: around(function, leaf, given)

    return built

Tensor = torch.Tensor

def placed(build, placement, *axis):
    """The table is a distributed tensor on a mesh of one process; the result is taken together."""
    from torch.distributed import tensor as distributed

    alone()
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    place = getattr(distributed, placement)(*axis)

    def around(function, table, given):
        spread = distributed.DTensor.from_local(table, mesh, [place])
        copies = [
            distributed.DTensor.from_local(g, mesh, [distributed.Replicate()]) if isinstance(g, Tensor) else g
            for g in given
        ]
        return function(spread, *copies).full_tensor()  # type: ignore[attr-defined, no-any-return]

    return handed(around)


def dtensor_replicate(**arguments):
    """The table is a DTensor on one process, Replicate()."""
    return backward(build=placed(one_hot_product, "Replicate"), **arguments)


def one_hot_product(weight):
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.one_hot(indices.long(), rows).to(weight.dtype) @ weight


def fresh(leaf, call, indices):
    pass


def backward(build, history, route, weight, indices, upstream, flags):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_()
    held = history(leaf, call, indices)
    leaf.grad = None

    def rebuild(table):
        # A layer that is built draws its first weights, which is not the lookup's doing.
        drawn = torch.get_rng_state()
        again = build(table, **flags)[1]
        torch.set_rng_state(drawn)
        return again

    seen = route(leaf, call, indices, upstream, rebuild)
    return {"held": held is None or held(), **seen}


def backward_call(leaf, call, indices, upstream, rebuild):
    value = call(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


seen = dtensor_replicate(weight=weight, indices=indices, upstream=upstream, history=fresh, route=backward_call, flags={})
print("it comes back")
