# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: RenormCase(num_embeddings=1, embedding_dim=8, indices='permutation', shape=(), max_norm=10.0, layout='transposed', values='mixed', entry='bag_module', route='plain')
# got:  does not compile: BackendCompilerFailed: backend='aot_backend' raised: AssertionError: aot_autograd()
# does not yet handle non-differentiable view input mutations. input 1
# (L['call'].__closure__[0].cell_contents._parameters['weight']) and in
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch._dynamo
import torch._dynamo.config
import torch._dynamo.exc

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((1, 8), (1, 1), 8).copy_(torch.tensor([[0, 3, 4, 0, 0, 0, 0, 0]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((24,), torch.nan).as_strided((8,), (1,), 8).copy_(torch.tensor([-665, -499, -619, -440, -981, 554, 304, -390]))


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

RAN = [239]

def compiled():
    def run(call, *inputs):
        return call(*inputs)

    running = torch.compile(run, backend=aot_backend, dynamic=True, fullgraph=True)

    def built(weight, **flags):
        leaf, call = bag_module(weight, **flags)

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


def aot_backend(graph, example):
    return counted(torch._dynamo.lookup_backend("aot_eager")(graph, example))


def aot_eager(**arguments):
    """torch.compile with backend="aot_eager": forward and backward recorded."""
    return renormalise(build=compiled(), **arguments)


def bag_module(weight, **flags):
    layer = torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], mode="sum", _weight=weight, **flags)
    # Tables of an odd number of rows in evaluation, where max_norm rescales just as well.
    layer.train(weight.shape[0] % 2 == 0)
    return layer.weight, lambda indices: layer(indices.reshape(-1, 1)).reshape(*indices.shape, weight.shape[1])


def fresh(leaf, call, indices):
    pass


def plain(leaf, call, indices):
    return call(indices), None


def renormalise(build, history, route, weight, indices, upstream, flags, requires_grad):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_(requires_grad)
    history(leaf, call, indices)
    leaf.grad = None
    value, used = route(leaf, call, indices)
    seen = {}
    if value.requires_grad:
        losses = (
            [(value, upstream)]
            if used is None or not used.requires_grad
            else [(used, torch.ones_like(used)), (value, upstream)]
        )
        torch.autograd.backward([pair[0] for pair in losses], [pair[1] for pair in losses])
    call(indices)
    return seen


try:
    seen = aot_eager(weight=weight, indices=indices, upstream=upstream, history=fresh, route=plain, flags={'max_norm': 10.0}, requires_grad=True)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or "does not compile: BackendCompilerFailed: backend='aot_backend' raised: Assertion" not in " ".join(str(error).split()):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
