"""The parts of a module as a case: a tree whose nodes and tensors may be shared, and how each listing must come.

A node is ``(name, kind, tensors, children)``; the last one is the model.  Tensors have a name of their
own, which two slots may share: ``table…`` and ``p…`` are Parameters, others buffers; ``none`` and ``nobuffer`` are
registered as None; a buffer whose name ends with ``scratch`` is not persistent, ``integers…`` holds integers.
"""

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core.axes import Axes, Input, values_of
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, preserved_strides, view_of
from embcheck.core.space import Space
from embcheck.core.stream import Stream, derive
from embcheck.families.module_traversal.building import SHAPES, Node
from embcheck.families.module_traversal.programs import CONVERSIONS, traversed
from embcheck.families.module_traversal.trees import DRAWN, TREES

Pairs = list[tuple[str, str]]

#: The class of a node, and its padding_idx and max_norm.
CLASSES: dict[str, tuple[str, int | None, float | None]] = {
    "padded": ("Embedding", 1, 2.0), "bag": ("EmbeddingBag", 1, 2.0), "embedding": ("Embedding", None, None),
    "linear": ("Linear", None, None), "module": ("Module", None, None), "sequential": ("Sequential", None, None),
    "list": ("ModuleList", None, None), "dict": ("ModuleDict", None, None),
}  # fmt: skip
#: Conversions of the dtype, and what they make of numbers.
DTYPES = {
    "nothing": "", "double": "float64", "half": "float16", "bfloat16": "bfloat16", "to_single": "float32",
    "to_double": "float64", "to_like": "bfloat16", "type_double": "float64", "to_half": "float16",
    "single": "float32",
}  # fmt: skip


PREFIXES = ("", "m", "m.", "a.b", "a.b.")


class ModuleTraversalCase(Axes):
    """A module with its parts."""

    tree: Annotated[str, tuple(TREES)] = "pair"
    prefix: Annotated[str, PREFIXES] = ""
    evaluating: Annotated[bool, (False, True)] = False
    frozen: Annotated[
        tuple[str, ...],
        ((), ("table",), ("p_bias", "p_scale"), ("table", "p_bias", "p_row", "p_many", "p_other", "table_of_bag")),
    ] = ()
    convert: Annotated[str, tuple(CONVERSIONS)] = "nothing"
    #: whether a conversion swaps Parameters (torch.__future__.set_swap_module_params_on_conversion)
    swapped: Annotated[bool, (False, True)] = False
    dtype: Annotated[str, tuple(FORMATS)] = "float32"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    #: what gradients the Parameters have when they are converted and shared
    grads: Annotated[str, ("", "dense", "sparse")] = ""
    seed: int = 0
    #: whether the last part is in the other mode
    mixed: Annotated[bool, (False, True)] = False

    @cached_property
    def parts(self) -> dict[str, Node]:
        """The nodes by name, the model last."""
        return {node[0]: node for node in (TREES | DRAWN)[self.tree]}

    @property
    def root(self) -> str:
        return list(self.parts)[-1]

    @property
    def weight(self) -> Input:
        """The table, three rows of two columns."""
        fmt = FORMATS[self.dtype]
        return Input(fmt.encode(fmt.fine * np.arange(1.0, 7.0).reshape(3, 2)), self.dtype, self.layout)

    def modules(self, prefix: str, once: bool) -> Pairs:
        """named_modules(): parents first, each once, or under each of its names."""
        seen: set[str] = set()

        def walk(node: str, path: str) -> Iterator[tuple[str, str]]:
            if node in seen:
                return
            if once:
                seen.add(node)
            yield path, node
            for name, child in self.parts[node][3]:
                yield from walk(child, f"{path}.{name}" if path else name)

        return list(walk(self.root, prefix))

    def tensors(self, what: str, prefix: str = "", recurse: bool = True, once: bool = True) -> Pairs:
        """named_parameters() or named_buffers(), ``what`` being "parameters" or "buffers"."""
        seen: set[str] = set()
        found = []
        for path, node in self.modules(prefix, once) if recurse else [(prefix, self.root)]:
            for name, tensor in self.parts[node][2]:
                if kind(tensor) == what and not (once and tensor in seen):
                    seen.add(tensor)
                    found.append((f"{path}.{name}" if path else name, tensor))
        return found

    @property
    def parameters(self) -> list[str]:
        """The Parameters, each once."""
        return [tensor for _, tensor in self.tensors("parameters")]

    @property
    def children(self) -> Pairs:
        """named_children(): each once."""
        first: dict[str, str] = {}
        for name, child in self.parts[self.root][3]:
            first.setdefault(child, name)
        return [(name, child) for child, name in first.items()]

    def applied(self, node: str = "") -> list[str]:
        """The order of apply(): children before their parents, a shared one once for each parent."""
        node = node or self.root
        children = dict.fromkeys(child for _, child in self.parts[node][3])
        return [visited for child in children for visited in self.applied(child)] + [node]

    def state(self, prefix: str = "", node: str = "") -> Pairs:
        """state_dict(): parameters, then persistent buffers, then the children's, under every name."""
        node = node or self.root
        own = sorted(self.parts[node][2], key=lambda pair: kind(pair[1]) == "buffers")
        found = [(prefix + name, t) for name, t in own if kind(t) != "none" and not t.endswith("scratch")]
        for name, child in self.parts[node][3]:
            found += self.state(f"{prefix}{name}.", child)
        return found

    def described(self, tensor: str) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """Dtype, shape and strides of a tensor."""
        if tensor.startswith("table"):
            strides = view_of((3, 2), self.layout).strides
            return self.dtype, (3, 2), strides if tensor == "table" else preserved_strides(strides, (3, 2))
        if tensor.startswith("p_void"):
            return self.dtype, (0, len(tensor)), (len(tensor), 1)
        if tensor == "p_row":
            return self.dtype, (2,), view_of((3, 2), self.layout).strides[1:]
        if tensor in SHAPES:
            return self.dtype, SHAPES[tensor], view_of(SHAPES[tensor], "contiguous").strides
        if tensor == "p_other":
            return "float32" if self.dtype == "float64" else "float64", (3,), (1,)
        if tensor.startswith("p"):
            return self.dtype, (3,), (1,)
        if tensor.startswith("integers"):
            return "int64", (2,), (1,)
        return (self.dtype, (), ()) if tensor.startswith("scalar") else (self.dtype, (2,), (1,))

    def facts(self) -> dict[str, Any]:
        paths = [node for _, node in self.modules("", False)]
        names = [tensor for _, tensor in self.tensors("parameters", once=False)]
        buffers = [tensor for _, tensor in self.tensors("buffers")]
        return {
            **{name: value for name, value in self.axes.items() if name != "frozen"},
            "frozen": bool(self.frozen),
            # At the first of the four turns there are hooks of every module.
            "turn": self.seed % 4,
            "several_children": len(self.children) > 1,
            "shared_module": len(set(paths)) < len(paths),
            "shared_tensor": len(set(names)) < len(names),
            "swaps": self.swapped and self.convert != "nothing" and not set(names) <= set(self.frozen),
            "deep": any(path.count(".") > 1 for path, _ in self.modules("", False)),
            "passing": any(name.endswith("scratch") for name in buffers),
            "integers": any(name.startswith("integers") for name in buffers),
            "in_double": any(self.described(name)[0] == "float64" for name in names),
        }


