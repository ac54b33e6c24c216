# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: RenormCase(num_embeddings=1, embedding_dim=1, shape=(), norm_type=4, values='real', entry='module', route='plain')
# got:  raised RuntimeError: embedding(Tensor input, Tensor weight, int? padding_idx=None, float? max_norm=None,
# float norm_type=2., bool scale_grad_by_freq=False, bool sparse=False) -> Ten
from __future__ import annotations

import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[0.9401166439056396]], dtype=torch.float32)).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((17,), torch.nan).as_strided((1,), (1,), 8).copy_(torch.tensor([-665]))


def scripted() -> Build:
    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
        leaf, call = module(weight, **flags)
        return leaf, torch.jit.script(call)

    return built


def jit_script(**arguments: Any) -> Mapping[str, Any]:
    """Modules through torch.jit.script."""
    return renormalise(build=scripted(), **arguments)


def module(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    return layer.weight, layer


def fresh(leaf: Tensor, call: Call, indices: Tensor) -> None:
    pass


def plain(leaf: Tensor, call: Call, indices: Tensor) -> tuple[Tensor, Tensor | None]:
    return call(indices), None


def surroundings() -> tuple[Any, ...]:
    """What a call must leave as it is: grad mode, default dtype, threads, determinism and the random numbers."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state().numpy().tobytes(),
    )


def renormalise(
    build: Build,
    history: Callable[[Tensor, Call, Tensor], None],
    route: Take,
    weight: Tensor,
    indices: Tensor,
    upstream: Tensor,
    flags: dict[str, Any],
    requires_grad: bool,
) -> dict[str, Any]:
    leaf, call = build(weight, **flags)
    if torch.is_grad_enabled():
        leaf.requires_grad_(requires_grad)
    history(leaf, call, indices)
    leaf.grad = None
    before = leaf.detach().clone()
    version = 0 if leaf.is_inference() else leaf._version
    around = surroundings()
    value, used = route(leaf, call, indices)
    seen: dict[str, Any] = {
        "before": before,
        "after": leaf.detach().clone(),
        "moved": 0 if leaf.is_inference() else leaf._version - version,
        "surroundings": surroundings() == around,
        "is_leaf": leaf.is_leaf and leaf.grad_fn is None,
        "value": value.detach().clone(),
        "requires_grad": value.requires_grad,
        "leaf_requires_grad": leaf.requires_grad,
        "separate": value.numel() == 0 or value.untyped_storage().data_ptr() != leaf.untyped_storage().data_ptr(),
    }
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
    seen = jit_script(weight=weight, indices=indices, upstream=upstream, history=fresh, route=plain, flags={'norm_type': 4}, requires_grad=True)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'embedding(Tensor input, Tensor weight, int? padding_idx=None, float? max_norm=No' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
