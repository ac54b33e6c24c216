# law:  Offsets that are none, tokens outside the table, and calls that mean nothing are refused, and nothing is written.
# case: BagCase(num_embeddings=1, embedding_dim=1, bags=(1, 1, 2), include_last_offset=True, route='value', mistake='offsets_negative')
# got:  accepted, expected RuntimeError or IndexError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((20,), 1515870810).as_strided((4,), (1,), 8).fill_(0)
upstream = torch.full((19,), torch.nan).as_strided((3, 1), (1, 1), 8).copy_(torch.tensor([[573], [912], [899]]))
offsets = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([0, -2, -2]))


def functional(weight, **flags):
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, per_sample_weights=samples, **flags
    )


def fresh(leaf, call, given):
    pass


def value(leaf, call, given, upstream, rebuild):
    return {"value": call(*given)}


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
    seen = bag(weight=weight, indices=indices, upstream=upstream, offsets=offsets, build=functional, history=fresh, route=value, flags={'mode': 'sum', 'include_last_offset': True}, learns='table')
except (RuntimeError, IndexError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected RuntimeError or IndexError")
sys.exit(1)
