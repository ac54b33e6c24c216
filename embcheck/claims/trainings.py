"""Programs about first values, about training and prediction, and about one-hot vectors."""

import io
from collections.abc import Callable
from typing import Any

import torch

from embcheck.claims.case import experiment
from embcheck.claims.lookups import Seen, Tensor, attempted, table

# -- first values: drawn, assigned, given -----------------------------------------------------------------


@experiment("Embedding", "TokenEmbedding", "Linear", "Xavier", "Kaiming", "Parameter(rand)", "data.uniform_(-1, 1)",
            sizes=((64, 256), (300, 100)), shapes=((1,),), dtypes=("float32", "float64"), large=True)  # fmt: skip
def drawn(rows: int, width: int, dtype: str, situation: str, seed: int) -> Seen:
    torch.manual_seed(seed)
    kind = getattr(torch, dtype)
    if situation == "Linear":
        return {"values": torch.nn.Linear(width, rows, dtype=kind).weight}
    layer = torch.nn.Embedding(rows, width, padding_idx=1 if situation == "TokenEmbedding" else None, dtype=kind)
    parameter = layer.weight
    if situation in ("Xavier", "Kaiming"):
        getattr(torch.nn.init, f"{situation.lower()}_uniform_")(layer.weight)
    elif situation == "Parameter(rand)":
        layer.weight = torch.nn.Parameter(torch.rand(rows, width, dtype=kind))
    elif situation == "data.uniform_(-1, 1)":
        layer.weight.data.uniform_(-1, 1)
    values = layer.weight.detach()
    if situation == "TokenEmbedding":
        values = torch.cat([values[:1], values[2:]])
    return {"values": values, "same": layer.weight is parameter}


@experiment("Embedding", "Linear", sizes=((17, 8), (30, 20)), shapes=((1,),), dtypes=("float32",), large=True)
def initialised_at_once(rows: int, width: int, situation: str, seed: int) -> Seen:
    def make() -> Tensor:
        layer = torch.nn.Embedding(rows, width) if situation == "Embedding" else torch.nn.Linear(width, rows)
        return layer.weight.detach()

    torch.manual_seed(seed)
    first, second = make(), make()
    torch.manual_seed(seed)
    return {"first": first, "again": make(), "differs": not torch.equal(first, second)}


@experiment("xavier_uniform_", "kaiming_uniform_", sizes=((7, 4), (30, 20)), dtypes=("float32",), large=True)
def zeroed_afterwards(rows: int, width: int, situation: str, seed: int) -> Seen:
    torch.manual_seed(seed)
    layer = torch.nn.Embedding(rows, width, padding_idx=1)
    getattr(torch.nn.init, situation)(layer.weight)
    filled = layer.weight.detach().clone()
    layer.weight.data[1].zero_()
    return {"filled": filled, "zeroed": layer.weight.detach().clone(), "requires_grad": layer.weight.requires_grad}


@experiment("one Parameter for both", "a Parameter for each", "V ≠ D")
def assigned(weight: Tensor, situation: str) -> Seen:
    side = max(2, weight.shape[1])
    rows = side + 1 if situation == "V ≠ D" else side
    table = torch.arange(1, rows * side + 1).reshape(rows, side).to(weight.dtype)
    fc, embedding = torch.nn.Linear(rows, side, bias=False), torch.nn.Embedding(rows, side)
    myemb = torch.nn.Parameter(table.clone())
    fc.weight = myemb
    embedding.weight = torch.nn.Parameter(table.clone()) if situation == "a Parameter for each" else myemb
    seen: Seen = {"fc": fc.weight.detach().clone(), "embedding": embedding.weight.detach().clone()}
    seen |= {"one": fc.weight is embedding.weight, "table": table}
    products, _ = attempted(fc, torch.eye(rows, dtype=weight.dtype))
    products = products.detach()
    embedding.weight.data.fill_(5)
    embedding(torch.tensor([0])).sum().backward()
    torch.optim.SGD(embedding.parameters(), lr=1.0).step()
    return {**seen, "products": products, "changed": bool((fc.weight != table).any())}


