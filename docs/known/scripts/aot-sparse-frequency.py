# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1,), scale_grad_by_freq=True, sparse=True)
# got:  does not compile: BackendCompilerFailed: backend='aot_backend' raised: RuntimeError: embedding_backward:
# scale_grad_by_freq not supported with sparse gradients Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace
# (please do this especiall
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch._dynamo
import torch._dynamo.config
import torch._dynamo.exc

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))


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

RAN = [203]

def compiled():
    def run(call, *inputs):
        return call(*inputs)

    running = torch.compile(run, backend=aot_backend, dynamic=True, fullgraph=True)

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


def aot_backend(graph, example):
    return counted(torch._dynamo.lookup_backend("aot_eager")(graph, example))


def aot_eager(**arguments):
    """torch.compile with backend="aot_eager": forward and backward recorded."""
    return forward(build=compiled(), **arguments)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def fresh(leaf, call, indices):
    pass


def forward(build, history, weight, indices, flags, requires_grad):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_(requires_grad)
    held = history(leaf, call, indices)
    value = call(indices)
    return {"held": held is None or held()}


try:
    seen = aot_eager(weight=weight, indices=indices, history=fresh, flags={'scale_grad_by_freq': True, 'sparse': True}, requires_grad=True)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or "does not compile: BackendCompilerFailed: backend='aot_backend' raised: RuntimeEr" not in " ".join(str(error).split()):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
