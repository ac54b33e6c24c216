"""Programs about values: lookups, gradients and padding rows; see `embcheck.audit.program`."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable

import torch

from embcheck.audit.program import (
    Build,
    Calls,
    Inputs,
    Model,
    Problems,
    answer,
    as_cast,
    base_of,
    call,
    ending,
    has_hooks,
    ids_in,
    named,
    same,
    through_hooks,
    wave,
    weighted_loss,
)
from embcheck.audit.program_uses import Uses


def gradient_is_the_sum(
    build: Build, inputs: Inputs, table: str, padding: int | None, asking: list[int] | None = None
) -> Problems:
    """The gradient of the table's weight is what all its uses give, in training, or in eval mode where training raises.

    Where ``asking`` is given, the last ids of these of the inputs' tensors are the padding row's.
    """
    inputs = ending(inputs, asking or [], padding or 0)
    try:
        return gradient_problems(lambda: build().train(), inputs, table, padding)
    except Exception:  # its training mode wants more than its inputs
        return gradient_problems(build, inputs, table, padding)


def gradient_problems(build: Build, inputs: Inputs, table: str, padding: int | None) -> Problems:
    """Where the gradient of the table's weight is not the sum of its lookups and products, within its bound.

    It is judged without the weight's hooks, which may set elements to zero, or clip: that is meant.
    """
    model = build()
    weight = named(model)[table]
    if getattr(weight, "_post_accumulate_grad_hooks", None):
        raise LookupError(f"a hook of {table} may step it in the backward pass (register_post_accumulate_grad_hook)")
    hooks, weight._backward_hooks = list((weight._backward_hooks or {}).values()), None
    with Uses(weight) as uses:
        loss = weighted_loss(model, inputs)
    loss.backward()
    if uses.others or not (uses.lookups or uses.products):
        raise LookupError(uses.unfollowed)
    got = uses.rows(torch.zeros_like(weight) if weight.grad is None else weight.grad.to_dense())
    total, bound = uses.summed(padding)
    zeroed, changed = (uses.rows(each) for each in through_hooks(hooks, weight))
    wrong = (((got.double() - total).abs() > bound) | got.isnan()) & ~zeroed
    if bool(wrong.any()):
        kind, words = wrong_sum(uses, got, wrong, table, padding)
        return [(kind, table, words)]
    if bool(changed.any()):
        words = f"a hook of {table} changes its gradient in {int(changed.sum())} places, and not to zero"
        return [("gradient is not the sum", table, words)]
    cut, of = cut_off(build, inputs, table) if bool(got.any()) else ([], 0)
    if 0 < len(cut) == of:
        words = f"no gradient of {len(uses.lookups)} lookups comes to {table}, though the output depends on them"
        return [("gradient is not the sum", table, words)]
    return []


def wrong_sum(uses: Uses, got: torch.Tensor, wrong: torch.Tensor, table: str, padding: int | None) -> tuple[str, str]:
    """What is wrong with a gradient, and if it is so in all rows that are wrong, which uses are left out."""
    table += ".T" if uses.rows(uses.weight) is not uses.weight else ""
    row, column = [int(i) for i in wrong.nonzero()[0]]
    has, due = got[row, column].item(), uses.summed(padding)[0][row, column].item()
    words = f"the gradient of {table}[{row}, {column}] is {has:.6g}, "
    if row == padding and not uses.products:
        words += "and should be 0: only lookups of padding use the row"
    else:
        words += f"and what its uses send sums to {due:.6g}, off by {abs(has - due):.2g} "
        words += f"(lookups: {len(uses.lookups)}, products: {len(uses.products)})"
    rows = wrong.any(1).nonzero().flatten().tolist()
    if rows == [padding]:
        return "padding row gets gradient", words
    others = [each for each in rows if each != padding]
    without_lookups, without_products = (uses.sent_by(of, got, padding) for of in (uses.products, uses.lookups))
    several = len(torch.cat([use["ids"] for use in uses.lookups]).unique()) > 2 if uses.lookups else False
    if len(others) == 1 and several and without_lookups[others[0]]:
        words = f"lookups give {table}[{others[0]}] no gradient, as if it were the padding row"
        words += f"; they give one to {table}[{padding}], which is" if padding in rows else ""
        return "another row is padding", words
    for kind, without in (("lookups", without_lookups), ("products", without_products)):
        if getattr(uses, kind) and bool(without[rows].all()):
            words += f"; {len(rows)} rows are wrong, and each lacks just what {kind} send"
    return "gradient is not the sum", words


def cut_off(build: Build, inputs: Inputs, table: str, kind: str = "lookups") -> tuple[list[str], int]:
    """Which operators among the table's lookups, or its other uses, give it no gradient, if the loss has a derivative by what
    they give, else none; and of how many."""
    model = build()
    with Uses(named(model)[table]) as uses:
        weighted_loss(model, inputs).backward()
    every = getattr(uses, kind)
    cut = {k: use["name"] for k, use in enumerate(every) if "grad" not in use or not bool(use["grad"].any())}
    if not cut:
        return [], len(every)
    wide = as_cast(inputs, torch.float64)

    def loss(step: float) -> float:
        model = build().double()
        with Uses(named(model)[table], step, kind, cut):
            return weighted_loss(model, wide).item()

    return list(cut.values()) if has_derivative(loss) else [], len(every)


def untrained(build: Build, inputs: Inputs, most: int) -> list[str]:
    """The first Parameters that require a gradient and get none, in eval mode or training, though the loss has a derivative by
    them."""

    def without(model: Model) -> list[str]:
        weighted_loss(model, inputs).backward()
        held = [(name, p) for name, p in model.named_parameters() if p.requires_grad and not has_hooks(p)]
        return [name for name, p in held if p.grad is None or not bool(p.grad.to_dense().any())]

    def loss(names: list[str], step: float) -> float:
        model = build().double()
        with torch.no_grad():
            for name in names:
                weight = named(model)[name]
                weight += step * wave(weight, 2.3)
            return weighted_loss(model, wide).item()

    def read(names: list[str]) -> list[str]:
        """On which of them the loss depends: of many that it does not read, halves are told at once."""
        if not names or loss(names, 2.0**-10) == loss([], 0.0):
            return []
        half = len(names) // 2
        return [*read(names[:half]), *read(names[half:])] if half else names

    names, wide = without(build()), as_cast(inputs, torch.float64)
    with contextlib.suppress(Exception):  # its training mode may want more than its inputs
        trained = without(build().train()) if names else []
        names = [name for name in names if name in trained]
    try:
        names = read(names)
    except Exception:  # it does not run in double precision
        return []
    return list(itertools.islice((one for one in names if has_derivative(functools.partial(loss, [one]))), most))


def has_derivative(loss: Callable[[float], float]) -> bool:
    """Whether a loss has a derivative at 0 that is not zero; not told of one that does not run in double precision.

    Central differences of three widths agree within a factor of two where there is one.  Where the loss is a step function
    they are zero, or grow fourfold as the width shrinks to a quarter.
    """
    slopes: list[float] = []
    for width in (2.0**-10, 2.0**-11, 2.0**-12):
        try:
            slopes.append((loss(width) - loss(-width)) / (2 * width))
        except Exception:
            return False
        if slopes[-1] == 0:
            return False
    sizes = sorted(abs(one) for one in slopes)
    alike = all(one > 0 for one in slopes) or all(one < 0 for one in slopes)
    return alike and sizes[0] > 2.0**-20 and sizes[-1] <= 2 * sizes[0]  # double rounds far below


def asked(build: Build, inputs: Inputs, table: str, row: int) -> int:
    """How often lookups ask for a row of the table."""
    model = build()
    with Uses(named(model)[table]) as uses:
        call(model, inputs)
    if uses.others and not uses.lookups:
        raise LookupError(uses.unfollowed)
    return int(uses.asked(row))


def part(model: Model, path: str) -> Model:
    """The module of a path, whatever it is called: get_submodule finds ``type`` of nn.Module before a submodule of that name."""
    return dict(model.named_modules(remove_duplicate=False))[path]


def rows_of_padding(build: Build, inputs: Inputs, tables: list[str]) -> Problems:
    """In a fresh model the padding row of each table is zero."""
    model = build()
    problems = []
    for path in tables:
        module = part(model, path)
        row = module.weight[module.padding_idx]
        if bool(row.any()):
            starts = "is NaN" if bool(row.isnan().any()) else "starts nonzero"
            problems.append(("padding row is not zero", path, f"row {module.padding_idx} of {path} {starts}"))
    return problems


def padding_is_a_number(build: Build, inputs: Inputs, tables: list[str]) -> Problems:
    """In a fresh model no padding row is NaN, if that shows in the answer to some inputs that end with it."""
    problems = []
    for path in tables:
        module = part(build(), path)
        number = module.padding_idx
        if not bool(module.weight[number].isnan().any()):
            continue
        for place in range(len(ids_in(inputs))):
            try:
                out = answer(build(), ending(inputs, [place], number))
            except Exception:  # these ids are not of this table
                continue
            if bool(out.isnan().any()):
                words = f"row {number} of {path} is NaN, and so is the answer to inputs with padding"
                problems.append(("padding row is NaN", path, words))
                break
    return problems


def looks_up(build: Build, inputs: Inputs, path: str) -> Problems:
    """The embedding of every id is its weight's row times the scale that the module declares, bit for bit.

    A plain nn.Embedding multiplies with none, whatever attribute it was given.
    """
    module = part(build(), path)
    with torch.no_grad():
        ids = torch.arange(module.weight.shape[0])
        got, rows = module(ids), module.weight[ids]
    if not isinstance(got, torch.Tensor) or got.shape != rows.shape:
        raise LookupError(f"{type(module).__name__} returns another shape than rows")
    scales = {}
    for name, value in {**vars(module), **dict(module.named_buffers())}.items():
        if "scale" in name and isinstance(value, (float, int, torch.Tensor)) and not isinstance(value, bool):
            scale = value.detach() if isinstance(value, torch.Tensor) else torch.tensor(float(value))
            if scale.numel() == 1 and type(module).forward is not torch.nn.Embedding.forward:
                scales[name] = scale
    scaled = [rows * one for scale in scales.values() for one in (scale, scale.to(rows.dtype))]
    if any(same(got, one) for one in scaled or [rows]):
        return []
    bad = [int(i) for i in (got != (scaled or [rows])[0]).nonzero()[0]]
    words = f"{path}({bad[0]})[{bad[1]}] is {got[bad[0], bad[1]].item()!r}, its row has {rows[bad[0], bad[1]].item()!r}"
    words += "".join(f", and it declares {name} {scale.item():.6g}" for name, scale in scales.items())
    return [("not the row", path, words)]


def embeds_equal_ids(build: Build, inputs: Inputs, table: str) -> Problems:
    """Giving the rows of the ids as inputs_embeds computes what the ids compute."""
    rest = {name: value for name, value in inputs.items() if name != "input_ids"}
    apart = []
    for model in (build(), build().double()):
        expected = answer(model, inputs)
        with torch.no_grad():
            rows = model.get_input_embeddings()(inputs["input_ids"])
        got = answer(model, {**rest, "inputs_embeds": rows})
        if same(got, expected) or got.shape != expected.shape:
            return []
        apart.append((got - expected).abs().max().item())
    narrow, wide = apart
    if wide < narrow / 2**20:  # it shrinks with the unit roundoff: another order of operations
        return []
    words = f"logits of inputs_embeds differ from those of input_ids by up to {narrow:.3g}"
    return [("inputs_embeds differ", table, words)]


def a_step_shows(build: Build, inputs: Inputs, table: str) -> Problems:
    """After a step no lookup and no product is made with what the table was before it."""
    model = build()
    weight = named(model)[table]
    before = weight.detach().clone()
    if bool((before == before[0]).all()):
        raise LookupError("the rows of its table are all alike")
    answer(model, inputs)
    model.train()
    try:
        weighted_loss(model, inputs).backward()
        torch.optim.SGD([p for p in model.parameters() if p.grad is not None], lr=2.0**-4).step()
    except Exception:  # it may train otherwise than by its answer; its table is moved below
        pass
    with torch.no_grad():
        weight += wave(weight, 5.3)
    model.eval()
    with Calls() as calls:
        answer(model, inputs)
    for name, given, _ in calls.made:
        matrix = base_of(given[1])
        if isinstance(matrix, torch.nn.Parameter) or matrix.dim() != 2 or not matrix.is_floating_point():
            continue
        matrix = matrix.detach()
        was, now = before.to(matrix.dtype), weight.detach().to(matrix.dtype)
        if any(same(one, was) or (made_of(one, was) and not made_of(one, now)) for one in (matrix, matrix.T)):
            held = [n for n, buffer in model.named_buffers() if same(buffer, matrix)]
            what = f"the buffer {held[0]}" if held else "a tensor that is no parameter"
            copy = same(matrix, was) or same(matrix.T, was)
            words = f"after a step of {table}, {name} computes with {what}, which is "
            words += f"{'' if copy else 'a product of '}what {table} was before"
            return [("copy stays behind", table, words)]
    return []


def made_of(matrix: torch.Tensor, table: torch.Tensor) -> bool:
    """Whether a matrix is the product of a table with another one, and a constant row added, within rounding.

    Twice as many rows are looked at as a factor could be chosen to fit: a matrix that is no such product differs.
    """
    rows, width = 2 * (table.shape[1] + 1), table.shape[1] + 1
    if len(matrix) != len(table) or len(table) < rows:
        return False
    a, b = torch.cat([table, torch.ones_like(table[:, :1])], 1)[:rows].double(), matrix[:rows].double()
    x = torch.linalg.lstsq(a, b, driver="gelsd").solution
    rounding = width * torch.finfo(matrix.dtype).eps * (a.abs() @ x.abs() + b.abs()).norm()
    return bool((b - a @ x).norm() <= rounding)
