"""Programs about an embedding's weight in a linear layer, about what operators make, and about lookups."""

from typing import Any

import torch

from embcheck.claims.case import experiment

Tensor = torch.Tensor
Seen = dict[str, Any]


def table(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)


def linear_of(weight: Tensor, bias: bool, requires_grad: bool = True) -> Any:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias, dtype=weight.dtype)
    layer.weight = torch.nn.Parameter(weight, requires_grad)
    if bias:
        layer.bias.data.copy_(torch.arange(1, weight.shape[0] + 1))
    return layer


def one_hot_of(indices: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(indices, weight.shape[0]).to(weight.dtype)


def attempted(call: Any, *given: Any) -> tuple[Any, str]:
    try:
        return call(*given), ""
    except (RuntimeError, IndexError, TypeError) as error:
        return torch.zeros(0, 0), type(error).__name__


def looked_up_if_accepted(layer: Any, indices: Tensor) -> Seen:
    value, failed = attempted(layer, indices)
    return {"accepted": not failed, "failed": failed, "value": value}


# -- an embedding's weight in a linear layer -----------------------------------------------------------------------


@experiment()
def layer_shapes(rows: int, width: int) -> Seen:
    embedding, linear = torch.nn.Embedding(rows, width), torch.nn.Linear(rows, width)
    return {"embedding": list(embedding.weight.shape), "linear": list(linear.weight.shape)}


@experiment("without detach", "with detach")
def converted(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> Seen:
    embedding = table(weight.clone())
    transposed = embedding.weight.T
    layer = linear_of(transposed.detach() if situation == "with detach" else transposed, bias=False)
    made = layer.weight
    value = layer(one_hot_of(indices, weight))
    value.backward(upstream)
    before = made.detach().clone()
    torch.optim.SGD(layer.parameters(), lr=1.0).step()
    names = [name for name, _ in layer.named_parameters()]
    seen: Seen = {"parameter": type(made) is torch.nn.Parameter, "registered": names}
    seen |= {"leaf": made.is_leaf, "requires_grad": made.requires_grad, "value": value, "gradient": made.grad}
    return {**seen, "made": before, "after": made.detach()}


@experiment("with bias", "without bias")
def as_linear(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    layer = linear_of(weight.T, bias=situation == "with bias")
    return {"value": layer(one_hot_of(indices, weight)), "eye": layer(torch.eye(weight.shape[0], dtype=weight.dtype))}


@experiment("one vector", "batch of vectors", "one vector without bias", "batch without bias")
def multiplied(weight: Tensor, situation: str) -> Seen:
    layer = linear_of(weight, bias="without" not in situation)
    few = torch.arange(1, 1 + weight.shape[1]).to(weight.dtype) % 3 - 1
    x = torch.stack([few] * (weight.shape[1] + 1)) if "batch" in situation else few
    direct, failed = attempted(lambda: layer.weight @ x + (0 if layer.bias is None else layer.bias))
    return {"value": layer(x), "direct": direct, "failed": failed, "shape": list(layer.weight.shape)}


@experiment("layer from V to D", "layer from V to D, V = D", "layer from D to V")
def untransposed(weight: Tensor, situation: str) -> Seen:
    if "V = D" in situation:
        side = max(2, min(weight.shape))
        weight = torch.arange(1, side * side + 1).reshape(side, side).to(weight.dtype)
    embedding = torch.nn.Embedding.from_pretrained(weight)
    rows, width = weight.shape
    into = (width, rows) if situation == "layer from D to V" else (rows, width)
    layer = torch.nn.Linear(*into, bias=False, dtype=weight.dtype)
    fits = layer.weight.shape == embedding.weight.shape
    layer.weight = torch.nn.Parameter(embedding.weight)
    value, _ = attempted(layer, torch.eye(into[0], dtype=weight.dtype))
    return {"fits": fits, "value": value, "table": embedding.weight}


@experiment("with detach")
def detached(weight: Tensor) -> Seen:
    embedding = table(weight.clone())
    apart = embedding.weight.T.detach()
    shares = apart.data_ptr() == embedding.weight.data_ptr()
    with torch.no_grad():
        apart[0, 0] = 99.0
    return {"shares": shares, "requires_grad": apart.requires_grad, "afterwards": embedding.weight.detach()[0, 0]}


@experiment("frozen from the start", "not frozen", "frozen with a gradient left over")
def frozen(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> Seen:
    layer = linear_of(table(weight.clone()).weight.T, bias=True, requires_grad=situation != "frozen from the start")
    before = layer.weight.detach().clone()
    layer(one_hot_of(indices, weight)).backward(upstream)
    if situation == "frozen with a gradient left over":
        layer.weight.requires_grad = False
    torch.optim.SGD(layer.parameters(), lr=1.0).step()
    return {"moved": (layer.weight.detach() - before).T, "requires_grad": layer.weight.requires_grad}


# -- elements that operators make, read and write, precision under autocast -----------------------------------------


class Counting(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the elements that operators allocate (a view has memory already), those that they read and write, and the
    indices by which they look up."""

    #: Of their first tensor these read only what the others, which are indices, name.
    selecting = ("aten::embedding", "aten::index_select", "aten::index", "aten::gather")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = self.touched = self.indices = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given, made = (
            [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if getattr(leaf, "layout", None) == torch.strided]
            for tree in ((args, kwargs), out)
        )
        known = {tensor.untyped_storage().data_ptr() for tensor in given}
        self.elements += sum(tensor.numel() for tensor in made if tensor.untyped_storage().data_ptr() not in known)
        selects = func.name().split(".")[0] in self.selecting
        if selects:
            self.indices += sum(tensor.numel() for tensor in given[1:] if tensor.dtype != torch.bool)
        if not func.is_view:
            read = [*made, *given[1:]] if selects else given
            self.touched += sum(tensor.numel() for tensor in (*read, *made))
        return out


@experiment("forward", "forward and backward", "forward and backward, sparse", sizes=((64, 33), (500, 8), (200, 4)),
            large=True)  # fmt: skip
def elements_touched(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> Seen:
    layer = table(weight, sparse="sparse" in situation)
    with Counting() as counter:
        value = layer(indices)
        if "backward" in situation:
            torch.autograd.grad(value, layer.weight, upstream)
    return {"elements": counter.touched}


@experiment("table", "with what a lookup makes", sizes=((7, 4), (64, 33), (500, 8)), shapes=((2, 4), (50, 100)),
            dtypes=("float32",))  # fmt: skip
def elements_held(rows: int, width: int, indices: Tensor, situation: str) -> Seen:
    with Counting() as counter:
        layer = torch.nn.Embedding(rows, width)
        if situation != "table":
            layer(indices)
    return {"elements": counter.elements}


@experiment("Embedding", "one-hot and Linear", sizes=((7, 4), (64, 33), (500, 8)))
def elements_for_lookup(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    with Counting() as counter:
        if situation == "Embedding":
            torch.nn.functional.embedding(indices, weight)
        else:
            torch.nn.functional.linear(one_hot_of(indices, weight), weight.T)
    return {"elements": counter.elements}


@experiment(dtypes=("float32",))
def autocast(weight: Tensor, indices: Tensor) -> Seen:
    with torch.autocast(weight.device.type, dtype=torch.bfloat16):
        value = table(weight)(indices)
        product = torch.nn.functional.linear(value, weight)
    dtypes = [str(made.dtype).removeprefix("torch.") for made in (value, product)]
    return {"made": dtypes[0], "product": dtypes[1], "value": value}


# -- rows, indices, flags ------------------------------------------------------------------------------------------


@experiment(dtypes=("float32", "float64", "float16", "bfloat16"))
def looked_up(weight: Tensor, indices: Tensor) -> Seen:
    layer = table(weight)
    value, singly = layer(indices), torch.cat([layer(token.reshape(1)) for token in indices.reshape(-1)])
    seen = {"value": value, "singly": singly, "graph": type(value.grad_fn).__name__}
    return {**seen, "floating": value.is_floating_point(), "requires_grad": value.requires_grad}


@experiment(sizes=((100, 6),), shapes=((2, 4),), dtypes=("float32",), seeds=8, large=True)
def two_sentences(seed: int) -> Seen:
    torch.manual_seed(seed)
    embedding = torch.nn.Embedding(100, 6)
    return {"value": embedding(torch.LongTensor([[1, 2, 4, 5], [4, 3, 2, 3]])), "weight": embedding.weight}


@experiment("int64", "int32", "int16", "uint8", "bool", "float32")
def index_kinds(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    return looked_up_if_accepted(table(weight), indices.clamp(max=1).to(getattr(torch, situation)))


@experiment("eval()", "eval() and no_grad()", padding=1, pattern="late_padding")
def evaluated(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    with torch.set_grad_enabled("no_grad" not in situation):
        return {"value": table(weight, padding_idx=1).eval()(indices)}


@experiment("first", "last", "one past the last", "-1", sizes=((5000, 2), (7, 4), (3, 1)))
def edges(weight: Tensor, situation: str) -> Seen:
    rows = weight.shape[0]
    index = {"first": 0, "last": rows - 1, "one past the last": rows, "-1": -1}[situation]
    return looked_up_if_accepted(lambda indices: table(weight)(indices)[0], torch.tensor([index]))


@experiment("few rows, long sentence", "many rows, short sentence, large index")
def sentence_lengths(weight: Tensor, situation: str) -> Seen:
    rows = weight.shape[0]
    sentence = torch.arange(10 * rows) % rows if situation == "few rows, long sentence" else torch.tensor([rows])
    return {**looked_up_if_accepted(table(weight), sentence), "length": len(sentence), "rows": rows}


@experiment("1.0", "2.0", "3.0", "inf", "default")
def renormed(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    chosen: Seen = {} if situation == "default" else {"norm_type": float(situation)}
    layer = table(weight.clone(), max_norm=1.5, **chosen)
    return {"value": layer(indices).detach(), "after": layer.weight.detach(), "norm_type": layer.norm_type}


@experiment("looked up", "not looked up", "small norm")
def renormed_rows(weight: Tensor, situation: str) -> Seen:
    limit = 1e6 if situation == "small norm" else 1.5
    layer = table(weight.clone(), max_norm=limit)
    layer(torch.tensor([0] if situation == "not looked up" else [weight.shape[0] - 1]))
    return {"row": layer.weight.detach()[-1], "limit": limit}


@experiment("scale_grad_by_freq", "default", pattern="unequal")
def scaled_by_frequency(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> Seen:
    layer = table(weight, **({} if situation == "default" else {"scale_grad_by_freq": True}))
    layer(indices).backward(upstream)
    return {"gradient": layer.weight.grad}


@experiment("sparse=True", "default")
def sparse_gradient(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> Seen:
    layer = table(weight, **({} if situation == "default" else {"sparse": True}))
    layer(indices).backward(upstream)
    return {"gradient": layer.weight.grad, "sparse": layer.weight.grad.is_sparse}
