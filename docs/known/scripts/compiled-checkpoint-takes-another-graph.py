# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(0,), padding_idx=0, route='checkpointed')
# got:  raised CheckpointError: torch.utils.checkpoint: A different number of tensors was saved during the
# original forward and recomputation.
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch._dynamo
import torch._dynamo.config
import torch._dynamo.exc
import torch.utils.checkpoint

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((0,), (1,), 8)
upstream = torch.full((17,), torch.nan).as_strided((0, 1), (1, 1), 8)


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

RAN = [249]

def compiled(build):
    def run(call, *inputs):
        return call(*inputs)

    running = torch.compile(run, backend=dynamo_backend, dynamic=True, fullgraph=True)

    def built(weight, **flags):
        leaf, call = build(weight, **flags)

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


def preceded():
    def built(weight, **flags):
        padding, rows = flags.get("padding_idx"), len(weight)
        others = {
            "padding_idx": None if not rows else 0 if padding is None else (padding + 1) % rows,
            "scale_grad_by_freq": not flags.get("scale_grad_by_freq", False),
            "sparse": not flags.get("sparse", False),
        }
        if flags.get("mode") == "max":  # which takes neither
            others |= {"scale_grad_by_freq": False, "sparse": False}
        table = weight.detach().clone().requires_grad_(weight.requires_grad)
        leaf, call = functional(weight, **flags)
        try:
            _, first = functional(table, **(flags | others))
        except TypeError:  # a spelling without these flags
            _, first = functional(table, **flags)
        # Built before what is judged, as any layer is; `compiled` calls it before the layer's own first call.
        call.__dict__["preceding"] = first
        return leaf, call

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


def compile_guarded(**arguments):
    """torch.compile with backend="eager", once the same call was compiled for a layer with other flags."""
    return backward(build=compiled(preceded()), **arguments)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


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


def checkpointed(leaf, call, indices, upstream, rebuild):
    value = torch.utils.checkpoint.checkpoint(call, indices, use_reentrant=False)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


try:
    seen = compile_guarded(weight=weight, indices=indices, upstream=upstream, history=fresh, route=checkpointed, flags={'padding_idx': 0})
except Exception as error:
    if type(error).__name__ != 'CheckpointError' or 'torch.utils.checkpoint: A different number of tensors was saved during the origi' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
