"""A small language model without a fault, with everything that an audit asks of one; planted faults derive from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

Tensor = torch.Tensor
S = TypeVar("S", bound="Specimen")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Config:
    """What a specimen is built from."""

    vocab_size: int = 61
    width: int = 8
    padding_idx: int = 2
    tie_word_embeddings: bool = True


class Specimen(torch.nn.Module):
    """Table, a layer that mixes, head with bias."""

    #: Whether `factory` builds it tied.
    tied = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.table = self.make_table()
        self.norm = torch.nn.LayerNorm(config.width)
        self.mix = torch.nn.Linear(config.width, config.width)
        self.head = torch.nn.Linear(config.width, config.vocab_size)
        self.tie_weights()

    def make_table(self) -> Any:
        return torch.nn.Embedding(self.config.vocab_size, self.config.width, padding_idx=self.config.padding_idx)

    def tie_weights(self) -> None:
        """Makes table and head one where the configuration says so."""
        if self.config.tie_word_embeddings:
            self.head.weight = self.table.weight

    def get_input_embeddings(self) -> Any:
        return self.table

    def get_output_embeddings(self) -> Any:
        return self.head

    def look_up(self, input_ids: Tensor) -> Tensor:
        rows: Tensor = self.table(input_ids)
        return rows

    def forward(self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None) -> Tensor:
        if inputs_embeds is None:
            assert input_ids is not None
            inputs_embeds = self.look_up(input_ids)
        return self.logits(inputs_embeds + torch.tanh(self.mix(self.norm(inputs_embeds))))

    def logits(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.head(hidden)
        return out

    def resize_token_embeddings(self, rows: int) -> Any:
        """Another number of tokens; the old rows stay."""
        self.resize_table(rows)
        self.resize_head(rows)
        self.config.vocab_size = rows
        self.tie_weights()
        return self.table

    def resize_table(self, rows: int) -> None:
        old, padding = self.table, self.table.padding_idx
        self.table = torch.nn.Embedding(
            rows, old.embedding_dim, padding if padding is not None and padding < rows else None
        )
        with torch.no_grad():
            kept = min(rows, old.num_embeddings)
            self.table.weight[:kept] = old.weight[:kept]

    def resize_head(self, rows: int) -> None:
        old, self.head = self.head, torch.nn.Linear(self.head.in_features, rows)
        with torch.no_grad():
            kept = min(rows, old.out_features)
            self.head.weight[:kept] = old.weight[:kept]
            self.head.bias[:kept] = old.bias[:kept]

    def save_pretrained(self, folder: str) -> None:
        torch.save({"config": asdict(self.config), "state": self.state_dict()}, os.path.join(folder, "model.pt"))

    @classmethod
    def from_pretrained(cls: type[S], folder: str) -> S:
        saved = torch.load(os.path.join(folder, "model.pt"), weights_only=True)
        model = cls(Config(**saved["config"]))
        model.load_state_dict(saved["state"])
        return model

    @classmethod
    def factory(cls) -> tuple[Specimen, dict[str, Tensor]]:
        """A model and its inputs, as an author hands them to ``embcheck audit``."""
        ids = torch.tensor([[5, 6, 7, 8, 9, 10], [21, 7, 20, 7, 19, 18]])
        return cls(Config(tie_word_embeddings=cls.tied)), {"input_ids": ids}


class Untied(Specimen):
    """The same with a head of its own."""

    tied = False


@dataclass(frozen=True)
class Planted:
    """A fault: the class that has it, what it does in words, and the kinds of finding of which one must be reported."""

    cls: type[Specimen]
    sentence: str
    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.cls.__name__

    @property
    def target(self) -> str:
        """The factory's name for ``embcheck audit``."""
        return f"{self.cls.__module__}:{self.cls.__name__}.factory"


PLANTED: dict[str, Planted] = {}


def planted(*kinds: str, method: str = "", base: type[Specimen] = Specimen) -> Callable[[F], F]:
    """Registers a fault, whose docstring says what it does: a class, or a function that replaces a ``method`` of ``base``.

    The class that is made of a function has the function's name in capitals: ``head_is_a_copy`` gives HeadIsACopy.
    """

    def register(fault: F) -> F:
        cls: Any = fault
        if method:
            name = fault.__name__.title().replace("_", "")
            cls = type(name, (base,), {method: fault, "__doc__": fault.__doc__, "__module__": fault.__module__})
            setattr(sys.modules[fault.__module__], name, cls)
        PLANTED[cls.__name__] = Planted(cls, (cls.__doc__ or "").strip(), kinds)
        return fault

    return register
