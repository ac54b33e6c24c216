"""Programs: how a table is made, and what is done to a table that was just made."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import by_name, named
from embcheck.families.lookup.programs import GENERATOR, Tensor, changed, generator, seeded, surroundings

#: A torch.nn.Embedding or EmbeddingBag; its attributes are what is observed.
Layer = Any
#: Of a class, a table, which the layer has or is alike in shape and dtype, and the class's flags: the layer.
Make = Callable[[Any, Tensor, dict[str, Any]], Layer]
Act = Callable[[Layer, Tensor], dict[str, Any]]


def constructed(kind: str, make: Make, act: Act, weight: Tensor, flags: dict[str, Any], seed: int) -> dict[str, Any]:
    learns, of = seed % 2 == 1, getattr(torch.nn, kind)
    weight = torch.nn.Parameter(weight, learns) if seed % 4 > 1 else weight.requires_grad_(learns)
    with torch.random.fork_rng(devices=[]):
        seeded(seed)
        around = surroundings()
        layer = make(of, weight, flags)
        left = changed(around)
        ended = generator().get_state()
        made = layer.weight.detach()
        first = torch.zeros(0) if made.is_meta else made.clone()
        others = [make(of, weight, flags), make(of, -weight.detach(), flags)]
        next_one = others[0].weight.detach()
        seeded(seed)
        others.append(make(of, weight, flags))
        again = others[-1].weight.detach()
        copied = copies(layer)
        made_of = [described(each) for each in (layer, *others, *copied)]
        strides = [each.weight.stride() for each in (layer, *others, *copied)]
        apart = made.is_meta or again.data_ptr() != made.data_ptr() or not made.numel()
        seeded(seed)
        plain = torch.nn.init.normal_(torch.empty(weight.shape, dtype=weight.dtype))
        once = torch.equal(generator().get_state(), ended)
        due = [weight.detach(), -weight.detach()]
        if GENERATOR in left:
            due = [torch.nn.init.normal_(torch.empty_like(plain)) for _ in others[1:]]
        later = made.is_meta or all(alike(*pair, flags.get("padding_idx")) for pair in zip(others, due, strict=False))
        seen = act(layer, weight)
    after = layer.weight.detach()
    return {
        "first": first,
        "again": again if not again.is_meta else first,
        "differs": made.is_meta or not torch.equal(next_one, again),
        "apart": apart,
        "drew": GENERATOR in left,
        "plain": plain,
        "once": once,
        "later": later,
        "surroundings": [each for each in left if each != GENERATOR],
        "weight": layer.weight,
        "values": torch.zeros(0) if after.is_meta else after.clone(),
        "parameter": type(layer.weight) is torch.nn.Parameter,
        "flags": described(layer)[0],
        "made": made_of,
        "copied": made.is_meta or all(alike(each, first, None) for each in copied),
        "strides": strides,
        "repr": repr(layer),
        "names": [name for name, _ in layer.named_parameters()],
        "state": list(layer.state_dict()),
        "buffers": len(list(layer.buffers())) + len(list(layer.children())),
        "training": layer.training,
        "graded": layer.weight.grad is not None,
        "source_kept": weight.is_leaf and weight.requires_grad == learns and weight.grad is None,
        "shares": not made.is_meta and after.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr(),
        **seen,
    }  # fmt: skip


def copies(layer: Layer) -> list[Layer]:
    """A deep copy of a layer, and what is unpickled, or copied again of a class that has no name by which it is found."""
    known = type(layer) in (torch.nn.Embedding, torch.nn.EmbeddingBag)
    return [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)) if known else copy.deepcopy(layer)]


def alike(layer: Layer, table: Tensor, padding: int | None) -> bool:
    """Whether a layer has a table, but perhaps for the padding row."""
    mine, theirs = layer.weight.detach().clone(), table.clone()
    if padding is not None:
        mine[padding], theirs[padding] = 0, 0
    return mine.dtype is theirs.dtype and bool(((mine == theirs) | (mine.isnan() & theirs.isnan())).all())


def described(layer: Layer) -> list[Any]:
    """The arguments that a layer stores, and whether it learns, its dtype and mode, and whether it has a gradient."""
    flags = [layer.num_embeddings, layer.embedding_dim, layer.padding_idx, layer.max_norm, layer.norm_type,
             layer.scale_grad_by_freq, layer.sparse]  # fmt: skip
    if isinstance(layer, torch.nn.EmbeddingBag):
        flags += [layer.mode, layer.include_last_offset]
    weight = layer.weight
    dtype = str(weight.dtype).removeprefix("torch.")
    return [flags, weight.requires_grad, dtype, layer.training, weight.grad is None, tuple(weight.shape)]


# -- how it is made ------------------------------------------------------------------------------------------------


def in_order(kind: Any, flags: dict[str, Any], *weight: Any) -> list[Any]:
    """The flags in the order in which a constructor takes them; of a bag two come behind the table."""
    given = {"max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "mode": "mean", "sparse": False,
             "include_last_offset": False, "padding_idx": None} | flags  # fmt: skip
    limit, p, scale, mode, sparse, last, padding = given.values()
    if kind is torch.nn.Embedding:
        return [padding, limit, p, scale, sparse, *weight]
    return [limit, p, scale, mode, sparse, *weight[:1], last, padding]


def by_default_dtype(kind: Any, weight: Tensor, flags: dict[str, Any]) -> Layer:
    before = torch.get_default_dtype()
    torch.set_default_dtype(weight.dtype)
    try:
        return kind(*weight.shape, **flags)
    finally:
        torch.set_default_dtype(before)


def without_grad(kind: Any, weight: Tensor, flags: dict[str, Any]) -> Layer:
    with torch.no_grad():
        return kind(*weight.shape, dtype=weight.dtype, **flags)


def filled(layer: Layer) -> Layer:
    layer.reset_parameters()
    return layer


def meta_emptied(kind: Any, weight: Tensor, flags: dict[str, Any]) -> Layer:
    with torch.device("meta"):
        layer = kind(*weight.shape, dtype=weight.dtype, **flags)
    return filled(layer.to_empty(device=weight.device))


def subclass_pretrained(kind: Any, weight: Tensor, flags: dict[str, Any]) -> Layer:
    other: Any = type(kind.__name__, (kind,), {})
    layer = other.from_pretrained(weight, **flags)
    if type(layer) is not other:
        raise AssertionError("from_pretrained of a subclass gives another class")
    return layer


def like(weight: Tensor) -> dict[str, Any]:
    """A layer's device and dtype."""
    return {"device": weight.device, "dtype": weight.dtype}


