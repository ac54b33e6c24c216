"""The models of module_traversal: those that everybody builds, what differs by itself, and trees that are drawn."""

from embcheck.core.stream import Stream, derive
from embcheck.families.module_traversal.building import Node

_E: Node = ("e", "embedding", (("weight", "table"),), ())
_H: Node = ("h", "linear", (("weight", "table"), ("bias", "p_bias")), ())
_P: Node = ("e", "padded", (("weight", "table"),), ())
#: Models that everybody builds, and what may be shared in them.
TREES: dict[str, tuple[Node, ...]] = {
    "pair": (_E, _H, ("m", "module", (), (("embedding", "e"), ("head", "h")))),
    "three": (
        _E, _H, ("f", "embedding", (("weight", "table"),), ()),
        ("m", "sequential", (), (("0", "e"), ("1", "h"), ("2", "f")))),
    "shared_module": (_E, _H, ("m", "dict", (), (("source", "e"), ("target", "e"), ("head", "h")))),
    "nested": (
        _E, _H, ("inner", "sequential", (("scale", "p_scale"),), (("0", "e"),)),
        ("outer", "list", (("mean", "mean"),), (("0", "inner"), ("1", "h"))),
        ("m", "module", (("gain", "p_gain"), ("nothing", "none"), ("count", "integers"), ("rest", "rest_scratch")),
         (("a", "outer"), ("b", "e"))),
    ),
    "shared_branch": (
        _E, ("inner", "module", (("scale", "p_scale"), ("mean", "mean")), (("words", "e"),)),
        ("left", "list", (), (("0", "inner"),)), ("right", "dict", (("mean", "mean"),), (("again", "inner"),)),
        ("m", "module", (("first", "p_scale"), ("empty", "nobuffer")), (("left", "left"), ("right", "right"))),
    ),
    "buffers": (
        ("m", "module",
         (("a", "mean"), ("b", "mean"), ("c", "c_scratch"), ("n", "integers"), ("s", "scalar"), ("e", "nobuffer")), ()),
    ),
    "void": (
        ("n", "module", (("a", "p_void"), ("b", "p_void_too"), ("c", "p_scale")), ()),
        ("m", "module", (("a", "p_void_three"), ("b", "p_void"), ("gain", "p_gain"), ("mean", "mean"), ("rest", "rest_scratch")),
         (("n", "n"),)),
    ),
    # What differs by itself, and all of it together: padding, bags, another dtype, many elements, a view of the table.
    "padded": (("m", "padded", (("weight", "table"),), ()),),
    "bag": (("m", "bag", (("weight", "table"),), ()),),
    "vectors": (("m", "module", (("weight", "p_scale"), ("bias", "p_other"), ("mean", "mean")), ()),),
    "view": (_E, ("m", "module", (("weight", "table"), ("bias", "p_row")), (("e", "e"),))),
    "many": (_P, ("m", "sequential", (("bias", "p_many"),), (("0", "e"),))),
    "bag_pair": (
        ("b", "bag", (("weight", "table"),), ()), ("h", "linear", (("weight", "table"), ("bias", "p_other")), ()),
        ("m", "list", (), (("0", "b"), ("1", "h"), ("2", "b"))),
    ),
    "everything": (
        _P, _H, ("b", "bag", (("weight", "table_of_bag"),), ()),
        ("inner", "sequential", (("other", "p_other"), ("many", "p_many")), (("0", "e"), ("1", "b"))),
        ("m", "module", (("weight", "table"), ("bias", "p_bias"), ("row", "p_row"), ("mean", "mean")),
         (("a", "inner"), ("again", "e"), ("head", "h"))),
    ),
    # Two Parameters of one shape, one of them under two names.
    "twins": (("m", "module", (("weight", "p_scale"), ("bias", "p_bias"), ("gain", "p_scale"), ("mean", "mean")), ()),),
}  # fmt: skip
_LAYERS, _HOLDERS = ("embedding", "padded", "bag", "linear"), ("module", "sequential", "list", "dict")
_TABLES, _BIASES = ("table", "table_of_bag", "table_two"), ("p_bias", "p_other", "p_scale")
_BUFFERS = ("mean", "other_mean", "integers", "scalar", "rest_scratch")
#: The first 40 trees have only one of the larger Parameters.  From 400 on each layer may have a bias or a second table, and a part
#: two names in one place; from 500 on the part with two names has no Parameter; from 540 on a tree is one node with many tensors.
_FIRST, _LATER, _BARE, _FULL, _LARGER = 40, 400, 500, 540, ("p_many", "p_long", "p_wide", "p_tall", "p_cube", "p_one")


