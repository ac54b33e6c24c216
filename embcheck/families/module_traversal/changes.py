"""Programs: a module is loaded, emptied, converted, told how to learn and in which mode to be."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.module_traversal.uses import Module, dtype_of, graded, negate, pictured
from embcheck.families.tie_preservation.operations import swapping_parameters


def given_gradients(model: Module, sparse: bool) -> None:
    """Each Parameter gets a gradient of ones, that of a matrix with elements sparse if asked."""
    for p in model.parameters():
        rows = torch.arange(len(p))
        if sparse and p.dim() == 2 and len(p):
            p.grad = torch.sparse_coo_tensor(rows[None], torch.ones_like(p), p.shape)
        else:
            p.grad = torch.ones_like(p)


def loaded(model: Module, start: Callable[[], Module], turn: int) -> list[Any]:
    """A model like it that has zeros loads the state, copied or assigned, in this order or the other, strictly or with a key that
    it lacks; what it says of the keys, whether its Parameters have gradients of ones, and the keys in their order."""
    found: list[Any] = [None] * 2
    for k in range(2):
        assign, other = bool((k + turn) % 2), start()
        for thing in (*other.parameters(), *other.buffers()):
            thing.data.zero_()
        state, strict = model.state_dict(), bool((assign + turn // 2) % 2)
        state |= {} if strict else {"beside": torch.zeros(1)}
        said = other.load_state_dict(state, strict=strict, assign=assign)
        graded = {p.grad is not None and bool((p.grad.to_dense() == 1).all()) for p in other.parameters()}
        found[assign] = [pictured(other), [*said.missing_keys, *said.unexpected_keys], sorted(graded), list(state)]
    return found


def emptied(model: Module) -> list[bool]:
    """Of two calls of to_empty for the module alone whether each left what its parts hold and, but for numbers, its own, which are
    then as before."""
    found = []
    for _ in range(2):
        negate(model)
        own = [
            (name, each.detach().clone())
            for name, each in {**model._parameters, **model._buffers}.items()
            if each is not None
        ]
        before, inner = pictured(model), gradients_of_parts(model)
        itself = model.to_empty(device=torch.empty(0).device, recurse=False) is model
        for name, numbers in own:
            getattr(model, name).data.copy_(numbers)
        after = pictured(model)
        # Tensors that were not contiguous may have other strides then, and a buffer has a tensor for each name.
        contiguous = [strides == torch.empty(shape).stride() for _, shape, strides, *_ in before["kinds"]]
        for picture in (before, after):
            count = len(list(model.named_parameters(remove_duplicate=False)))
            picture["names"][count:] = [name for name, _ in picture["names"][count:]]
            kinds = zip(picture["kinds"], contiguous, strict=True)
            picture["kinds"] = [kind if whole else (*kind[:2], *kind[3:]) for kind, whole in kinds]
        found.append(itself and before == after and inner == gradients_of_parts(model))
    return found


def gradients_of_parts(model: Module) -> list[Any]:
    """The gradients of the Parameters that a module has only in its parts."""
    own = {id(p) for p in model.parameters(recurse=False)}
    graded = [p for p in model.parameters() if id(p) not in own and p.grad is not None]
    return [(id(p.grad), p.grad.is_sparse, p.grad.to_dense().tolist()) for p in graded]


def keeps(model: Module, call: Callable[[], Any], changed: str = "") -> bool:
    """Whether a call keeps the numbers of the Parameters, which are others than those before, their strides, which of them learn,
    and the modes, but for the flag that it changes; a call that changes one keeps the gradients."""

    def told() -> list[Any]:
        learning = [p.requires_grad for p in model.parameters() if changed != "requires_grad"]
        return [
            [(p.tolist(), p.stride()) for p in model.parameters()],
            learning,
            training(model) if changed != "training" else [],
            [id(p.grad) for p in model.parameters() if changed],
        ]

    negate(model)
    before = told()
    call()
    return told() == before


def training(model: Module) -> list[bool]:
    return [module.training for module in model.modules()]


def modes(model: Module, evaluating: bool) -> list[list[bool]]:
    """The modes of all modules, after train() was given the other mode, and whether it kept the numbers, twice."""
    told = training(model)
    given_gradients(model, sparse=False)
    kept = [keeps(model, lambda: model.train(evaluating), "training") for _ in range(2)]
    return [told, training(model), kept]


def gradient_flags(model: Module, sparse: bool, turn: int) -> list[list[bool]]:
    """What requires_grad_ and zero_grad make of every Parameter, and at last whether each call kept the numbers, and none made
    buffers learn.

    Calls of requires_grad_ begin at a turn; before every other one requires_grad of the first Parameter is the other.
    """
    told: list[tuple[bool, ...]] = [(), (False,), (False,), (True,)]
    one, parameters = torch.ones((), requires_grad=True), list(model.parameters())
    had = [p.grad is not None for p in parameters]
    still = [keeps(model, lambda: model.zero_grad(set_to_none=False))]
    grads = [p.grad for p in parameters]
    found = [[(g is not None and not g.to_dense().any()) == has for g, has in zip(grads, had, strict=True)]]
    given_gradients(model, sparse)
    for k in range(4):
        flag = told[(k + turn) % 4]
        for p in parameters[: k % 2]:
            p.requires_grad_(not p.requires_grad)
        kept = keeps(model, lambda: model.requires_grad_(*flag), "requires_grad")  # noqa: B023
        still.append(kept and not any(buffer.requires_grad for buffer in model.buffers()))
        found.append([p.requires_grad is (flag != (False,)) for p in parameters])
    found.append([p.grad is not None and bool((p.grad.to_dense() == 1).all()) for p in parameters])
    for again in range(2):
        for p in parameters:
            if p.grad is None or not p.grad.is_sparse:
                p.grad = torch.full_like(p, torch.inf) * one.to(p.dtype)  # as create_graph leaves it
        still.append(keeps(model, lambda: model.zero_grad(set_to_none=False)))
        zeros = [g is not None and not (g.to_dense().any() or g.requires_grad) for g in (p.grad for p in parameters)]
        found.append(zeros)
        given_gradients(model, sparse and not again)
        still.append(keeps(model, model.zero_grad))
        found.append([p.grad is None for p in parameters])
        given_gradients(model, sparse)
    found.append([not p.requires_grad for p in torch.nn.ParameterList(parameters).requires_grad_(False)])
    still.append(keeps(model, lambda: model.requires_grad_(False), "requires_grad"))
    return [*found, still]


def moved(model: Module, turn: int) -> list[Any]:
    """The module and its gradients after each of four conversions by to(), in every form of it, from a turn on; and whether each
    gave the module, with the Parameters and the modes that it had."""
    device, parameters = torch.empty(0).device, list(model.parameters())
    before = training(model)
    forms: list[Callable[[torch.dtype], Module]] = [
        lambda dtype: model.to(device, dtype),
        lambda dtype: model.to(dtype),
        lambda dtype: model.to(torch.empty(0, dtype=dtype)),
        lambda dtype: model.to(device=device, dtype=dtype),
    ]
    dtypes = (torch.float64, torch.bfloat16, torch.float32, torch.float16)

    def itself(given: Module) -> bool:
        return given is model and training(model) == before

    found, same = [], itself(model.to(device))
    for k in range(4):
        same = itself(forms[(k + turn // 2) % 4](dtypes[(k + turn) % 4])) and same
        found.append([pictured(model), graded(model)])
    return [found, same and all(a is b for a, b in zip(model.parameters(), parameters, strict=True))]


def called_after(
    model: Module, convert: Callable[[Module], Module], swapped: bool
) -> tuple[list[tuple[str, str]], list[str]]:
    """Which hooks of the Parameters are called by backward passes after a conversion, and the dtypes that it left."""
    calls: list[tuple[str, str]] = []
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.register_hook(lambda gradient, name=name: calls.append((name, "gradient")))
            p.register_post_accumulate_grad_hook(lambda p, name=name: calls.append((name, "accumulated")))
    swapping_parameters(lambda: convert(model)) if swapped else convert(model)
    for p in model.parameters():
        if p.requires_grad:
            p.sum().backward()
    return calls, [dtype_of(p) for p in model.parameters()]


def converted_layers(convert: Callable[[Module], Module]) -> list[Any]:
    """The dtype of a table of integers after a conversion; of two Parameters, of which a conversion puts the second in the
    place of the first; and the numbers of the second."""
    layer = torch.nn.Embedding(6, 1)
    layer.weight.data[:, 0] = 1 + torch.arange(6) / 512
    codes, before = torch.nn.Embedding.from_pretrained(torch.ones(3, 2).to(torch.int8)), layer.weight
    convert(codes)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        convert(layer)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    return [*map(dtype_of, (codes.weight, before, layer.weight)), layer.weight.flatten().tolist()]


def replaced_by_hooks() -> list[Any]:
    """What a bag gives once hooks replaced its indices and offsets, and then two keywords; and the dtype of a weight in whose
    place a hook registers another."""
    indices, offsets, weights = torch.tensor([0, 1, 2]), torch.tensor([0, 1]), torch.tensor([1.0, 2.0, 3.0])
    hooks: list[tuple[Callable[..., Any], dict[str, bool]]] = [
        (lambda module, given: (indices, offsets), {}),
        (
            lambda module, given, words: ((indices,), {"offsets": offsets, "per_sample_weights": weights}),
            {"with_kwargs": True},
        ),
    ]
    found: list[Any] = []
    for hook, flags in hooks:
        bag = torch.nn.EmbeddingBag.from_pretrained(torch.arange(6.0).reshape(3, 2), mode="sum")
        bag.register_forward_pre_hook(hook, **flags)
        found.append(bag(torch.tensor([2, 2]), torch.tensor([0])).tolist())
    registered: Any = torch.nn.modules.module.register_module_parameter_registration_hook
    with registered(lambda module, name, parameter: torch.nn.Parameter(parameter.detach().double())):
        return [*found, dtype_of(torch.nn.Embedding(3, 2).weight)]


def replaces(model: Module, name: str) -> bool:
    """Whether set_submodule() puts another module in the place of a part, and that part back, which both stay as they were; None
    in its place takes a part away, and set_submodule() adds one."""
    part, other = model.get_submodule(name), torch.nn.Sequential()
    if not hasattr(model, "set_submodule"):  # before torch 2.5
        return True
    before = pictured(model)
    model.set_submodule(name, other)
    there = model.get_submodule(name) is other
    model.set_submodule(name, part)
    path, _, key = name.rpartition(".")
    parent = model.get_submodule(path)
    setattr(parent, key, None)
    there = there and getattr(parent, key) is None and name not in dict(model.named_modules(remove_duplicate=False))
    setattr(parent, key, part)
    if "strict" in inspect.signature(model.set_submodule).parameters:
        model.set_submodule(f"{name}.added", other)
        there = there and part.get_submodule("added") is other
        del part.added
    return there and pictured(model) == before
