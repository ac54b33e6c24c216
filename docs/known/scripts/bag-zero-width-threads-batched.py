# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: BagCase(num_embeddings=1, embedding_dim=0, numel=3, layout='swapped', route='tables_batched', threads=2)
# got:  raised RuntimeError: Expected i < index_size to be true, but got false.  (Could this error message be
# improved?  If so, please report an enhancement request to PyTorch.)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(2)
weight = torch.full((17,), torch.nan).as_strided((1, 0), (1, 4), 8)
indices = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).fill_(0)
upstream = torch.full((17,), torch.nan).as_strided((2, 0), (1, 1), 8)
offsets = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).copy_(torch.tensor([0, 2]))


def functional(weight, **flags):
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, per_sample_weights=samples, **flags
    )


def fresh(leaf, call, given):
    pass


def tables_batched(leaf, call, given, upstream, rebuild):
    both = torch.stack((torch.zeros_like(leaf), leaf))
    out = torch.vmap(lambda table: rebuild(table)(*given))(both)
    out.backward(torch.stack((torch.zeros_like(upstream), upstream)))
    return {"value": out[1]}


def surroundings():
    """What a call must leave as it is: grad mode, default dtype, threads, determinism and the random numbers."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state().numpy().tobytes(),
    )


def value(leaf, call, given, upstream, rebuild):
    return {"value": call(*given)}

Tensor = torch.Tensor

def bag(
    build,
    history,
    route,
    weight,
    indices,
    upstream,
    flags,
    learns,
    offsets=None,
    sample_weights=None,
):
    leaf, call = build(weight, **flags)
    frozen = not leaf.requires_grad
    learning = torch.is_grad_enabled()
    if learning:
        leaf.requires_grad_(True)
    given = (indices, offsets, sample_weights)
    held = history(leaf, call, given)
    leaves = [leaf] + ([])
    for tensor in leaves:
        tensor.grad = None
    watched = [t for t in (leaf, *given) if t is not None and not t.is_inference()]
    before = [t._version for t in watched]
    around = surroundings()

    def rebuild(table):
        # A layer that is built draws its first weights, which is not the bag's doing.
        drawn = torch.get_rng_state()
        again = build(table, **flags)[1]
        torch.set_rng_state(drawn)
        return again

    seen = (route if learning else value)(leaf, call, given, upstream, rebuild)
    memory = [t.untyped_storage().data_ptr() for t in (leaf, *given) if t is not None]
    out = seen["value"]
    seen["separate"] = out.numel() == 0 or out.untyped_storage().data_ptr() not in memory
    if learning:
        seen["weight_grad"] = seen.get("weight_grad", leaf.grad)
        seen["sample_grad"] = seen.get("sample_grad", None)
    return {
        "versions": before == [t._version for t in watched],
        "surroundings": surroundings() == around,
        "plain": type(out) is Tensor,
        "frozen": frozen,
        "held": True,
        "shares_table": leaf.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr(),
        **seen,
    }


try:
    seen = bag(weight=weight, indices=indices, upstream=upstream, offsets=offsets, build=functional, history=fresh, route=tables_batched, flags={'mode': 'sum'}, learns='table')
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Expected i < index_size to be true, but got false.  (Could this error message be' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
