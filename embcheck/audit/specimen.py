"""A small language model without a fault, with everything that an audit asks of one; planted faults derive from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn


@dataclass
class Config:
    """What a specimen is built from."""

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
        """Makes table and head one where the configuration says so."""
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
