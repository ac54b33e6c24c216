"""A small language model without a fault, with everything that an audit asks of one; planted faults derive from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import embedding, linear


@dataclass
class Config:
    vocab_size: int = 61
    width: int = 8
    padding_idx: int = 2
    tie_word_embeddings: bool = True


class Specimen(nn.Module):
    """Table, a layer that mixes, head with bias."""

    #: Whether `factory` builds it tied.
    tied = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config: Any = config
        self.table: Any = self.make_table()
        self.norm: Any = nn.LayerNorm(config.width)
        self.mix: Any = nn.Linear(config.width, config.width)
        self.head: Any = nn.Linear(config.width, config.vocab_size)
        self.tie_weights()
        self.finish()

    def make_table(self) -> Any:
        return nn.Embedding(self.config.vocab_size, self.config.width, padding_idx=self.config.padding_idx)

    def tie_weights(self) -> None:
        if self.config.tie_word_embeddings:
            self.head.weight = self.table.weight

    def finish(self) -> None:
        """What a derived model has besides."""

    def get_input_embeddings(self) -> Any:
        return self.table

    def get_output_embeddings(self) -> Any:
        return self.head

    def look_up(self, input_ids: Any) -> Any:
        return self.table(input_ids)

    def forward(self, input_ids: Any = None, inputs_embeds: Any = None) -> Any:
        rows = self.look_up(input_ids) if inputs_embeds is None else inputs_embeds
        return self.logits(rows + torch.tanh(self.mix(self.norm(rows))))

    def logits(self, hidden: Any) -> Any:
        return self.head(hidden)

    def resize_token_embeddings(self, rows: int) -> Any:
        """Another number of tokens; the old rows stay."""
        self.resize_table(rows)
        self.resize_head(rows)
        self.config.vocab_size = rows
        self.tie_weights()
        return self.table

    def resize_table(self, rows: int) -> None:
        old, padding = self.table, self.table.padding_idx
        padding = None if padding is None or padding >= rows else padding
        self.table = nn.Embedding(rows, old.embedding_dim, padding)
        kept = min(rows, old.num_embeddings)
        self.table.weight.data[:kept] = old.weight.data[:kept]

    def resize_head(self, rows: int) -> None:
        old, self.head = self.head, nn.Linear(self.head.in_features, rows)
        kept = min(rows, old.out_features)
        self.head.weight.data[:kept] = old.weight.data[:kept]
        self.head.bias.data[:kept] = old.bias.data[:kept]

    def save_pretrained(self, folder: str) -> None:
        saved = {"config": asdict(self.config), "state": self.saved_state()}
        torch.save(saved, os.path.join(folder, "model.pt"))

    def saved_state(self) -> Any:
        return self.state_dict()

    @classmethod
    def from_pretrained(cls, folder: str) -> Specimen:
        saved = torch.load(os.path.join(folder, "model.pt"), weights_only=True)
        model = cls(Config(**saved["config"]))
        model.restore(saved["state"])
        return model

    def restore(self, state: Any) -> None:
        self.load_state_dict(state)

    @classmethod
    def factory(cls) -> tuple[Specimen, dict[str, Any]]:
        """A model and its inputs, as an author hands them to ``embcheck audit``."""
        ids = torch.tensor([[5, 6, 7, 8, 9, 10], [21, 7, 20, 7, 19, 18]])
        return cls(Config(tie_word_embeddings=cls.tied)), {"input_ids": ids}


class Untied(Specimen):
    """The same with a head of its own."""

    tied = False


def derived(module: dict[str, Any], name: str, base: type[Specimen], methods: dict[str, Any]) -> Any:
    """A class of a module, whose globals are given, in which functions stand in the places of methods."""
    module[name] = type(name, (base,), {**methods, "__module__": module["__name__"]})
    return module[name]


def target(cls: Any) -> str:
    """A specimen's factory as ``embcheck audit`` is given it."""
    return f"{cls.__module__}:{cls.__name__}.factory"


def after(method: Callable[..., Any], change: Callable[[Any], object]) -> Callable[..., Any]:
    """A method, and a change of the model when it is done."""

    def changed(self: Any, *given: Any, **flags: Any) -> Any:
        out = method(self, *given, **flags)
        change(self)
        return out

    return changed


# -- specimens without a fault that look as if they had one: of them the audit must find nothing ------------------------


def without_copy(self: Any, *given: Any) -> None:
    self.kept = None


def by_a_copy(self: Any, hidden: Any) -> Any:
    if self.training:
        return linear(hidden, self.table.weight, self.head.bias)
    if self.kept is None:
        self.kept = self.table.weight.detach().clone()
    return linear(hidden, self.kept, self.head.bias)