@experiment("from_pretrained", "freeze=False")
def pretrained(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> Seen:
    layer = torch.nn.Embedding.from_pretrained(
        weight.clone(), **({"freeze": False} if situation == "freeze=False" else {})
    )
    given = layer.weight.detach().clone()
    requires_grad = layer.weight.requires_grad
    if requires_grad:
        layer(indices).backward(upstream)
    torch.optim.SGD(layer.parameters(), lr=1.0).step()
    return {"given": given, "requires_grad": requires_grad, "after": layer.weight.detach().clone()}


@experiment("Linear", "EmbeddingBag", shapes=((2, 4),), dtypes=("float32",), sizes=((7, 4),))
def others_pretrained(weight: Tensor, situation: str) -> Seen:
    layer = getattr(torch.nn, situation)
    if not hasattr(layer, "from_pretrained"):
        return {"has": False}
    return {"has": True, "given": layer.from_pretrained(weight).weight}


@experiment("float32, looked up", "int64, looked up", "int64, trained", dtypes=("float32",))
def tables_of_numbers(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    numbers, freeze = weight.long() if "int64" in situation else weight, "trained" not in situation
    value, failed = attempted(lambda: torch.nn.Embedding.from_pretrained(numbers, freeze=freeze)(indices))
    return {"works": not failed, "value": value}


@experiment("vocab_size=, emb_size=", "vocab_size, emb_size", "num_embeddings=, embedding_dim=", dtypes=("float32",))
def keywords(rows: int, width: int, situation: str) -> Seen:
    named: Seen = dict(zip(situation.replace("=", "").split(", "), (rows, width), strict=True))
    make: Any = torch.nn.Embedding
    weight, failed = attempted(lambda: (make(**named) if "=" in situation else make(rows, width)).weight)
    return {"failed": failed, "shape": [] if failed else list(weight.shape)}


@experiment("by Parameter, Embedding", "by Parameter, Linear", "by .data, Embedding", "by .data, Linear")
def either_way(weight: Tensor, situation: str) -> Seen:
    rows, width = weight.shape
    kind = torch.nn.Embedding(rows, width) if "Embedding" in situation else torch.nn.Linear(width, rows)
    layer = kind.to(weight.dtype)
    if "Parameter" in situation:
        layer.weight = torch.nn.Parameter(weight)
    else:
        layer.weight.data.copy_(weight)
    return {"weight": layer.weight, "requires_grad": layer.weight.requires_grad}


# -- training, prediction, one-hot vectors -----------------------------------------------------------------


@experiment("backward alone", "backward and step", "frozen")
def stepped(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> Seen:
    layer = table(weight.clone(), _freeze=situation == "frozen")
    value = layer(indices)
    if value.requires_grad:
        value.backward(upstream)
    if situation != "backward alone":
        torch.optim.SGD(layer.parameters(), lr=1.0).step()
    return {"after": layer.weight.detach().clone(), "requires_grad": layer.weight.requires_grad}


@experiment("towards the weight", "towards the indices")
def differentiated(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> Seen:
    layer = table(weight.clone())
    if situation == "towards the indices" and attempted(indices.requires_grad_)[1]:
        return {"possible": False}
    layer(indices).backward(upstream)
    return {"possible": True, "gradient": layer.weight.grad}


@experiment(sizes=((5, 3),), shapes=((5,),), dtypes=("float32",), seeds=6, large=True)
def simple_train(weight: Tensor, seed: int) -> Seen:
    # Given values in the place of random ones: with a vec that is nearly zero, or long, the loss would not fall, or fall to 0.
    first, vec = weight / 8, torch.tensor([[0.9], [-1.3], [0.4 + seed / 8]])
    loss_fun = torch.nn.MSELoss()
    label = torch.Tensor(5, 1).fill_(3)

    def train(retain_graph: bool) -> tuple[Any, ...]:
        emb = torch.nn.Embedding(5, 3, _weight=first.clone())
        opt = torch.optim.SGD(emb.parameters(), lr=0.015)
        losses = []
        for _ in range(100):
            output = torch.einsum("ik, kj -> ij", emb(torch.tensor([0, 1, 2, 3, 4])), vec)
            loss = loss_fun(output, label)
            losses.append(loss.detach())
            opt.zero_grad()
            loss.backward(retain_graph=retain_graph)
            opt.step()
        return emb, torch.stack(losses)

    emb, losses = train(True)
    file = io.BytesIO()
    torch.save(emb.state_dict(), file)
    file.seek(0)
    fresh = torch.nn.Embedding(5, 3)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    loaded, trained = fresh.weight.detach().clone(), emb.weight.detach()
    fresh.eval()
    for _ in range(100):
        torch.einsum("ik, kj -> ij", fresh(torch.tensor([0, 1, 2, 3, 4])), vec)
    seen = {"before": first, "vec": vec, "trained": trained, "trained_without": train(False)[0].weight.detach()}
    seen |= {"loaded": loaded, "predicted": fresh.weight.detach()}
    seen |= {"first_loss": loss_fun(first @ vec, label), "final_loss": loss_fun(trained @ vec, label)}
    return {**seen, "losses": losses.expand(1, 3, 100), "steps": torch.arange(100)}


@experiment()
def einsummed(weight: Tensor) -> Seen:
    vec = (torch.arange(weight.shape[1]).to(weight.dtype) % 3 - 1)[:, None]
    return {"value": torch.einsum("ik, kj -> ij", weight, vec)}


@experiment("eval()", "still train()", "eval() with max_norm", "no_grad() with max_norm")
def predicted(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    layer = table(weight.clone(), max_norm=0.5 if "max_norm" in situation else None)
    layer.train("train" in situation)
    with torch.set_grad_enabled("no_grad" not in situation):
        for _ in range(3):
            layer(indices)
    return {"after": layer.weight.detach().clone()}


@experiment("looked up", "not looked up", seeds=3)
def improved(weight: Tensor, situation: str) -> Seen:
    layer = table(weight / 1024)
    target = torch.ones(weight.shape[1], dtype=weight.dtype)
    row = 1 if situation == "looked up" else 2
    before = layer.weight.detach()[row].clone()
    trainer = torch.optim.SGD(layer.parameters(), lr=0.25)
    for _ in range(8):
        trainer.zero_grad()
        (layer(torch.tensor([1])) - target).square().sum().backward()
        trainer.step()
    return {"before": before, "after": layer.weight.detach()[row].clone()}


@experiment()
def one_hot_rows(rows: int) -> Seen:
    eye = torch.eye(rows)
    differences = (eye[:, None] - eye[None]).square().sum(-1)
    return {"eye": eye, "one_hot": torch.nn.functional.one_hot(torch.arange(rows)), "distances": differences}


@experiment("D below V", "D not below V", dtypes=("float32",))
def dense_or_one_hot(rows: int, width: int, indices: Tensor, situation: str) -> Seen:
    rows, width = (rows + width, width) if situation == "D below V" else (rows, rows + width)
    tokens = indices % rows
    one_hot = torch.nn.functional.one_hot(tokens, rows)
    return {"one_hot": one_hot.numel(), "dense": torch.nn.Embedding(rows, width)(tokens).numel()}


@experiment("eye", "after a step")
def fully_connected(weight: Tensor, situation: str) -> Seen:
    rows, width = weight.shape
    fc = torch.nn.Linear(rows, width, dtype=weight.dtype)
    with torch.no_grad():
        fc.weight.copy_(weight.T)
        fc.bias.copy_(torch.arange(1, width + 1))
    vocab_vec = torch.eye(rows, dtype=weight.dtype)
    before = fc(vocab_vec)
    if situation == "after a step":
        before.sum().backward()
        torch.optim.SGD(fc.parameters(), lr=1.0).step()
    return {"value": fc(vocab_vec), "shape": list(fc.weight.shape)}


@experiment("bias", "shape of the weight", "first values", "sparse gradient", "NaN in a row that is not looked up",
            sizes=((300, 100), (64, 256)), shapes=((2, 4),), dtypes=("float32",), large=True)  # fmt: skip
def differences(rows: int, width: int, situation: str, seed: int) -> Seen:
    torch.manual_seed(seed)
    layers: Any = torch.nn.Linear(rows, width), torch.nn.Embedding(rows, width, sparse=True)
    one_hot, token = torch.eye(rows)[:1], torch.tensor([0])
    for layer, given in zip(layers, (one_hot, token), strict=True):
        layer(given).sum().backward()
    spoiled = torch.ones(rows, width)
    spoiled[-1] = float("nan")
    if situation == "NaN in a row that is not looked up":
        products = one_hot @ spoiled, torch.nn.functional.embedding(token, spoiled)
        pair = [bool(product.isnan().any()) for product in products]
    else:
        shown: dict[str, Callable[[Any], Any]] = {
            "bias": lambda layer: "bias" in dict(layer.named_parameters()),
            "shape of the weight": lambda layer: list(layer.weight.shape),
            "first values": lambda layer: round(layer.weight.std().item(), 3),
            "sparse gradient": lambda layer: layer.weight.grad.is_sparse,
        }
        pair = [shown[situation](layer) for layer in layers]
    return {"linear": pair[0], "embedding": pair[1]}
