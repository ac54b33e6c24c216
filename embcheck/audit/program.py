"""Programs: what the laws of the audit do to a model.

They import nothing but torch and the standard library, for their source is what a finding's script shows.  ``build``
makes the model afresh, ``inputs`` are the keyword arguments of its forward pass.  A program returns its problems, each
a kind (see `embcheck.audit.finding.ADVICE`), the path where it shows and a sentence; none if the law holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

#: A torch module, whose attributes a checker can't tell apart.
Model = Any
#: Takes the seed from which the model is built.
Build = Callable[..., Model]
Inputs = dict[str, Any]
Problems = list[tuple[str, str, str]]


def wave(tensor: torch.Tensor, frequency: float) -> torch.Tensor:
    """Values between -0.1 and 0.1 of the tensor's shape and dtype: the same everywhere, no two rows alike."""
    steps = torch.arange(1, tensor.numel() + 1, dtype=torch.float64)
    return (torch.sin(steps * frequency) / 10).reshape(tensor.shape).to(tensor)


def vary(model: Model) -> Model:
    """Gives constant parameters values: a bias of zeros that is lost on reload would come back as zeros."""
    with torch.no_grad():
        for count, parameter in enumerate(dict.fromkeys(model.parameters())):
            real = parameter.is_floating_point() and parameter.numel() and parameter.device.type != "meta"
            if real and bool((parameter == parameter.reshape(-1)[0]).all()):
                parameter += wave(parameter, 12.9898 + count)
        tables = [m for m in model.modules() if isinstance(getattr(m, "weight", None), torch.nn.Parameter)]
        tables = [m for m in tables if m.weight.dim() == 2 and m.weight.device.type != "meta"]
        for module in tables:
            row = getattr(module, "padding_idx", None)
            if isinstance(row, int) and not bool(module.weight[row].any()):
                module.weight[row] = wave(module.weight[row], 4.1)
        for module in tables:
            if getattr(module, "max_norm", None) is not None:  # no lookup is to rescale a row
                norms = module.weight.norm(module.norm_type, dim=1, keepdim=True)
                module.weight.mul_((0.5 * module.max_norm / norms).clamp(max=1))
    return model.eval()


def uncompiled(model: Model) -> Model:
    """The module that torch.compile was given, run eagerly from here on in this process; any other as it is."""
    if not is_compiled(model):
        return model
    if hasattr(torch.compiler, "set_stance"):
        torch.compiler.set_stance("force_eager")
    model = getattr(model, "_orig_mod", model)
    for module in model.modules():
        module._compiled_call_impl = None
    return model


def is_compiled(model: Model) -> bool:
    """Whether a model or a part of it is made by torch.compile."""
    return any(
        type(module).__name__ == "OptimizedModule"
        or getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(module.forward, "_torchdynamo_orig_callable")
        for module in model.modules()
    )


def disturb(model: Model) -> Model:
    """Another model of the same class: every parameter moved."""
    with torch.no_grad():
        for count, parameter in enumerate(dict.fromkeys(model.parameters())):
            if parameter.is_floating_point():
                parameter += wave(parameter, 3.7 + count)
    return model


def align(model: Model) -> Model:
    """Moves parameters to memory of their own: a file mapped into memory is not aligned as a kernel wants it."""
    for parameter in dict.fromkeys(model.parameters()):
        parameter.data = parameter.data.clone()
    return model.eval()


def first_tensor(out: Any) -> torch.Tensor:
    """The logits of an output, or its first tensor of floating point."""
    if isinstance(out, torch.Tensor):
        return out
    if getattr(out, "logits", None) is not None:
        return first_tensor(out.logits)
    for member in out.values() if isinstance(out, dict) else out:
        if isinstance(member, torch.Tensor) and member.is_floating_point():
            return member
    raise TypeError(f"no tensor of floating point in {type(out).__name__}")


def call(model: Model, inputs: Inputs) -> torch.Tensor:
    """What the model computes, with its graph; the inputs are copies."""
    given = cloned(inputs)
    return first_tensor(model(*positional(given), **{name: given[name] for name in given if not name.isdigit()}))


