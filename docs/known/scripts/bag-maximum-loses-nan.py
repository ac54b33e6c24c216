# law:  A NaN among a bag's rows is its maximum, wherever it stands, for two-dimensional input.
# case: BagCase(num_embeddings=8, embedding_dim=8, mode='max', numel=8, bags='fours', batch=True, values='special', seed=1)
# got:  nan 59 -36 37 0, expected nan nan nan nan nan (4 of 5 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((80,), torch.nan).as_strided((8, 8), (8, 1), 8).copy_(torch.tensor([[1065353216, -8388608, 1077936128, 2139095040, -2147483648, -1061158912, 1088421888, -1056964608], [1091567616, -1054867456, 1093664768, -2147483648, 1095761920, 0, 1097859072, -2147483648], [0, -1047527424, 1100480512, -1046478848, 1101529088, -1045430272, 1102577664, -1044381696], [0, -1043333120, -2147483648, -1042284544, 2139095040, -8388608, 1106771968, -1040187392], [1107558400, 2143289344, 1108082688, -1039138816, 1108606976, -1038614528, 1109131264, -1038090240], [1109655552, -1037565952, 1110179840, 2143289344, -2147483648, 2143289344, 1111228416, -1035993088], [1111752704, 0, 2143289344, -1034944512, 0, -1034420224, 1113325568, 0], [1113849856, -1033371648, 1114374144, -1032847360, 2143289344, 0, 1115422720, -1031798784]], dtype=torch.int32).view(torch.float32))
indices = torch.full((24,), 1515870810).as_strided((2, 4), (4, 1), 8).copy_(torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]]))
upstream = torch.full((32,), torch.nan).as_strided((2, 8), (8, 1), 8).copy_(torch.tensor([[-590, 976, 399, -39, -240, 282, 911, 744], [-15, -10, 629, -911, 988, 820, 474, -284]]))


def functional(weight, **flags):
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, per_sample_weights=samples, **flags
    )


def fresh(leaf, call, given):
    pass


def backward_call(leaf, call, given, upstream, rebuild):
    out = call(*given)
    out.backward(upstream)
    return {"value": out}


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


seen = bag(weight=weight, indices=indices, upstream=upstream, build=functional, history=fresh, route=backward_call, flags={'mode': 'max'}, learns='table')
got, expected, wrong = seen["value"][[1, 1, 1, 1, 1], [1, 2, 3, 4, 5]][1], float("nan"), 59.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got != got else 1 if got == wrong else 2)
