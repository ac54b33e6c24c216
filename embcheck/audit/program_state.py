"""Programs that save, load, resize and train a model; see `embcheck.audit.program`."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.program import (
    Build,
    Inputs,
    Model,
    Problems,
    aliases,
    align,
    answer,
    backward,
    cloned,
    differing,
    disturb,
    named,
    partition,
    positional,
    same,
    vary,
)  # fmt: skip


def round_trip(model: Model, build: Build, how: str) -> Model:
    """The model saved and loaded again, into another one where loading needs one."""
    import os
    import tempfile

    if how == "state_dict":
        twin = disturb(build(1))  # what is drawn anew is not what was drawn
        twin.load_state_dict(model.state_dict())
        return align(twin)
    with tempfile.TemporaryDirectory() as folder:
        if how == "save_pretrained":
            model.save_pretrained(folder)
            torch.manual_seed(1)
            return align(type(model).from_pretrained(folder))
        import importlib

        files = importlib.import_module("safetensors.torch")
        twin, file = disturb(build(1)), os.path.join(folder, "model.safetensors")
        files.save_model(model, file)
        files.load_model(twin, file)
        return align(twin)


def place(before: torch.Tensor, after: torch.Tensor) -> str:
    """Which row of a matrix changed, if it is one."""
    if before.dim() != 2 or before.shape != after.shape:
        return ""
    rows = (before != after).any(1).nonzero().flatten().tolist()
    return f"row {rows[0]} of " if len(rows) == 1 else ""


def reloaded(build: Build, inputs: Inputs, how: str, rows: int | None, exact: bool) -> Problems:
    """A saved and loaded model (resized to ``rows`` first) has the same values, the same ties and the same answers."""

    def prepared(seed: int = 0) -> Model:
        model = build(seed)
        if rows is not None:
            model.resize_token_embeddings(rows)
        return model

    model = vary(prepared())
    act = f"{how} and loading" + (f" after a resize to {rows}" if rows is not None else "")
    before = {name: value.clone() for name, value in {**named(model), **model.state_dict()}.items()}
    expected = answer(model, inputs) if exact else None
    try:
        twin = round_trip(model, prepared, how)
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        return [("load is refused", "", f"{act}: {type(error).__name__}: {' '.join(lines[:3])[:300]}")]
    after = {**named(twin), **twin.state_dict()}
    problems = aliases(partition(model), partition(twin), act)
    lost = differing(before, after)
    first = partition(model)
    lost = [name for name in lost if first.get(name, name) not in lost or first.get(name, name) == name]
    problems += [("not restored", n, f"{act} does not bring {place(before[n], after[n])}{n} back") for n in lost]
    if expected is not None and not problems and not same(answer(twin, inputs), expected):
        problems.append(("answers differ", "", f"after {act} all values are equal, but the answers are not"))
    return problems


def stepped(build: Build, inputs: Inputs) -> Problems:
    """Steps keep the ties; the optimizer holds one state for each parameter that has a gradient."""
    problems: Problems = []
    for kind in ("SGD", "AdamW"):
        model = build()
        before = partition(model)
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=2.0**-7)
        graded: dict[int, str] = {}
        for _ in range(2):
            optimizer.zero_grad()
            backward(model, inputs)
            graded |= {id(p): name for name, p in reversed(named(model).items()) if p.grad is not None}
            if kind == "AdamW":  # which refuses sparse gradients
                densify(model)
            optimizer.step()
        problems += aliases(before, partition(model), f"two steps of {kind}")
        for name, first in before.items():
            if name in named(model) and not same(named(model)[name].detach(), named(model)[first].detach()):
                problems.append(("alias is lost", name, f"two steps of {kind} leave {name} and {first} unequal"))
        if kind == "AdamW":
            held = {id(p) for p in optimizer.state}
            missing = [name for key, name in graded.items() if key not in held]
            problems += [("state is missing", name, f"{name} has a gradient, but {kind} no state") for name in missing]
    return list(dict.fromkeys(problems))


def densify(model: Model) -> None:
    """Makes sparse gradients dense, as an optimizer that takes no others needs them."""
    for p in model.parameters():
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.to_dense()


def untouched(build: Build, inputs: Inputs) -> Problems:
    """A forward pass in eval mode changes neither its inputs nor the model."""
    model = build()
    with torch.no_grad():
        for module in model.modules():  # rows that a lookup rescales
            if getattr(module, "max_norm", None) is not None and isinstance(module.weight, torch.nn.Parameter):
                module.weight.mul_(4)
    before = {name: parameter.detach().clone() for name, parameter in named(model).items()}
    given = cloned(inputs)
    with torch.no_grad():
        model(*positional(given), **{name: value for name, value in given.items() if not name.isdigit()})
    changed = [n for n, v in inputs.items() if isinstance(v, torch.Tensor) and not same(v, given[n])]
    problems = [("input is changed", name, f"the forward pass writes into {name}") for name in changed]
    written = [n for n in differing(before, named(model)) if not renormed(model, named(model)[n], before[n])]
    return problems + [("weights are written", name, f"the forward pass writes into {name}") for name in written]


def renormed(model: Model, weight: torch.Tensor, before: torch.Tensor) -> bool:
    """Whether rows of a table were rescaled as its max_norm promises, bit for bit, and nothing else was written.

    A row that several lookups read is rescaled as often: rounding may leave it above the norm.
    """
    for module in model.modules():
        if getattr(module, "weight", None) is weight and getattr(module, "max_norm", None) is not None:
            rows, every = before.clone(), torch.arange(len(before))
            left = (weight.detach() != before).any(1)
            for _ in range(8):
                torch.embedding_renorm_(rows, every, float(module.max_norm), float(module.norm_type))
                left &= (weight.detach() != rows).any(1)
            return not bool(left.any())
    return False


def resized(build: Build, inputs: Inputs, table: str, rows: int, covers: bool) -> Problems:
    """A resize to ``rows`` keeps every old row, the padding_idx and all other values; head and bias follow.

    ``covers`` says that the head has a row for each row of the table.
    """
    model = build()
    old = model.get_input_embeddings()
    count, padding = old.weight.shape[0], getattr(old, "padding_idx", None)
    values = {name: value.clone() for name, value in {**named(model), **model.state_dict()}.items()}
    before, width, act = partition(model), answer(model, inputs).shape[-1], f"a resize from {count} to {rows}"
    try:
        model.resize_token_embeddings(rows)
    except NotImplementedError:
        return []
    except Exception as error:
        return [("resize fails", table, f"{act}: {type(error).__name__}: {str(error)[:200]}")]
    after = {**named(model), **model.state_dict()}
    problems = aliases(before, partition(model), act)
    for name, value in values.items():
        if name not in after or before.get(name, name) != name:
            continue
        now = after[name].detach()
        grown = value.dim() == now.dim() and [k for k in range(value.dim()) if value.shape[k] != now.shape[k]]
        if grown and len(grown) == 1:
            part = min(value.shape[grown[0]], now.shape[grown[0]])
            value, now = value.narrow(grown[0], 0, part), now.narrow(grown[0], 0, part)
        if not same(value.detach(), now):
            kind = "old rows change" if grown or name == table else "other values change"
            problems.append((kind, name, f"{act} changes {name}" + (" in its old part" if grown else "")))
    problems += sizes(model, table, rows, padding, covers, act)
    if covers and "head does not follow" not in [kind for kind, _, _ in problems]:
        stale = [n for n, v in after.items() if n.endswith("bias") and v.dim() == 1 and len(v) == count and n in values]
        problems += [("bias does not follow", n, f"{act} leaves {n} with {count} entries") for n in stale]
    return problems + widths(model, inputs, rows, width == count, act)


def sizes(model: Model, table: str, rows: int, padding: int | None, covers: bool, act: str) -> Problems:
    """What modules and configuration say of their sizes after a resize."""
    problems: Problems = []
    new, head = model.get_input_embeddings(), getattr(model, "get_output_embeddings", lambda: None)()
    if new.weight.shape[0] != rows or getattr(new, "num_embeddings", rows) != rows:
        said = getattr(new, "num_embeddings", "?")
        problems.append(("size is not told", table, f"{act} leaves num_embeddings {said}, {new.weight.shape[0]} rows"))
    if padding is not None and padding < rows and getattr(new, "padding_idx", None) != padding:
        problems.append(("padding_idx changes", table, f"{act} makes padding_idx {new.padding_idx}, it was {padding}"))
    config = getattr(model, "config", None)
    if config is not None:
        config = config.get_text_config() if hasattr(config, "get_text_config") else config
        if getattr(config, "vocab_size", rows) != rows:
            problems.append(("size is not told", "config", f"{act} leaves config.vocab_size {config.vocab_size}"))
    weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
    if covers and isinstance(weight, torch.Tensor) and weight.shape[0] != rows:
        problems.append(("head does not follow", table, f"{act} leaves the head with {weight.shape[0]} rows"))
    elif covers and isinstance(bias, torch.Tensor) and isinstance(weight, torch.Tensor) and bias.shape[0] != rows:
        problems.append(("bias does not follow", table, f"{act} leaves the head's bias with {bias.shape[0]} entries"))
    return problems


def widths(model: Model, inputs: Inputs, rows: int, covered: bool, act: str) -> Problems:
    """Whether the resized model takes ids up to its last row, and tells of each."""
    last = cloned(inputs)
    for name, value in last.items():
        if isinstance(value, torch.Tensor) and not value.is_floating_point() and ("ids" in name or name.isdigit()):
            value.reshape(-1)[-1] = rows - 1
            value.clamp_(max=rows - 1)
    try:
        out = answer(model, last)
    except Exception as error:
        return [("forward fails", "", f"after {act}: {type(error).__name__}: {str(error)[:200]}")]
    if covered and out.shape[-1] != rows:
        return [("head does not follow", "", f"after {act} there are {out.shape[-1]} logits")]
    return []


def assigned(build: Build) -> list[str]:
    """Which ties load_state_dict(assign=True) breaks: in torch every tie."""
    model = build()
    before = partition(model)
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
    after = partition(model)
    return [name for name, first in before.items() if after[name] != after[first]]


def moved_row(build: Build, inputs: Inputs, table: str, row: int) -> list[str]:
    """What moves a row that no lookup trains: which of an AdamW step's parts."""
    movers = []
    for words, decay in (("the head's gradient", 0.0), ("weight decay", 0.5)):
        model = build()
        weight: Any = named(model)[table]
        before = weight[row].detach().clone()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2.0**-7, weight_decay=decay)
        backward(model, inputs)
        densify(model)
        optimizer.step()
        if not same(before, weight[row].detach()):
            movers.append(words)
    return movers
