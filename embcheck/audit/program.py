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
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if not isinstance(weight, torch.nn.Parameter) or weight.dim() != 2 or weight.device.type == "meta":
                continue
            row = getattr(module, "padding_idx", None)
            if isinstance(row, int) and not bool(weight[row].any()):
                weight[row] = wave(weight[row], 4.1)
            if hasattr(module, "norm_type") and module.max_norm is not None:  # no lookup is to rescale a row
                norms = weight.norm(module.norm_type, dim=1, keepdim=True)
                weight.mul_((0.5 * module.max_norm / norms).clamp(max=1))
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


def cloned(inputs: Inputs) -> Inputs:
    return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}


def ids_in(thing: Any) -> list[torch.Tensor]:
    """The tensors of ids in inputs, also in dicts, lists and dataclasses: integers, more than one."""
    from collections.abc import Mapping
    from dataclasses import is_dataclass

    if isinstance(thing, torch.Tensor):
        whole = thing.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
        return [thing] if whole and thing.numel() > 1 else []
    parts = list(thing) if isinstance(thing, (list, tuple)) else []
    parts = list(thing.values()) if isinstance(thing, Mapping) else parts
    parts = list(vars(thing).values()) if is_dataclass(thing) else parts
    return [ids for part in parts for ids in ids_in(part)]


def ending(inputs: Inputs, places: list[int], row: int) -> Inputs:
    """The inputs with a row's number as the last id of some of their tensors of ids."""
    import copy

    changed = copy.deepcopy(inputs) if places else inputs
    for place in places:
        ids = ids_in(changed)[place]
        ids[(-1,) * ids.dim()] = row
    return changed


def run(model: Model, given: Inputs) -> Any:
    """What the model gives for these very inputs; positional ones are under their number."""
    places = sorted(name for name in given if name.isdigit())
    return model(*(given[name] for name in places), **{n: v for n, v in given.items() if n not in places})


def call(model: Model, inputs: Inputs) -> torch.Tensor:
    """What the model computes, with its graph; the inputs are copies."""
    return first_tensor(run(model, cloned(inputs)))


def as_cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """The inputs of a model that was cast to a dtype."""
    from torch.utils._pytree import tree_map

    def changed(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return {name: tree_map(changed, value) for name, value in inputs.items()}


def answer(model: Model, inputs: Inputs, seed: int = 0) -> torch.Tensor:
    """What the model computes, without its graph."""
    torch.manual_seed(seed)
    with torch.no_grad():
        return call(model, inputs)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal as values, NaN to NaN."""
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())


def weighted_loss(model: Model, inputs: Inputs) -> torch.Tensor:
    """A loss that weighs every output differently."""
    torch.manual_seed(0)
    out = call(model, inputs)
    out = torch.view_as_real(out) if out.is_complex() else out
    return (out * wave(out, 1.7)).sum()


def through_hooks(hooks: list[Any], weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which elements of a weight's gradient its hooks set to zero, and which they make another one.

    They are handed a small gradient, which is the same everywhere: what clips it leaves it as it is.
    """
    given = torch.full_like(weight.detach(), 2.0**-20)
    grad = given.clone()
    for hook in hooks:
        try:
            changed = hook(grad)
        except Exception as error:
            raise LookupError(f"its weight has a hook that raises {type(error).__name__} when called alone") from error
        grad = grad if changed is None else changed.detach()
    return grad == 0, (grad != given) & (grad != 0)


def has_hooks(weight: torch.Tensor) -> bool:
    """Whether something is called with a weight's gradient."""
    return bool(weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None))


def memory(tensor: torch.Tensor) -> int | None:
    """The address of the memory that a tensor has a part of; None if it has none."""
    return tensor.untyped_storage().data_ptr() if tensor.numel() and tensor.device.type != "meta" else None


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


