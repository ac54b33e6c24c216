"""Programs about what copies, casts, files, resizes and forward passes keep of a model; see `embcheck.audit.program`."""

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
    as_cast,
    cloned,
    differing,
    disturb,
    follow,
    ids_in,
    memory,
    named,
    partition,
    run,
    same,
    vary,
    wave,
    weighted_loss,
)


def twin_of(model: Model, build: Build, how: str) -> Model:
    """The model copied, or saved and loaded, into another one where loading needs one."""
    import copy
    import importlib
    import pickle
    import tempfile

    if how == "copy.deepcopy":
        return copy.deepcopy(model)
    if how == "pickle":
        return pickle.loads(pickle.dumps(model))
    with tempfile.TemporaryDirectory() as folder:
        if how == "save_pretrained":
            model.save_pretrained(folder)
            torch.manual_seed(1)
            return align(type(model).from_pretrained(folder))
        twin = disturb(build(1))  # what is drawn anew is not what was drawn
        if how == "state_dict":
            twin.load_state_dict(model.state_dict())
        else:
            files, file = importlib.import_module("safetensors.torch"), f"{folder}/model.safetensors"
            files.save_model(model, file)
            files.load_model(twin, file)
        return align(twin)


def copied(build: Build, inputs: Inputs, how: str, table: str, exact: bool, trains: bool) -> Problems:
    """A copy has the same ties and memory of its own; changing its table changes it as it changes a fresh model."""
    model = build()
    before = answer(model, inputs) if exact else None
    twin = twin_of(model, build, how)
    problems = aliases(partition(model), partition(twin), how)
    mine = {memory(p) for p in named(model).values()} - {None}
    shared = [name for name, p in named(twin).items() if memory(p) in mine]
    problems += [("memory is shared", n, f"{how} leaves {n} in the original's memory") for n in shared]
    if before is None or problems:
        return problems
    if not follow(twin, build(), inputs, table):
        problems.append(("copy does not follow", table, f"after {how} a change of {table} does not show in full"))
    if not same(answer(model, inputs), before):
        problems.append(("original moves", table, f"after {how} a change of the copy's {table} moves the original"))
    if trains:
        weighted_loss(twin, inputs).backward()
        got = [name for name, p in named(model).items() if p.grad is not None][:1]
        words = f"after {how} the copy's backward pass gives"
        problems += [("original moves", name, f"{words} {name} a gradient") for name in got]
    return problems


def cast(build: Build, inputs: Inputs, table: str, exact: bool) -> Problems:
    """Casts keep the ties, reach what the forward pass needs cast, and a change of the table shows as in a fresh model."""
    problems: Problems = []
    runs, refused = not raised(build(), inputs), ""
    for dtype in (torch.float64, torch.bfloat16):
        model, act = build(), f"to({dtype})"
        before = partition(model)
        moved = [n for n, p in named(model).items() if p.is_floating_point()]
        model = model.to(dtype)
        problems += aliases(before, partition(model), act)
        kinds = {name: p.dtype for name, p in named(model).items() if name in moved and p.dtype != dtype}
        problems += [("cast is partial", name, f"{act} leaves {name} in {kind}") for name, kind in kinds.items()]
        problems += left_behind(model, inputs, dtype)
        if runs and (why := raised(model, as_cast(inputs, dtype))):
            refused = refused or f"after {act} its forward pass raises {why}"
    own = {p.dtype for p in build().parameters() if p.is_floating_point()}
    back = exact and not problems and len(own) == 1
    if back and not follow(build().double().to(own.pop()), build(), inputs, table):
        problems.append(("copy does not follow", table, f"after double() and back a change of {table} is not seen"))
    if refused and not problems:  # an operator may have no kernel for a dtype, or the model be of several dtypes
        raise LookupError(refused)
    return problems


def raised(model: Model, inputs: Inputs) -> str:
    """What the forward pass raises; nothing if it runs."""
    try:
        answer(model, inputs)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    return ""


def left_behind(model: Model, inputs: Inputs, dtype: torch.dtype) -> Problems:
    """The tensors that a cast to ``dtype`` left as they were, for they are no buffers, and with which the model raises."""
    given = as_cast(inputs, dtype)
    plain = [(path, vars(m), n, v) for path, m in model.named_modules() for n, v in vars(m).items()]
    plain = [
        (*place, v) for *place, v in plain if isinstance(v, torch.Tensor) and v.is_floating_point() and v.dtype != dtype
    ]
    if not plain or not raised(model, given):
        return []
    for _, attributes, n, v in plain:
        attributes[n] = v.to(dtype)
    if raised(model, given):  # for another reason
        return []
    problems = []
    for path, attributes, n, v in plain:
        attributes[n] = v
        if why := raised(model, given):
            where = f"{path}.{n}".lstrip(".")
            words = f"to({dtype}) leaves {where}, which is no buffer, in {v.dtype}, and the forward pass raises {why}"
            problems.append(("cast is partial", where, words))
        attributes[n] = v.to(dtype)
    return problems