def kind(tensor: str) -> str:
    """Whether a tensor's name is that of a Parameter, a buffer or neither."""
    if tensor in ("none", "nobuffer"):
        return "none"
    return "parameters" if tensor.startswith(("table", "p")) else "buffers"


def plan(case: ModuleTraversalCase) -> Plan:
    options = {
        "nodes": tuple(case.parts.values()),
        "convert": CONVERSIONS[case.convert],
        **{name: case.axes[name] for name in ("frozen", "evaluating", "prefix", "swapped", "grads", "mixed")},
        "turn": case.seed % 4,
    }
    return Plan(traversed, {"table": case.weight}, options)


def repair(case: ModuleTraversalCase) -> ModuleTraversalCase:
    """The case with a layout in which a table can be converted, and frozen tensors that are there."""
    there = {tensor for _, _, tensors, _ in case.parts.values() for _, tensor in tensors}
    layout = "column_slice" if case.layout == "expanded" else case.layout
    return case.but(frozen=tuple(name for name in case.frozen if name in there), layout=layout)


AXES = values_of(ModuleTraversalCase)
#: Trees of random cases.
ALL = (*TREES, *DRAWN)


def draw(draws: Stream, tree: str = "") -> ModuleTraversalCase:
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    return repair(ModuleTraversalCase(**chosen | {"tree": tree or draws.choice(ALL), "seed": draws.between(0, 255)}))


def scope() -> Iterator[ModuleTraversalCase]:
    """Every tree with every prefix and conversion, training or not; trees that are drawn with what is drawn for them."""
    for seed, (tree, prefix, evaluating) in enumerate(itertools.product(TREES, PREFIXES, (False, True))):
        yield ModuleTraversalCase(tree, prefix, evaluating, seed=seed)
    for seed, (tree, convert, grads) in enumerate(itertools.product(TREES, CONVERSIONS, ("dense", "sparse"))):
        how: dict[str, Any] = {"swapped": grads == "sparse", "grads": grads, "mixed": grads == "dense"}
        yield ModuleTraversalCase(tree, convert=convert, **how, seed=seed)
    for seed, tree in enumerate(4 * list(DRAWN)):
        yield draw(Stream(derive("a case of a tree that is drawn", seed), 16), tree)


SPACE = Space(ModuleTraversalCase, AXES, repair, scope, flags=("tree", "convert", "dtype"), draw=draw, strength=2)