def follow(twin: Model, other: Model, inputs: Inputs, table: str) -> bool:
    """Whether a change of the table changes two models alike."""
    with torch.no_grad():
        for changed in (twin, other):
            weight = named(changed)[table]
            weight += wave(weight, 5.3)
            changed.train().eval()  # as after a step: what is kept for eval mode only is made anew
    return same(answer(twin, inputs), answer(other, inputs))


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
        elif name == "__getitem__" and isinstance(args[1], torch.Tensor):  # a lookup has the ids first
            self.made.append((name, [args[1], args[0]], out))
        return out


def base_of(tensor: Any) -> Any:
    """What a tensor is a view of, or itself."""
    return tensor._base if isinstance(tensor, torch.Tensor) and tensor._base is not None else tensor


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
    listed = [id(parameter) for parameter in model.parameters()]
    owner: dict[int | None, Any] = {None: ("", torch.empty(0))}
    problems: Problems = []
    for name, p in firsts.items():
        first, other = owner.setdefault(memory(p), (name, p))
        ends = [one.data_ptr() + one.numel() * one.element_size() for one in (p, other)]
        if first != name and max(p.data_ptr(), other.data_ptr()) < min(ends):
            problems.append(("two Parameters over one memory", name, f"{name} and {first} are two Parameters"))
    for name, p in firsts.items():
        if (times := listed.count(id(p))) > 1:
            problems.append(("listed twice", name, f"parameters() lists {name} {times} times"))
    return problems


def reads_only_parameters(build: Build, inputs: Inputs) -> Problems:
    """Every Parameter that the forward pass reads is among the model's parameters."""
    model = build()
    with Calls() as calls:
        answer(model, inputs)
    known = {id(p) for p in (*model.parameters(), *model.buffers())}
    read = {id(weight): (name, weight) for name, given, _ in reversed(calls.made) for weight in map(base_of, given)}
    words = "{} reads a Parameter of shape {} that the model does not list"
    return [
        ("not among the parameters", "", words.format(name.strip("_"), tuple(weight.shape)))
        for name, weight in reversed(read.values())
        if isinstance(weight, torch.nn.Parameter) and id(weight) not in known
    ]


def stepped(build: Build, inputs: Inputs) -> Problems:
    """Steps keep the ties; the optimizer holds one state for each parameter that has a gradient."""
    problems: Problems = []
    for kind in ("SGD", "AdamW"):
        model, act = build(), f"two steps of {kind}"
        before = partition(model)
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=2.0**-7)
        graded: dict[int, str] = {}
        for _ in range(2):
            step(model, inputs, optimizer)
            graded |= {id(p): name for name, p in reversed(named(model).items()) if p.grad is not None}
        problems += aliases(before, partition(model), act)
        after = {name: p.detach() for name, p in named(model).items()}
        apart = [(n, first) for n, first in before.items() if n in after and not same(after[n], after[first])]
        problems += [("alias is lost", n, f"{act} leave {n} and {first} unequal") for n, first in apart]
        missing = [n for key, n in graded.items() if key not in {id(p) for p in optimizer.state}]
        if kind == "AdamW":
            problems += [("state is missing", n, f"{n} has a gradient, but {kind} no state") for n in missing]
    return list(dict.fromkeys(problems))


def step(model: Model, inputs: Inputs, optimizer: Any) -> None:
    """A training step; gradients are made dense for AdamW, which refuses sparse ones."""
    optimizer.zero_grad()
    weighted_loss(model, inputs).backward()
    for p in model.parameters():
        if p.grad is not None and p.grad.is_sparse and isinstance(optimizer, torch.optim.AdamW):
            p.grad = p.grad.to_dense()
    optimizer.step()


def moves_row(build: Build, inputs: Inputs, table: str, row: int, decay: float, transposed: bool) -> bool:
    """Whether a step of AdamW moves a row of a table, which may be kept ``transposed``."""
    model = build()
    weight = named(model)[table].T if transposed else named(model)[table]
    before = weight[row].detach().clone()
    step(model, inputs, torch.optim.AdamW(model.parameters(), lr=2.0**-7, weight_decay=decay))
    return not same(before, weight[row].detach())