def values(model: Model) -> dict[str, Any]:
    """Parameters, by every name, and what else is saved, as they are now."""
    return {name: value.detach().clone() for name, value in {**named(model), **model.state_dict()}.items()}


def trained(model: Model) -> Model:
    """Moves what a step moves, for copies of it are saved as well, and until then they are equal."""
    with torch.no_grad():
        for count, parameter in enumerate(dict.fromkeys(model.parameters())):
            if parameter.requires_grad:
                parameter += wave(parameter, 6.1 + count)
    return model.train().eval()


def reloaded(build: Build, inputs: Inputs, how: str, rows: int | None, exact: bool) -> Problems:
    """A model (resized to ``rows`` first) that is trained, saved and loaded has the same values, ties and answers."""

    def prepared(seed: int = 0) -> Model:
        model = build(seed)
        if rows is not None:
            model.resize_token_embeddings(rows)
        return model

    model = vary(trained(prepared()))
    act = f"{how} and loading" + (f" after a resize to {rows}" if rows is not None else "")
    before = values(model)
    expected = answer(model, inputs) if exact else None
    try:
        twin = twin_of(model, prepared, how)
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        return [("load is refused", "", f"{act}: {type(error).__name__}: {' '.join(lines[:3])[:300]}")]
    after, first = values(twin), partition(model)
    problems = aliases(first, partition(twin), act)
    lost = differing(before, after)
    lost = [name for name in lost if first.get(name, name) not in lost or first.get(name, name) == name]
    problems += [("not restored", n, f"{act} does not bring {place(before[n], after[n])}{n} back") for n in lost]
    if expected is not None and not problems and not same(answer(twin, inputs), expected):
        problems.append(("answers differ", "", f"after {act} all values are equal, but the answers are not"))
    return problems


def place(before: torch.Tensor, after: torch.Tensor) -> str:
    """Which row of a matrix changed, if it is one."""
    if before.dim() != 2 or before.shape != after.shape:
        return ""
    rows = (before != after).any(1).nonzero().flatten().tolist()
    return f"row {rows[0]} of " if len(rows) == 1 else ""


def assigned(build: Build) -> list[str]:
    """Which ties load_state_dict(assign=True) breaks: in torch every tie."""
    model = build()
    before = partition(model)
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
    after = partition(model)
    return [name for name, first in before.items() if after[name] != after[first]]


def untouched(build: Build, inputs: Inputs) -> Problems:
    """A forward pass in eval mode changes neither its inputs nor the model."""
    model, given = build(), cloned(inputs)
    with torch.no_grad():
        for module in model.modules():  # rows that a lookup rescales
            if rescales(module):
                module.weight.mul_(4)
        before = {name: parameter.detach().clone() for name, parameter in named(model).items()}
        run(model, given)
    changed = [n for n, v in inputs.items() if isinstance(v, torch.Tensor) and not same(v, given[n])]
    written = [n for n in differing(before, named(model)) if not renormed(model, named(model)[n], before[n])]
    found = [("input is changed", n) for n in changed] + [("weights are written", n) for n in written]
    return [(kind, name, f"the forward pass writes into {name}") for kind, name in found]


def rescales(module: Model) -> bool:
    """Whether lookups of a module rescale its rows; others may have a max_norm that is no table's."""
    kept = isinstance(getattr(module, "weight", None), torch.nn.Parameter)
    return kept and hasattr(module, "norm_type") and module.max_norm is not None


def renormed(model: Model, weight: torch.Tensor, before: torch.Tensor) -> bool:
    """Whether rows of a table were rescaled as its max_norm promises, bit for bit, and nothing else was written.

    A row that several lookups read is rescaled as often: rounding may leave it above the norm.
    """
    for module in model.modules():
        if getattr(module, "weight", None) is weight and rescales(module):
            rows, every = before.clone(), torch.arange(len(before))
            left = (weight.detach() != before).any(1)
            for _ in range(8):
                torch.embedding_renorm_(rows, every, float(module.max_norm), float(module.norm_type))
                left &= (weight.detach() != rows).any(1)
            return not bool(left.any())
    return False


