"""Programs: tokens are looked up, scored by a head with the same table, and judged by a loss."""

from collections.abc import Callable
from typing import Any

import torch
import torch._decomp
import torch.distributed
import torch.fx.experimental.proxy_tensor

from embcheck.core.registry import named

Tensor = torch.Tensor
#: Of the rows that were looked up, table, bias and targets, and the classes' weights among the flags: the loss.
Loss = Callable[..., Tensor]


def in_parallel() -> Any:
    """Losses of logits whose classes are in pieces are computed in pieces."""
    from torch.distributed.tensor.parallel import loss_parallel

    return loss_parallel()


def predicted(
    loss: Loss,
    context: Callable[[], Any],
    receive: Callable[[Tensor], Tensor],
    asked: tuple[int, bool, bool],
    padding_idx: int | None,
    flags: dict[str, Any],
    weight: Tensor,
    tokens: Tensor,
    targets: Tensor,
    upstream: Tensor,
    **fed: Tensor,
) -> dict[str, Any]:
    """``fed`` are a bias and the classes' weights, where there are any; ``asked`` is how often other logits are judged before,
    whether the targets need a gradient, and whether the table's is asked for before the backward pass."""
    earlier, learned, twice = asked
    table = weight.detach().requires_grad_()
    bias = fed["bias"].detach().requires_grad_() if "bias" in fed else None
    hidden = torch.nn.functional.embedding(tokens, table, padding_idx=padding_idx)
    hidden.retain_grad()
    targets = targets.detach().requires_grad_() if learned else targets
    cut: list[tuple[Tensor, Tensor]] = []

    def received(logits: Tensor) -> Tensor:
        cut.append((logits, receive(logits)))
        return cut[-1][1]

    flags = {**flags, "weight": fed.get("class_weights"), "receive": received}
    with context():
        for _ in range(earlier):
            loss(-2 * hidden.detach(), table, bias, targets, **flags)
        cut.clear()
        value = loss(hidden, table, bias, targets, **flags)
        trained = value if value.requires_grad else loss(hidden, table, bias, targets, **{**flags, "receive": as_made})
        first = torch.autograd.grad(trained, table, upstream, retain_graph=True)[0] if twice else None
        hidden.grad = None
        trained.backward(upstream)
    for logits, leaf in cut:
        if leaf.is_leaf and leaf.grad is not None and logits is not leaf:
            logits.backward(leaf.grad)
    return {
        "value": value,
        "weight_grad": table.grad,
        "first_grad": first,
        "hidden_grad": hidden.grad,
        "bias_grad": None if bias is None else bias.grad,
        "targets_grad": targets.grad,
    }