def _tensors(kind: str, draws: Stream, larger: tuple[str, ...], later: bool) -> tuple[tuple[str, str], ...]:
    """The tensors of a node: layers have a weight and perhaps a bias, others what they happen to have."""
    found: dict[str, str] = {}
    rich = len(larger) > 1
    if kind in _LAYERS or draws.chance(2 if rich else 4):
        plain = rich and kind in _HOLDERS and draws.chance(2)
        found["weight"] = draws.choice(larger if plain else _TABLES)
    if later and kind in _LAYERS and draws.chance(3):
        found["bias"] = draws.choice((*_BIASES, "table_two", "table_of_bag"))
    elif (kind == "linear" and draws.chance(2)) or (kind in _HOLDERS and draws.chance(3)):
        found["bias"] = draws.choice(larger if rich and kind in _HOLDERS and draws.chance(2) else _BIASES)
    if found.get("weight") == "table" and kind in _HOLDERS and draws.chance(3):
        found["row"] = "p_row"
    if draws.chance(5):
        found["many"] = draws.choice(larger) if rich else larger[0]
    return (*found.items(), *_buffers(draws))


def _buffers(draws: Stream) -> tuple[tuple[str, str], ...]:
    return tuple((f"its_{name}", name) for name in _BUFFERS if draws.chance(8))


def _drawn(number: int) -> tuple[Node, ...]:
    """Some layers and what holds them, each node beneath one or several that come after it; of later trees one in five is one
    node."""
    draws, rich, later = Stream(derive("tree", number), 64), number >= _FIRST, number >= _LATER
    if number >= _FULL:
        kind = draws.choice((*_LAYERS, "module"))
        more = [(f"p{k}", draws.choice((*_TABLES, *_BIASES, *_LARGER))) for k in range(draws.between(2, 6))]
        return (("n0", kind, (*_tensors(kind, draws, _LARGER, True), *more), ()),)
    bare = number >= _BARE
    alone = rich and draws.chance(2 if later else 5) and not bare
    kinds = [draws.choice(_LAYERS + _HOLDERS[:1] * (place > 0)) for place in range(draws.between(1, 4))]
    kinds += [draws.choice(_HOLDERS)] if len(kinds) > 1 or draws.chance(2) else []
    nodes: list[Node] = [("bare", "module", _buffers(draws), ())] if bare else []
    for place, kind in enumerate(kinds[-1:] if alone else kinds):
        beneath = {name for _, _, _, children in nodes for _, name in children}
        root = place == len(kinds) - 1
        chosen = [name for name, *_ in nodes if (root and name not in beneath) or draws.chance(5)]
        chosen += ["bare"] * root if bare else chosen[:1] * (later and draws.chance(2))
        children = tuple((str(k) if kind != "module" else f"part{k}", name) for k, name in enumerate(chosen))
        nodes.append((f"n{place}", kind, _tensors(kind, draws, _LARGER if rich else _LARGER[:1], later), children))
    return tuple(nodes)


#: Trees that are drawn, by their names.
DRAWN: dict[str, tuple[Node, ...]] = {f"drawn{number}": _drawn(number) for number in range(580)}