def resized(build: Build, inputs: Inputs, table: str, rows: int, covers: bool) -> Problems:
    """A resize to ``rows`` keeps every old row, the padding_idx, all other values and what learns; head and bias follow.

    ``covers`` says that the head has a row for each row of the table.
    """
    model = build()
    old = model.get_input_embeddings()
    count, padding = old.weight.shape[0], getattr(old, "padding_idx", None)
    before, names = values(model), partition(model)
    learned = [name for name, p in named(model).items() if p.requires_grad and names[name] == name]
    width, act = answer(model, inputs).shape[-1], f"a resize from {count} to {rows}"
    try:
        model.resize_token_embeddings(rows)
    except Exception as error:
        kept = names == partition(model) and before.keys() == values(model).keys()
        if is_refusal(error) and kept and not differing(before, values(model)):
            raise NotImplementedError(f"it refuses to be resized: {' '.join(str(error).split())[:100]}") from error
        return [("resize fails", table, f"{act}: {type(error).__name__}: {str(error)[:200]}")]
    asked, given = rows, len(model.get_input_embeddings().weight)
    rows = given if given > asked and rounds_up(build, given) else asked
    after = values(model)
    problems = aliases(names, partition(model), act)
    frozen = [name for name in learned if name in named(model) and not named(model)[name].requires_grad]
    problems += [("resize freezes", name, f"{act} leaves {name} with requires_grad False") for name in frozen]
    for name, was in before.items():
        if name not in after or names.get(name, name) != name:
            continue
        now = after[name]
        grown = was.dim() == now.dim() and [k for k in range(was.dim()) if was.shape[k] != now.shape[k]]
        if grown and len(grown) == 1:
            part = min(was.shape[grown[0]], now.shape[grown[0]])
            was, now = was.narrow(grown[0], 0, part), now.narrow(grown[0], 0, part)
        if not same(was, now):
            kind = "old rows change" if grown or name == table else "other values change"
            problems.append((kind, name, f"{act} changes {name}" + (" in its old part" if grown else "")))
    problems += sizes(model, table, {rows, asked}, padding, covers, act)
    if covers and "head does not follow" not in [kind for kind, _, _ in problems]:
        stale = [n for n, v in after.items() if n.endswith("bias") and v.shape == (count,) and n in before]
        problems += [("bias does not follow", n, f"{act} leaves {n} with {count} entries") for n in stale]
    return problems + widths(model, inputs, {rows, asked}, width == count, act)


def rounds_up(build: Build, rows: int) -> bool:
    """Whether a resize rounds up to a multiple, which ``rows`` is one of: one row more is then several."""
    given = []
    for asked in (rows, rows + 1):
        model = build()
        model.resize_token_embeddings(asked)
        given.append(len(model.get_input_embeddings().weight))
    return given[0] == rows and given[1] > rows + 1


def is_refusal(error: Exception) -> bool:
    """Whether a model's code says by an error that it can't do what is asked; what torch or Python raises is a fault."""
    import dis

    trace: Any = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    frame = trace.tb_frame
    stated = dis.opname[frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS" and bool(str(error).strip())
    own = frame.f_globals.get("__name__", "").partition(".")[0] != "torch"
    return isinstance(error, NotImplementedError) or (isinstance(error, (ValueError, TypeError)) and stated and own)


def sizes(model: Model, table: str, either: set[int], padding: int | None, covers: bool, act: str) -> Problems:
    """What modules and configuration say of their sizes after a resize; the latter may tell of fewer than the rows."""
    rows, new, head = max(either), model.get_input_embeddings(), getattr(model, "get_output_embeddings", lambda: None)()
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    said, told = getattr(new, "num_embeddings", rows), getattr(config, "vocab_size", rows)
    weight, bias, count = getattr(head, "weight", None), getattr(head, "bias", None), len(new.weight)
    found = []
    if count != rows or said != rows:
        found.append(("size is not told", table, f"num_embeddings {getattr(new, 'num_embeddings', '?')}, {count} rows"))
    if told not in either:
        found.append(("size is not told", "config", f"config.vocab_size {told}"))
    if covers and isinstance(weight, torch.Tensor):
        if len(weight) != rows:
            found.append(("head does not follow", table, f"the head with {len(weight)} rows"))
        elif isinstance(bias, torch.Tensor) and len(bias) != rows:
            found.append(("bias does not follow", table, f"the head's bias with {len(bias)} entries"))
    problems = [(kind, where, f"{act} leaves {words}") for kind, where, words in found]
    if padding is not None and padding < rows and getattr(new, "padding_idx", None) != padding:
        problems.append(("padding_idx changes", table, f"{act} makes padding_idx {new.padding_idx}, it was {padding}"))
    return problems


def widths(model: Model, inputs: Inputs, either: set[int], covered: bool, act: str) -> Problems:
    """Whether the resized model takes ids up to its last row, and tells of each."""
    import copy

    last, rows = copy.deepcopy(inputs), max(either)
    for ids in ids_in(last):  # no other integers are as large
        ids.clamp_(max=rows - 1)
    for name, value in last.items():
        if isinstance(value, torch.Tensor) and not value.is_floating_point() and ("ids" in name or name.isdigit()):
            value.reshape(-1)[-1] = rows - 1
    try:
        out = answer(model, last)
    except Exception as error:
        return [("forward fails", "", f"after {act}: {type(error).__name__}: {str(error)[:200]}")]
    if covered and out.shape[-1] not in either:
        return [("head does not follow", "", f"after {act} there are {out.shape[-1]} logits")]
    return []
