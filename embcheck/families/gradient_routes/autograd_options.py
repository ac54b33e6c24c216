"""Further routes: what a checkpoint keeps, how gradients are asked for, what happens to saved tensors, and hooks in every form."""

import functools
import inspect
from typing import Any

import torch
import torch.nn.modules.module
import torch.utils.checkpoint

from embcheck.core.registry import by_name
from embcheck.families.gradient_routes.autocast import casts_as_documented, left_by_regions, noting_function
from embcheck.families.gradient_routes.checkpoints import keeping_rows
from embcheck.families.gradient_routes.programs import Seen, alike, hooks_replace_each, layer_of, raises
from embcheck.families.gradient_routes.small_graphs import through_own_product
from embcheck.families.lookup.programs import Call, Rebuild, Route, Tensor, with_gradient


def checkpointed_selectively(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # The rows are kept, what reverses them is computed again; before torch 2.5 all is.
    select = getattr(torch.utils.checkpoint, "create_selective_checkpoint_contexts", None)

    def reversed_rows(tokens: Tensor) -> Tensor:
        return call(tokens).flip(-1)

    value = torch.utils.checkpoint.checkpoint(reversed_rows, indices, use_reentrant=False, context_fn=keeping_rows())
    seen = with_gradient(leaf, value.flip(-1), upstream)
    kept, few = select is None or refuses_what_was_written(call, indices, select), torch.ones(2, requires_grad=True)
    kept = kept and (select is None or not refuses_what_was_written(torch.exp, few, select, allowed=True))
    return {**seen, "kept": kept}


def refuses_what_was_written(call: Call, indices: Tensor, select: Any, allowed: bool = False) -> bool:
    """Whether a checkpoint that keeps all refuses to go back where rows were written since, which may be allowed."""
    policy = torch.utils.checkpoint.CheckpointPolicy.MUST_SAVE
    contexts = functools.partial(select, lambda context, operator, *given, **flags: policy, allowed)

    def squared(tokens: Tensor) -> tuple[Tensor, Tensor]:
        rows = call(tokens)
        return rows, rows * rows

    rows, squares = torch.utils.checkpoint.checkpoint(squared, indices, use_reentrant=False, context_fn=contexts)
    with torch.no_grad():
        rows.add_(1)
    return raises(lambda: squares.sum().backward())


def differentiated_once(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # A second derivative is refused, though only one of two upstream gradients has a graph.
    class Twofold(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, rows: Tensor) -> Any:
            return rows.clone(), rows.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
            return first + second

    rows = call(indices)
    sent = [upstream.detach().requires_grad_(), torch.zeros_like(upstream)]
    (found,) = torch.autograd.grad(Twofold.apply(rows), rows, sent, create_graph=True)  # type: ignore[no-untyped-call]
    once = raises(lambda: found.sum().backward())
    rows.backward(found.detach())
    return {"weight_grad": leaf.grad, "kept": found.requires_grad and once}


def own_function(came: list[bool], zeros: bool) -> Any:
    """An autograd.Function that hands on rows, and beside them others, and integers and rows that have no gradient; it notes
    whether the others' gradient comes."""

    class Handing(torch.autograd.Function):
        @staticmethod
        def forward(rows: Tensor) -> Any:
            return rows.clone(), rows.clone(), torch.ones(2, dtype=torch.int64), rows.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.mark_non_differentiable(*output[2:])
            ctx.set_materialize_grads(zeros)

        @staticmethod
        def backward(ctx: Any, first: Tensor, second: Any, *others: Any) -> Any:
            came.append(second is not None)
            return first

    return Handing


def through_own_functions(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # What no gradient reaches gets zeros, or None where that is asked for; what is written in place has its gradient since.
    class Reversing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, rows: Tensor) -> Tensor:
            ctx.mark_dirty(rows)
            return rows.copy_(rows.flip(-1))  # which keeps the bits of a NaN, as arithmetic need not

        @staticmethod
        def backward(ctx: Any, sent: Tensor) -> Tensor:
            return sent.flip(-1)

    came: list[bool] = []
    rows, _, *others = own_function(came, True).apply(own_function(came, False).apply(call(indices))[0])
    for _ in range(2):
        Reversing.apply(rows)  # type: ignore[no-untyped-call]
    rows.backward(upstream)
    kept = came == [True, False] and not any(each.requires_grad for each in others)
    return {"value": rows, "weight_grad": leaf.grad, "kept": kept, "small_grads": through_own_product()}


def grad_modes_end() -> bool:
    """Whether after a grad mode within another one that one is back."""
    modes: dict[Any, bool] = {torch.no_grad: False, torch.enable_grad: True}
    modes |= {functools.partial(torch.set_grad_enabled, enabled): enabled for enabled in (False, True)}
    found = []
    for outer, enabled in modes.items():
        for inner in modes:
            with outer():
                with inner():
                    pass
                found.append(torch.is_grad_enabled() is enabled)
    return all(found)


def grad_modes_begin() -> bool:
    """Whether grad modes begin in a function that they decorate without parentheses, and in a call that is no context."""
    decorators: Any = (torch.no_grad, torch.enable_grad, torch.inference_mode)
    no_grad, enable_grad, inference_mode = decorators
    found = [no_grad(torch.is_grad_enabled)(), inference_mode(torch.is_inference_mode_enabled)()]
    with torch.no_grad():
        found.append(enable_grad(torch.is_grad_enabled)())
        for enabled in (True, False):
            torch.set_grad_enabled(enabled)
            found.append(torch.is_grad_enabled())
    return found == [False, True, True, True, False]


def beside_generators(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Between what it yields a generator in another grad mode leaves its caller's as it is, and it hears what its caller sends.
    # So does a function that calls itself.
    @torch.no_grad()
    def frozen(heard: list[str]) -> Any:
        for _ in range(2):
            heard.append((yield call(indices)))

    @torch.no_grad()
    def calling_itself(again: bool) -> Tensor:
        return calling_itself(False) if again else call(indices)

    heard: list[str] = []
    decoding = frozen(heard)
    modes = [(decoding.send(each).requires_grad, torch.is_grad_enabled()) for each in (None, "token")]
    modes.append((calling_itself(True).requires_grad, torch.is_grad_enabled()))
    seen = with_gradient(leaf, call(indices), upstream)
    kept = modes == [(False, True)] * 3 and heard == ["token"] and grad_modes_end() and grad_modes_begin()
    return {**seen, "kept": kept}


def checkpointed_to_the_end(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # A checkpoint in a checkpoint, which does not stop once it has what the backward pass needs.  Others do, unless they are told
    # otherwise.
    ends: list[str] = []

    def rows(tokens: Tensor) -> Any:
        found = torch.utils.checkpoint.checkpoint(call, tokens, use_reentrant=False)
        ends.append("end")
        return found

    def squares(numbers: Tensor) -> Tensor:
        found = numbers * numbers
        ends.append("other")
        return found

    with torch.utils.checkpoint.set_checkpoint_early_stop(False):
        value = torch.utils.checkpoint.checkpoint(rows, indices, use_reentrant=False)
    value.backward(upstream)
    few = torch.ones(2, requires_grad=True)
    told = "early_stop" in inspect.signature(torch.utils.checkpoint.checkpoint).parameters
    flags: list[Any] = [{}, {"early_stop": False}] if told else [{}]
    for each in flags:
        torch.utils.checkpoint.checkpoint(squares, few, use_reentrant=False, **each).sum().backward()
    return {"value": value, "weight_grad": leaf.grad, "kept": ends == ["end", "end", *["other"] * (3 if told else 1)]}


def through_autocast_functions(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Each backward pass has the autocast of its forward pass: of one that casts what it is given, but for float64, none.  Without
    # autocast nothing is cast.
    told: list[Any] = []
    device = leaf.device.type
    halves = (torch.float16, torch.bfloat16)
    wide, *narrow = (torch.ones(1, dtype=dtype, device=leaf.device) for dtype in (torch.float64, *halves))
    others = {"wide": wide, "more": narrow}
    heeding = noting_function(told, device)
    casting = noting_function(told, device, cast_inputs=leaf.dtype)

    def value_of() -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=False):
            rows = call(indices)
        return casting.apply(heeding.apply(rows, others), others)

    value = torch.autocast(device, torch.float16)(value_of)()
    value.backward(upstream)
    casting.apply(wide, others)
    wanted = [torch.float16, torch.float64, *halves, None, torch.float64, leaf.dtype, leaf.dtype, None, torch.float16]
    wanted += [None, torch.float64, *halves]
    kept = told == wanted and casts_as_documented(device)
    return {"value": value, "weight_grad": leaf.grad, "kept": kept, **left_by_regions(device)}


def edges_listed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    edge, value = torch.autograd.graph.get_gradient_edge, call(indices)
    found, sent = torch.autograd.grad(value, [edge(leaf), edge(value)], upstream)
    return {"weight_grad": found, "kept": alike(sent, upstream)}


def upstreams_batched(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    sent = torch.stack([upstream, -upstream, upstream])
    (grads,) = torch.autograd.grad(call(indices), leaf, sent, is_grads_batched=True)
    return {"weight_grad": grads[0], "kept": alike(grads[1], -grads[0]) and alike(grads[2], grads[0])}


def saved_on_cpu(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # A transposed matrix comes back as it was, from pinned memory, too.
    factor = torch.arange(6.0, device=leaf.device).reshape(3, 2).T
    others: Any = [torch.ones_like(factor, requires_grad=True) for _ in range(2)]
    for pinned, other in zip((True, False), others, strict=True):
        with torch.autograd.graph.save_on_cpu(pinned):
            value, product = call(indices), other * factor
        product.sum().backward()
    seen = with_gradient(leaf, value, upstream)
    return {**seen, "kept": all(alike(other.grad, factor) for other in others)}


def saved_before_mutation(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Two calls have saved the same tokens, of which each has what they were at its time.
    tokens = torch.zeros_like(indices)
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        first = call(tokens)
        tokens.copy_(indices)
        value = call(tokens)
        tokens.zero_()
        value.backward(upstream)
        (of_zeros,) = torch.autograd.grad(first, leaf, torch.ones_like(first))
    return {"value": value, "weight_grad": leaf.grad, "kept": not of_zeros.to_dense()[1:].any().item()}


#: In which order the hooks of `layer_hooks_in_order` are called, those of a call whose hook raises included.
FORWARD = ["before all", *(f"before {k}" for k in range(3)), "after all", *(f"after {k}" for k in range(3)), "always"]
BACKWARD = ["backward all", "backward 1", "backward 2", "graded all", "graded 1", "graded 2"]


def layer_hooks_in_order(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Hooks of all modules come first, those that are prepended before others; what always is called is so before an error.
    layer, order, of_all = layer_of(call), list[str](), torch.nn.modules.module

    def note(name: str) -> Any:
        return lambda module, *given: order.append(name) if module is layer else None

    def to_keyword(module: Any, args: Any, kwargs: Any) -> Any:
        order.append("before 2")
        return (), {"input": args[0]}

    def by_keyword(module: Any, args: Any, kwargs: Any, result: Any) -> None:
        order.append("after 2" if not args and list(kwargs) == ["input"] else "after others")

    def fail_once_graded(*given: Any) -> None:
        if "graded 2" in order:
            raise ValueError

    handles = [
        layer.register_forward_pre_hook(to_keyword, with_kwargs=True),
        layer.register_forward_pre_hook(note("before 1"), prepend=True),
        layer.register_forward_pre_hook(note("before 0"), prepend=True, with_kwargs=True),
        layer.register_forward_hook(by_keyword, with_kwargs=True),
        layer.register_forward_hook(note("after 1"), prepend=True),
        layer.register_forward_hook(note("after 0"), prepend=True, with_kwargs=True),
        layer.register_forward_hook(fail_once_graded),
        layer.register_forward_hook(note("always"), always_call=True),
        layer.register_full_backward_pre_hook(note("backward 2")),
        layer.register_full_backward_pre_hook(note("backward 1"), prepend=True),
        layer.register_full_backward_hook(note("graded 2")),
        layer.register_full_backward_hook(note("graded 1"), prepend=True),
        of_all.register_module_forward_pre_hook(note("before all")),
        of_all.register_module_forward_hook(note("after all")),
        # What these two return are the rows again.
        of_all.register_module_forward_hook(lambda module, args, rows: -rows if module is layer else None),
        layer.register_forward_hook(lambda module, args, rows: -rows),
        of_all.register_module_full_backward_pre_hook(note("backward all")),
        of_all.register_module_full_backward_hook(note("graded all")),
    ]
    try:
        layer(indices).backward(upstream)
        layer(indices)
    except ValueError:
        order.append("error")
    finally:
        for handle in handles:
            handle.remove()
    found = leaf.grad
    kinds: Any = (layer.register_forward_pre_hook, layer.register_forward_hook)
    kinds += (layer.register_full_backward_pre_hook, layer.register_full_backward_hook)
    for register in kinds:
        handle, leaf.grad = register(note("alone")), None
        layer(indices).backward(upstream)
        handle.remove()
    return {"weight_grad": found, "kept": order == [*FORWARD, *BACKWARD, *FORWARD, "error", *["alone"] * 4]}


class Second(torch.nn.Module):
    def forward(self, number: int, rows: Tensor) -> Tensor:
        return rows


def module_hooks(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Each of two hooks changes the gradient of the input that it is given; others only look at it.  A number has none.  The module
    # is called twice, and so is each hook.
    behind: Any = Second()
    seen: list[Any] = []
    behind.register_full_backward_pre_hook(lambda module, given: seen.append("before"))
    behind.register_full_backward_hook(lambda module, to_input, given: (None, 2 * to_input[1]))
    behind.register_full_backward_hook(lambda module, to_input, given: seen.extend(to_input))
    behind.register_full_backward_hook(lambda module, to_input, given: (None, -to_input[1]))
    behind.register_full_backward_hook(lambda module, to_input, given: None)
    behind(2, behind(2, call(indices))).backward(upstream)
    kept = seen[:2] + seen[3:5] == ["before", None] * 2 and len(seen) == 6
    kept = kept and alike(seen[2], 2 * upstream) and alike(seen[5], -4 * upstream) and hooks_replace_each()
    return {"weight_grad": leaf.grad, "kept": kept}


ROUTES: dict[str, Route] = (
    by_name(checkpointed_selectively, differentiated_once, through_own_functions, beside_generators)
    | by_name(checkpointed_to_the_end, through_autocast_functions, edges_listed, upstreams_batched, saved_on_cpu)
    | by_name(saved_before_mutation, layer_hooks_in_order, module_hooks)
)
