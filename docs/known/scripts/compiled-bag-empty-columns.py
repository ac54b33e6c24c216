# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: BagCase(num_embeddings=1, embedding_dim=1, numel=0, batch=True)
# got:  does not compile: TorchRuntimeError: RuntimeError when making fake tensor call Explanation: Dynamo
# failed to run FX node with fake tensors: call_function <function embedding_bag at
# 0x7f281c604ae0>(*(FakeTensor(..., size=(s21, 0), dtype=torc
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch._dynamo
import torch._dynamo.config
import torch._dynamo.exc

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((17,), 1515870810).as_strided((2, 0), (1, 1), 8)
upstream = torch.full((18,), torch.nan).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[573], [912]]))


def settings():
    """No limit after which dynamo goes back to eager, no errors suppressed, nothing compiled in other processes."""
    known = torch._dynamo.config
    wanted = {
        "recompile_limit": 1 << 16,
        "accumulated_recompile_limit": 1 << 20,
        "cache_size_limit": 1 << 16,
        "accumulated_cache_size_limit": 1 << 20,
        "fail_on_recompile_limit_hit": True,
        "suppress_errors": False,
    }
    return known.patch({name: value for name, value in wanted.items() if hasattr(known, name)})

RAN = [245]

def compiled(dynamic):
    def run(call, *inputs):
        return call(*inputs)

    running = torch.compile(run, backend=dynamo_backend, dynamic=dynamic, fullgraph=True)

    def built(weight, **flags):
        leaf, call = functional(weight, **flags)

        def again(*inputs):
            before = 0
            first = call.__dict__.pop("preceding", None)
            with settings():
                try:
                    if first is not None:
                        running(first, *inputs)
                    before = RAN[0]
                    value = running(call, *inputs)
                except torch._dynamo.exc.TorchDynamoException as error:
                    raise RuntimeError(f"does not compile: {type(error).__qualname__}: {error}") from error
            if RAN[0] == before:
                raise AssertionError("no compiled graph ran")
            return value

        return leaf, again

    return built


def counted(graph):
    def ran(*inputs):
        RAN[0] += 1
        return graph(*inputs)

    return ran


def dynamo_backend(graph, example):
    # Of a graph module that recompiles lazily, forward prints what it raises until it has done so.
    getattr(graph, "real_recompile", graph.recompile)()
    return counted(graph.forward)


def compile_eager(build, **arguments):
    """torch.compile with backend="eager": dynamo's graphs and guards, run as they are."""
    return bag(build=compiled(True), **arguments)


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
    seen = compile_eager(weight=weight, indices=indices, upstream=upstream, build=functional, history=fresh, route=backward_call, flags={'mode': 'sum'}, learns='table')
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'does not compile: TorchRuntimeError: RuntimeError when making fake tensor call E' not in " ".join(str(error).split()):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