#: Those that draw their first weights, and those that are given a table.
DRAWN: dict[str, Make] = named(
    {
        "keyword": lambda kind, weight, flags: kind(
            num_embeddings=weight.shape[0], embedding_dim=weight.shape[1], dtype=weight.dtype, **flags
        ),
        "positional": lambda kind, weight, flags: kind(
            *weight.shape, *in_order(kind, flags, None, False), weight.device, weight.dtype
        ),
        "frozen": lambda kind, weight, flags: kind(*weight.shape, _freeze=True, **like(weight), **flags),
        **by_name(by_default_dtype, without_grad),
        "skipped": lambda kind, weight, flags: filled(
            torch.nn.utils.skip_init(kind, *weight.shape, **like(weight), **flags)
        ),
        "meta": lambda kind, weight, flags: kind(*weight.shape, device="meta", dtype=weight.dtype, **flags),
        "meta_emptied": meta_emptied,
    }
)
GIVEN: dict[str, Make] = named(
    {
        "given": lambda kind, weight, flags: kind(*weight.shape, _weight=weight, **flags),
        "given_frozen": lambda kind, weight, flags: kind(*weight.shape, _weight=weight, _freeze=True, **flags),
        "pretrained": lambda kind, weight, flags: kind.from_pretrained(weight, **flags),
        "pretrained_trainable": lambda kind, weight, flags: kind.from_pretrained(
            embeddings=weight, freeze=False, **flags
        ),
        "pretrained_positional": lambda kind, weight, flags: kind.from_pretrained(weight, True, *in_order(kind, flags)),
        "subclass_pretrained": subclass_pretrained,
    }
)
MAKES = DRAWN | GIVEN
#: What an EmbeddingBag can't be made by.
OF_TABLES = frozenset({"frozen", "given_frozen"})
FREEZING = OF_TABLES | {"pretrained", "pretrained_positional", "subclass_pretrained"}


# -- what is done to it --------------------------------------------------------------------------------------------


def reset(layer: Layer, weight: Tensor) -> dict[str, Any]:
    torch.nn.init.constant_(layer.weight, 7.0)
    parameter, learns, memory = layer.weight, layer.weight.requires_grad, layer.weight.data_ptr()
    gradient = parameter.grad = torch.ones_like(parameter) if learns else None
    layer.reset_parameters()
    same = layer.weight is parameter and layer.weight.data_ptr() == memory and layer.weight.requires_grad is learns
    kept = layer.weight.grad is gradient and (gradient is None or gradient.is_meta or bool((gradient == 1).all()))
    layer.weight.grad = None
    return {"same": same and kept}


def loaded(layer: Layer, weight: Tensor, assign: bool = False) -> dict[str, Any]:
    parameter, memory = layer.weight, layer.weight.data_ptr()
    found = layer.load_state_dict({"weight": weight}, assign=assign)
    same = assign or (layer.weight is parameter and layer.weight.data_ptr() == memory)
    return {"same": same, "keys": [list(found.missing_keys), list(found.unexpected_keys)]}


def saved(layer: Layer, weight: Tensor) -> dict[str, Any]:
    state = layer.state_dict()["weight"]
    aliases = state.data_ptr() == layer.weight.data_ptr()
    return {"saved": state.clone(), "aliases": aliases, "detached": not state.requires_grad and state.grad_fn is None}


def evaluated(layer: Layer, weight: Tensor) -> dict[str, Any]:
    modes = [layer.training, layer.eval().training, layer.train().training, layer.train(False).training]
    return {"modes": modes, "training": layer.train() is layer and layer.training}


def after(done: Any) -> dict[str, Any]:
    """Nothing more to be seen, once something was done."""
    return {}


ACTS: dict[str, Act] = named(
    {
        "nothing": lambda layer, weight: {},
        **by_name(reset, loaded),
        "loaded_by_assignment": lambda layer, weight: loaded(layer, weight, assign=True),
        **by_name(saved, evaluated),
        "widened": lambda layer, weight: after(layer.to(torch.float64)),
        "halved": lambda layer, weight: after(layer.half()),
    }
)
CASTS = {"widened": "float64", "halved": "float16"}
