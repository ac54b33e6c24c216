# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: RenormCase(num_embeddings=1, embedding_dim=1, shape=(1,), max_norm=1.0, stray='2^31-1', entry='renorm_', route='plain')
# got:  torch.is_grad_enabled() is False afterwards, and was True
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch._dynamo
import torch._dynamo.config
import torch._dynamo.exc

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([2147483647]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[-665]]))


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

RAN = [246]

def compiled():
    def run(call, *inputs):
        return call(*inputs)

    running = torch.compile(run, backend=dynamo_backend, dynamic=True, fullgraph=True)

    def built(weight, **flags):
        leaf, call = renorm_(weight, **flags)

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


def compile_eager(**arguments):
    """torch.compile with backend="eager": dynamo's graphs and guards, run as they are."""
    return renormalise(build=compiled(), **arguments)


def renorm_(weight, padding_idx=None, max_norm=None, norm_type=2.0, **flags ):
    row = -1 if padding_idx is None else padding_idx % weight.shape[0]

    def call(indices):
        if max_norm is not None:
            with torch.no_grad():
                torch.embedding_renorm_(weight, indices, max_norm, norm_type)
        return torch.embedding(weight, indices, row, **flags)

    return weight, call


def fresh(leaf, call, indices):
    pass


def plain(leaf, call, indices):
    return call(indices), None


def renormalise(build, history, route, weight, indices, upstream, flags, requires_grad):
    leaf, call = build(weight, **flags)
    if torch.is_grad_enabled():
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
    seen = compile_eager(weight=weight, indices=indices, upstream=upstream, history=fresh, route=plain, flags={'max_norm': 1.0}, requires_grad=True)
except Exception as error:
    print("raised, as it should:", repr(error))
finally:
    got, expected, wrong = torch.is_grad_enabled(), True, False
    got = got.item() if isinstance(got, torch.Tensor) else got
    print("got", got, "expected", expected)
    if got != expected:
        sys.exit(1)