def with_dropout(self: Any) -> None:
    self.dropout = nn.Dropout(0.5)
    self.train()


def gated_by_sign(self: Any, ids: Any) -> Any:
    rows = self.positions(torch.arange(ids.shape[1]))
    return rows * torch.sign(embedding(ids, self.table.weight.detach())) + self.table(ids)


def with_bags(self: Any) -> None:
    self.bags = nn.EmbeddingBag(16, 8, mode="mean", padding_idx=1)


def by_bags(self: Any, input_ids: Any) -> Any:
    return self.logits(self.table(input_ids) + self.bags(input_ids % 16)[:, None])


def last_rows(grad: Any) -> Any:
    return torch.cat([torch.zeros_like(grad[:-5]), grad[-5:]])


def clipped(grad: Any) -> Any:
    return grad.clamp(-1e-4, 1e-4)


def stepping(parameter: Any) -> None:
    with torch.no_grad():
        parameter -= 0.01 * parameter.grad
    parameter.grad = None


def growing(self: Any, rows: int) -> Any:
    if rows < self.table.num_embeddings:
        raise ValueError(f"can't shrink {self.table.num_embeddings} tokens to {rows}")
    return Specimen.resize_token_embeddings(self, rows)


def in_tens(self: Any, rows: int) -> Any:
    return Specimen.resize_token_embeddings(self, -(-rows // 10) * 10)


#: By the name of each.
RIGHT: dict[str, type[Specimen]] = {}


def right(name: str, base: type[Specimen] = Specimen, **methods: Any) -> None:
    """Makes a class that derives from another one and has other methods."""
    RIGHT[name] = derived(globals(), name, base, methods)


# The head is the table without the padding row.
right("FirstRowLeftOut", logits=lambda self, hidden: hidden @ self.table.weight[1:].T)
# A forward pass rescales the rows that it looks up, as max_norm promises.
right("RowsRescaled", make_table=lambda self: nn.Embedding(self.config.vocab_size, 8, max_norm=1.0))
# The gradient of each row is divided by how often it was looked up.
right(
    "DividedByFrequency",
    Untied,
    make_table=lambda self: nn.Embedding(self.config.vocab_size, 8, 2, scale_grad_by_freq=True),
)
# The mean of rows of a small table, those of padding left out, is added to each.
right("MeansOfBags", Untied, finish=with_bags, forward=by_bags)
# A bag leaves its padding row out, whatever is in it.
right("PaddingRowNeverRead", RIGHT["MeansOfBags"],
      finish=after(RIGHT["MeansOfBags"].finish, lambda self: self.bags.weight.data[1].fill_(torch.nan)))  # fmt: skip
# It is returned in training mode, with dropout.
right("TrainedByDropout", finish=with_dropout, logits=lambda self, x: self.head(self.dropout(x)))
# In eval mode the head computes with a copy of its weight, which train() and a resize throw away.
right("CopyInEvalMode", Untied, kept=None, logits=by_a_copy,
      train=after(Untied.train, without_copy), resize_table=after(Untied.resize_table, without_copy))  # fmt: skip
# The lookups train nothing, on purpose: the head has a weight of its own.
right("LookupsFrozen", Untied, look_up=lambda self, ids: self.table(ids).detach())
# Nothing but its use tells the table of the tokens from a larger one.
right("MorePositions", get_input_embeddings=None, finish=lambda self: setattr(self, "positions", nn.Embedding(99, 8)),
      look_up=lambda self, ids: self.table(ids) + self.positions(torch.arange(ids.shape[1])))  # fmt: skip
# The padding token has a row of its own, which a pretrained table brings.
right("PaddingRowLoaded", Untied,
      make_table=lambda self: nn.Embedding.from_pretrained(
          torch.randn(self.config.vocab_size, 8), freeze=False, padding_idx=2))  # fmt: skip
# Only the last rows are trained, and what clips a gradient need not change it.
right("OldRowsFrozen", finish=lambda self: [self.table.weight.register_hook(hook) for hook in (last_rows, clipped)])
# Each parameter is stepped when its gradient is there.
right("StepsInBackward",
      finish=lambda self: [p.register_post_accumulate_grad_hook(stepping) for p in self.parameters()])  # fmt: skip
# It only grows, and says so; or it has more rows than are asked for, in all of its parts.
right("OnlyGrows", resize_token_embeddings=growing)
right("RowsInTens", Untied, resize_token_embeddings=in_tens)
# The signs of rows, which have no derivative, choose among the rows of positions.
right("GateBySign", finish=lambda self: setattr(self, "positions", nn.Embedding(16, 8)), look_up=gated_by_sign)
