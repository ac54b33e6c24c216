# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: BagCase(num_embeddings=1, embedding_dim=2, dtype='float16', route='batched')
# got:  raised RuntimeError: Unexpected floating ScalarType in at::autocast::prioritize
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan, dtype=torch.float16).as_strided((1, 2), (2, 1), 8).copy_(torch.tensor([[1, -2]]))
indices = torch.full((20,), 1515870810).as_strided((4,), (1,), 8).fill_(0)
upstream = torch.full((20,), torch.nan, dtype=torch.float16).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[69, 120], [83, -51]]))
offsets = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).copy_(torch.tensor([0, 2]))


def inside(build, context):
    """Each call happens inside a context."""

    def built(weight, **flags):
        leaf, call = build(weight, **flags)

        def called(*given):
            with context():
                return call(*given)

        return leaf, called

    return built


def narrowed(dtype, arguments):
    """Calls under torch.autocast on the CPU; what doesn't learn without gradients, as where a model is only used."""
    learns = bool(arguments.get("requires_grad", True)) and arguments.get("learns") != "none"
    quiet = inside(functional, lambda: torch.set_grad_enabled(learns and torch.is_grad_enabled()))
    return inside(quiet, lambda: torch.autocast("cpu", dtype=dtype))


def autocast_bfloat16(build, **arguments):
    """torch.autocast on the CPU to bfloat16: a lookup stays in its table's dtype."""
    return bag(build=narrowed(torch.bfloat16, arguments), **arguments)


def functional(weight, **flags):
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, per_sample_weights=samples, **flags
    )


def fresh(leaf, call, given):
    pass


def batched(leaf, call, given, upstream, rebuild):
    out = torch.vmap(lambda tokens: call(tokens, *given[1:]))(torch.stack((given[0], given[0])))
    out.backward(torch.stack((upstream, torch.zeros_like(upstream))))
    return {"value": out[0], "batched": out[1]}


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
        leaf.requires_grad_(learns in ("table", "both"))
        if sample_weights is not None:
            sample_weights.requires_grad_(learns in ("weights", "both"))
    given = (indices, offsets, sample_weights)
    held = history(leaf, call, given)
    leaves = [leaf] + ([] if sample_weights is None else [sample_weights])
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
        seen["sample_grad"] = seen.get("sample_grad", None if sample_weights is None else sample_weights.grad)
    return {
        "versions": before == [t._version for t in watched],
        "surroundings": surroundings() == around,
        "plain": type(out) is Tensor,
        "frozen": frozen,
        "held": held is None or held(),
        "shares_table": leaf.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr(),
        **seen,
    }


try:
    seen = autocast_bfloat16(weight=weight, indices=indices, upstream=upstream, offsets=offsets, build=functional, history=fresh, route=batched, flags={'mode': 'sum'}, learns='table')
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Unexpected floating ScalarType in at::autocast::prioritize' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
