# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=0, shape=(1,), padding_idx=0, route='retained')
# got:  raised RuntimeError: This backward function was compiled with non-empty donated buffers which requires
# create_graph=False and retain_graph=False. Please keep backward(create_graph=F
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch._dynamo
import torch._dynamo.config
import torch._dynamo.exc

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8)


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

RAN = [233]

def compiled():
    def run(call, *inputs):
        return call(*inputs)

    running = torch.compile(run, backend=decomposing_backend, dynamic=True, fullgraph=True)

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


def decomposing_backend(graph, example):
    return counted(torch._dynamo.lookup_backend("aot_eager_decomp_partition")(graph, example))


def aot_decomposed(**arguments):
    """torch.compile with backend="aot_eager_decomp_partition": with inductor's decompositions and partitions."""
    return backward(build=compiled(), **arguments)


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


def retained(leaf, call, indices, upstream, rebuild):
    value = call(indices)
    value.backward(upstream, retain_graph=True)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


try:
    seen = aot_decomposed(weight=weight, indices=indices, upstream=upstream, history=fresh, route=retained, flags={'padding_idx': 0})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'This backward function was compiled with non-empty donated buffers which require' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