def cloned(inputs: Inputs) -> Inputs:
    return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}


def positional(inputs: Inputs) -> list[Any]:
    return [inputs[name] for name in sorted(inputs) if name.isdigit()]


def answer(model: Model, inputs: Inputs, seed: int = 0) -> torch.Tensor:
    """What the model computes, without its graph."""
    torch.manual_seed(seed)
    with torch.no_grad():
        return call(model, inputs)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal as values, NaN to NaN."""
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())


def backward(model: Model, inputs: Inputs) -> None:
    """A training step's backward pass, with a loss that weighs every output differently."""
    torch.manual_seed(0)
    out = call(model, inputs)
    if out.is_complex():
        out = torch.view_as_real(out)
    (out * wave(out, 1.7)).sum().backward()


def named(model: Model) -> dict[str, Any]:
    """Parameters by every name that they have."""
    return dict(model.named_parameters(remove_duplicate=False))


def partition(model: Model) -> dict[str, str]:
    """For each name the first name of the same Parameter: which names are one."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(parameter), name) for name, parameter in named(model).items()}


def aliases(before: dict[str, str], after: dict[str, str], act: str) -> Problems:
    """How an operation changed which names are one Parameter."""
    problems = []
    for name, first in before.items():
        if name not in after or first not in after:
            gone = name if name not in after else first
            problems.append(("name is lost", gone, f"{act} loses {gone}"))
        elif after[name] != after[first]:
            problems.append(("alias is lost", name, f"{act} makes {name} another Parameter than {first}"))
        elif first == name and after[name] != name and after[name] in before:
            problems.append(("alias is made", name, f"{act} makes {name} and {after[name]} one Parameter"))
    return list(dict.fromkeys(problems))


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names whose values are not bit for bit what they were."""
    return [n for n, value in before.items() if n in after and not same(value.detach(), after[n].detach())]


# -- ties ----------------------------------------------------------------------------------------------------------


def tied_as_declared(build: Build, inputs: Inputs, pairs: Any, expected: str, said: str) -> Problems:
    """Each pair of names is one Parameter if ``tied`` is expected, and two with memories of their own if not."""
    parameters = named(build())
    problems = []
    for one, other in pairs:
        a, b = parameters.get(one), parameters.get(other)
        if a is None or b is None:
            gone = one if a is None else other
            if expected == "tied":
                problems.append(("tie is missing", gone, f"{said}, but {gone} is no parameter"))
        elif a is b and expected == "untied":
            problems.append(("tie is undeclared", one, f"{said}, but {one} and {other} are one Parameter"))
        elif a is not b and expected == "tied" and a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
            equal = ", of equal values" if same(a.detach(), b.detach()) else ""
            problems.append(("tie is missing", one, f"{said}, but {one} and {other} are two Parameters{equal}"))
    return problems


def one_memory_one_parameter(build: Build, inputs: Inputs) -> Problems:
    """No two Parameters share memory, and parameters() lists each once."""
    model = build()
    firsts = {name: named(model)[name] for name, first in partition(model).items() if name == first}
    owner: dict[int, str] = {}
    problems: Problems = []
    for name, parameter in firsts.items():
        if not parameter.numel() or parameter.device.type == "meta":
            continue
        first = owner.setdefault(parameter.untyped_storage().data_ptr(), name)
        spans = [(p.data_ptr(), p.data_ptr() + p.numel() * p.element_size()) for p in (parameter, firsts[first])]
        if first != name and max(begin for begin, _ in spans) < min(end for _, end in spans):
            problems.append(("two Parameters over one memory", name, f"{name} and {first} are two Parameters"))
    listed = [id(parameter) for parameter in model.parameters()]
    for name, parameter in firsts.items():
        if listed.count(id(parameter)) > 1:
            problems.append(("listed twice", name, f"parameters() lists {name} {listed.count(id(parameter))} times"))
    return problems