def flat(rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Rows, and their targets or distributions, in one batch."""
    if rows.dim() < 3:
        return rows, targets
    whole = targets.dim() == rows.dim()
    return rows.flatten(0, -2), targets.flatten(0, -2) if whole else targets.flatten()


def shaped(loss: Tensor, hidden: Tensor) -> Tensor:
    """A loss for each token of those that were made one batch, in the tokens' shape."""
    return loss.reshape(hidden.shape[:-1]) if loss.dim() and hidden.dim() > 2 else loss


def of_logits(
    loss: Callable[..., Any], hidden: Tensor, table: Tensor, bias: Any, targets: Tensor, second: bool, **flags: Any
) -> Any:
    """A loss of what the head scores, in one batch, or with the classes as the ``second`` axis."""
    scores = torch.nn.functional.linear(hidden, table, bias)
    if second and scores.dim() > 2:
        whole = targets.dim() == scores.dim()
        return loss(scores.movedim(-1, 1), targets.movedim(-1, 1) if whole else targets, **flags)
    logits, wanted = flat(scores, targets)
    return shaped(loss(logits, wanted, **flags), hidden)


def entropy(logits: Tensor, wanted: Tensor, receive: Any, **flags: Any) -> Tensor:
    return torch.nn.functional.cross_entropy(receive(logits), wanted, **flags)


def converted(kind: Any, weight: Any, dtype: Any, **flags: Any) -> Any:
    """A loss of classes whose weights came in float32, as a checkpoint's do, and are converted with it."""
    return kind(weight=None if weight is None else weight.float(), **flags).to(dtype)


def module(logits: Tensor, wanted: Tensor, receive: Any, weight: Any, **flags: Any) -> Any:
    return converted(torch.nn.CrossEntropyLoss, weight, logits.dtype, **flags)(receive(logits), wanted)


def likelihood(logits: Tensor, wanted: Tensor, receive: Any, weight: Any, wider: Any = None, **flags: Any) -> Any:
    """``wider`` is the dtype of the softmax, where that is another one."""
    shares = torch.nn.functional.log_softmax(logits, dim=min(1, logits.dim() - 1), dtype=wider).to(logits.dtype)
    return converted(torch.nn.NLLLoss, weight, logits.dtype, **flags)(receive(shares), wanted)


def divergence(
    hidden: Tensor, table: Tensor, bias: Any, targets: Tensor, receive: Any, second: bool, reduction: str, weight: None
) -> Tensor:
    """Of logarithms that are taken of sequences, before they are one batch."""
    shares = torch.nn.functional.log_softmax(torch.nn.functional.linear(hidden, table, bias), dim=-1)
    logits, wanted = flat(shares, targets)
    batched = {"mean": "batchmean" if logits.dim() > 1 else "sum"}.get(reduction, reduction)
    found: Tensor = torch.nn.KLDivLoss(reduction=batched)(receive(logits), wanted)
    return shaped(found.sum(-1) if reduction == "none" else found, hidden)


def linear(
    hidden: Tensor, table: Tensor, bias: Any, targets: Tensor, receive: Any, second: bool, **flags: Any
) -> Tensor:
    """The loss that scores by itself."""
    rows, wanted = flat(hidden, targets)
    functional: Any = torch.nn.functional
    return shaped(functional.linear_cross_entropy(rows, table, wanted, linear_bias=bias, **flags), hidden)


def linear_module(
    hidden: Tensor, table: Tensor, bias: Any, targets: Tensor, receive: Any, second: bool, **flags: Any
) -> Tensor:
    """The module that scores by itself, with the table as its own; of a batch it scores classes along one axis more."""
    rows, wanted = flat(hidden, targets)
    more = (1,) if rows.dim() > 1 else ()
    modules: Any = torch.nn
    layer = modules.LinearCrossEntropyLoss(
        rows.shape[-1], len(table), out_features=more, bias=bias is not None, device="meta", **flags
    )
    held = {"linear.weight": table} | ({} if bias is None else {"linear.bias": bias})
    found: Any = torch.func.functional_call(layer, held, (rows, wanted[..., None] if more else wanted))
    return shaped(found[..., 0] if found.dim() else found, hidden)


def kept_chunks(*given: Any, **flags: Any) -> Tensor:
    """As many tokens at a time as torch chooses, for more than one backward pass."""
    modules: Any = torch.nn
    return linear(*given, options=modules.LinearCrossEntropyOptions(allow_retain_graph=True), **flags)


def chunks(targets: Tensor) -> Any:
    """Two tokens at a time, or 64 of many: each chunk costs as much as a small batch."""
    modules: Any = torch.nn
    return modules.LinearCrossEntropyOptions(batch_chunk_size=2 if targets.numel() < 1000 else 64)


def in_pieces(logits: Tensor, wanted: Tensor, receive: Any, **flags: Any) -> Any:
    """The classes are in pieces, of which this process has them all."""
    from torch.distributed.tensor import DTensor, Shard

    if not torch.distributed.is_initialized():
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    spread: Any = DTensor.from_local(logits, mesh, [Shard(logits.dim() - 1)])
    found: Any = torch.nn.functional.cross_entropy(spread, wanted, **flags)
    return found.full_tensor()


class Traced(torch.autograd.Function):
    """A loss and its gradient by a graph of both: ``graph(logits, upstream, *others) -> (loss, gradient)``."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, graph: Any, upstream: Tensor, others: tuple[Tensor, ...]) -> Any:
        ctx.graph, ctx.others = graph, others
        ctx.save_for_backward(logits)
        return graph(logits, upstream, *others)[0]

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        return ctx.graph(*ctx.saved_tensors, *upstream, *ctx.others)[1], None, None, None


def decomposed(logits: Tensor, wanted: Tensor, receive: Any, weight: Any, **flags: Any) -> Any:
    """By the operators into which torch decomposes what the loss and its backward call."""

    def both(logits: Tensor, upstream: Tensor, wanted: Tensor, *weights: Any) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            value = torch.nn.functional.cross_entropy(leaf, wanted, *weights, **flags)
            (gradient,) = torch.autograd.grad(value, leaf, upstream)
        return value.detach(), gradient

    received, others = receive(logits), (wanted,) if weight is None else (wanted, weight)
    upstream = torch.ones_like(torch.nn.functional.cross_entropy(received.detach(), *others, **flags))
    aten, trace = torch.ops.aten, torch.fx.experimental.proxy_tensor.make_fx
    losses = [aten.nll_loss_forward, aten.nll_loss_backward, aten.nll_loss2d_forward, aten.nll_loss2d_backward]
    table: Any = torch._decomp.get_decompositions([*losses, aten._log_softmax, aten._log_softmax_backward_data])
    graph = trace(both, decomposition_table=table)(received.detach(), upstream, *others)
    return Traced.apply(received, graph, upstream, others)  # type: ignore[no-untyped-call]


#: What a loss is given of logits: the same numbers.
RECEIVED: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "made": lambda logits: logits,
        "transposed": lambda logits: logits.mT.contiguous().mT if logits.dim() > 1 else logits,
        "rows_strided": lambda logits: torch.cat([logits, logits], -1)[..., : logits.shape[-1]],
        "behind": lambda logits: torch.cat([logits, logits], -1)[..., logits.shape[-1] :],
        "strided": lambda logits: torch.stack([logits, logits], -1)[..., 0],
        "offset": lambda logits: torch.cat([logits[:1], logits])[logits[:1].shape[0] :],
        "parameter": lambda logits: torch.nn.Parameter(logits.detach()),
        "frozen": lambda logits: logits.detach(),
    },
    "as_",
)
as_made = RECEIVED["made"]
LOSSES: dict[str, Loss] = named(
    {
        "cross_entropy": lambda *given, **flags: of_logits(entropy, *given, **flags),
        "likelihood": lambda *given, **flags: of_logits(likelihood, *given, **flags),
        "linear": linear,
        "chunked": lambda *given, **flags: linear(*given, options=chunks(given[-1]), **flags),
        "in_pieces": lambda *given, **flags: of_logits(in_pieces, *given, **flags),
        "decomposed": lambda *given, **flags: of_logits(decomposed, *given, **flags),
        "module": lambda *given, **flags: of_logits(module, *given, **flags),
        "widened": lambda *given, **flags: of_logits(likelihood, *given, wider=torch.float64, **flags),
        "divergence": divergence,
    },
    "loss_by_",
)
#: What stands for a loss in every other case, where this release has it.
OTHERWISE: dict[str, Loss] = {"chunked": kept_chunks} | (
    {"linear": linear_module} if hasattr(torch.nn, "LinearCrossEntropyLoss") else {}
)
