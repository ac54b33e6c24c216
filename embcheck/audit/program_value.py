"""Programs about values: lookups, gradients and padding rows; see `embcheck.audit.program`."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.program import Build, Inputs, Model, Problems, answer, call, named, same, wave


class Uses(torch.overrides.TorchFunctionMode):
    """Follows one weight through a forward pass: its lookups and products, and what reads it otherwise."""

    def __init__(self, weight: Any) -> None:
        super().__init__()
        self.weight = weight
        self.lookups: list[dict[str, Any]] = []
        self.products: list[dict[str, Any]] = []
        self.others: list[str] = []

    def mine(self, thing: Any) -> bool:
        """Whether it is the weight, a view of it, or the same memory without its graph."""
        if not isinstance(thing, torch.Tensor) or thing.layout != torch.strided or not thing.numel():
            return False
        return thing is self.weight or thing.untyped_storage().data_ptr() == self.weight.untyped_storage().data_ptr()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        flat = [(place, one) for place, given in enumerate((*args, *kwargs.values()))
                for one in (given if isinstance(given, (list, tuple)) else (given,))]  # fmt: skip
        places = [place for place, one in flat if self.mine(one)]
        name = getattr(func, "__name__", str(func))
        if not places or not isinstance(out, torch.Tensor) or self.mine(out) or not out.requires_grad:
            return out
        if name == "embedding" and places == [1]:
            self.lookups.append(use := {"ids": args[0].detach().clone()})
        elif name == "linear" and places == [1]:
            self.products.append(use := {"x": args[0].detach().clone(), "columns": False})
        elif name in ("matmul", "__matmul__", "mm") and places == [1]:
            columns = args[1].shape == self.weight.shape
            self.products.append(use := {"x": args[0].detach().clone(), "columns": columns})
        else:
            self.others.append(name)
            return out
        out.register_hook(lambda grad: use.__setitem__("grad", grad.detach().clone()))
        return out


def gradient_is_the_sum(build: Build, inputs: Inputs, table: str, padding: int | None) -> Problems:
    """The gradient of the table's weight is what all its lookups and products give, within the bound of summation.

    Each gradient element is a sum of n products: it is off by at most (n + 4) u / (1 - (n + 4) u) of the sum of
    their absolute values, u the unit roundoff of the weight's dtype.
    """
    model = build()
    weight = named(model)[table]
    with Uses(weight) as uses:
        loss = weighted_loss(model, inputs)
    loss.backward()
    if uses.others or not (uses.lookups or uses.products):
        raise LookupError(", ".join(dict.fromkeys(uses.others)) or "no operator that is followed")
    got = torch.zeros_like(weight) if weight.grad is None else weight.grad.to_dense()
    total = torch.zeros(weight.shape, dtype=torch.float64)
    size, count = torch.zeros_like(total), torch.zeros(weight.shape[0], 1, dtype=torch.float64)
    for use in uses.lookups:
        ids, grad = use["ids"].reshape(-1), use.get("grad")
        if grad is None:
            continue
        rows = grad.double().reshape(len(ids), -1) * (ids != (-1 if padding is None else padding)).unsqueeze(1)
        total.index_add_(0, ids, rows)
        size.index_add_(0, ids, rows.abs())
        count.index_add_(0, ids, torch.ones(len(ids), 1, dtype=torch.float64))
    for use in uses.products:
        if (grad := use.get("grad")) is None:
            continue
        x, y = use["x"].double().reshape(-1, use["x"].shape[-1]), grad.double().reshape(-1, grad.shape[-1])
        a, b = (x, y) if use["columns"] else (y, x)
        total += a.T @ b
        size += a.abs().T @ b.abs()
        count += len(x)
    u = torch.finfo(weight.dtype).eps / 2
    bound = (count + 4) * u / (1 - (count + 4) * u) * size + torch.finfo(weight.dtype).tiny * (count + 1)
    wrong = ((got.double() - total).abs() > bound) | got.isnan()
    if not bool(wrong.any()):
        return []
    row, column = [int(i) for i in wrong.nonzero()[0]]
    words = f"d{table}[{row}, {column}] is {got[row, column].item()!r}, its uses sum to {total[row, column].item()!r}"
    only_padding = padding is not None and bool(wrong[padding].any()) and int(wrong.any(1).sum()) == 1
    kind = "padding row gets gradient" if only_padding else "gradient is not the sum"
    return [(kind, table, f"{words} ({len(uses.lookups)} lookups, {len(uses.products)} products)")]


def weighted_loss(model: Model, inputs: Inputs) -> torch.Tensor:
    """A loss that weighs every output differently."""
    torch.manual_seed(0)
    out = call(model, inputs)
    return (out * wave(out, 1.7)).sum()


def rows_of_padding(build: Build, inputs: Inputs, tables: Any) -> Problems:
    """In a fresh model the padding row of each table is zero."""
    model = build()
    problems = []
    for path in tables:
        module = model.get_submodule(path)
        if bool(module.weight[module.padding_idx].any()):
            problems.append(("padding row is not zero", path, f"row {module.padding_idx} of {path} starts nonzero"))
    return problems


def looks_up(build: Build, inputs: Inputs, path: str) -> Problems:
    """The embedding of every id is its weight's row times the module's declared scale, bit for bit."""
    module = build().get_submodule(path)
    with torch.no_grad():
        ids = torch.arange(module.weight.shape[0])
        got, rows = module(ids), module.weight[ids]
    if not isinstance(got, torch.Tensor) or got.shape != rows.shape:
        raise LookupError(f"{type(module).__name__} returns another shape than rows")
    if same(got, rows):
        return []
    for name, value in {**vars(module), **dict(module.named_buffers())}.items():
        if isinstance(value, (float, int, torch.Tensor)) and "scale" in name:
            scale = value.detach() if isinstance(value, torch.Tensor) else torch.tensor(float(value))
            if scale.numel() == 1 and (same(got, rows * scale) or same(got, rows * scale.to(rows.dtype))):
                return []
    bad = [int(i) for i in (got != rows).nonzero()[0]]
    words = f"{path}({bad[0]})[{bad[1]}] is {got[bad[0], bad[1]].item()!r}, its row has {rows[bad[0], bad[1]].item()!r}"
    return [("not the row", path, words)]


def embeds_equal_ids(build: Build, inputs: Inputs, table: str) -> Problems:
    """Giving the rows of the ids as inputs_embeds computes what the ids compute."""
    model = build()
    expected = answer(model, inputs)
    with torch.no_grad():
        rows = model.get_input_embeddings()(inputs["input_ids"])
    got = answer(model, {**{k: v for k, v in inputs.items() if k != "input_ids"}, "inputs_embeds": rows})
    if same(got, expected) or got.shape != expected.shape:
        return []
    wide = build().double()
    with torch.no_grad():
        rows = wide.get_input_embeddings()(inputs["input_ids"])
    apart = (answer(wide, {**{k: v for k, v in inputs.items() if k != "input_ids"}, "inputs_embeds": rows})
             - answer(wide, inputs)).abs().max().item()  # fmt: skip
    narrow = (got - expected).abs().max().item()
    if apart < narrow / 2**20:  # it shrinks with the unit roundoff: another order of operations
        return []
    return [
        ("inputs_embeds differ", table, f"logits of inputs_embeds differ from those of input_ids by up to {narrow:.3g}")
    ]