class Calls(torch.overrides.TorchFunctionMode):
    """Records lookups and products during a forward pass: the operator's name, its arguments and what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[str, list[Any], Any]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("embedding", "embedding_bag", "linear", "matmul", "__matmul__", "mm", "addmm"):
            self.made.append((name, [*args, *(kwargs or {}).values()], out))
        return out


def base_of(tensor: Any) -> Any:
    """What a tensor is a view of, or itself."""
    return tensor._base if isinstance(tensor, torch.Tensor) and tensor._base is not None else tensor


def reads_only_parameters(build: Build, inputs: Inputs) -> Problems:
    """Every Parameter that the forward pass reads is among the model's parameters."""
    model = build()
    with Calls() as calls:
        answer(model, inputs)
    known = {id(p) for p in (*model.parameters(), *model.buffers())}
    read = {id(weight): (name, weight) for name, given, _ in reversed(calls.made) for weight in map(base_of, given)}
    words = "reads a Parameter of shape"
    return [
        ("not among the parameters", "", f"{name} {words} {tuple(weight.shape)} that the model does not list")
        for name, weight in reversed(read.values())
        if isinstance(weight, torch.nn.Parameter) and id(weight) not in known
    ]


def follow(twin: Model, other: Model, inputs: Inputs, table: str) -> bool:
    """Whether a change of the table changes two models alike."""
    with torch.no_grad():
        for changed in (twin, other):
            weight = named(changed)[table]
            weight += wave(weight, 5.3)
            changed.train().eval()  # as after a step: what is kept for eval mode only is made anew
    return same(answer(twin, inputs), answer(other, inputs))


# -- copies --------------------------------------------------------------------------------------------------------


def copied(build: Build, inputs: Inputs, how: str, table: str, exact: bool, trains: bool) -> Problems:
    """A copy has the same ties and memory of its own; changing its table changes it as it changes a fresh model."""
    import copy
    import io
    import pickle

    model = build()
    before = answer(model, inputs) if exact else None
    if how == "copy.deepcopy":
        twin = copy.deepcopy(model)
    elif how == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    problems = aliases(partition(model), partition(twin), how)
    mine = {p.untyped_storage().data_ptr(): name for name, p in named(model).items() if p.numel()}
    for name, parameter in named(twin).items():
        if parameter.numel() and parameter.untyped_storage().data_ptr() in mine:
            problems.append(("memory is shared", name, f"{how} leaves {name} in the original's memory"))
    if before is None or problems:
        return problems
    if not follow(twin, build(), inputs, table):
        problems.append(("copy does not follow", table, f"after {how} a change of {table} does not show in full"))
    if not same(answer(model, inputs), before):
        problems.append(("original moves", table, f"after {how} a change of the copy's {table} moves the original"))
    if trains:
        backward(twin, inputs)
        got = [name for name, p in named(model).items() if p.grad is not None]
        if got:
            words = f"after {how} the copy's backward pass gives {got[0]} a gradient"
            problems.append(("original moves", got[0], words))
    return problems


def cast(build: Build, inputs: Inputs, table: str, exact: bool) -> Problems:
    """Casts keep the ties, reach every parameter, and a change of the table shows as in a fresh model."""
    problems: Problems = []
    for dtype in (torch.float64, torch.bfloat16):
        model, act = build(), f"to({dtype})"
        before = partition(model)
        moved = [n for n, p in named(model).items() if p.is_floating_point()]
        model = model.to(dtype)
        problems += aliases(before, partition(model), act)
        stayed = [n for n in moved if n in named(model) and named(model)[n].dtype != dtype]
        problems += [("cast is partial", n, f"{act} leaves {n} in {named(model)[n].dtype}") for n in stayed]
    kinds = {p.dtype for p in build().parameters() if p.is_floating_point()}
    back = exact and not problems and len(kinds) == 1
    if back and not follow(build().double().to(kinds.pop()), build(), inputs, table):
        problems.append(("copy does not follow", table, f"after double() and back a change of {table} is not seen"))
    return problems
