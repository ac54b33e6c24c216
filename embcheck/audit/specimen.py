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
            rows, old.embedding_dim, None if padding is None or padding >= rows else padding
        )
        kept = min(rows, old.num_embeddings)
        self.table.weight.data[:kept] = old.weight.data[:kept]

    def resize_head(self, rows: int) -> None:
        old, self.head = self.head, torch.nn.Linear(self.head.in_features, rows)
        kept = min(rows, old.out_features)
        self.head.weight.data[:kept] = old.weight.data[:kept]
        self.head.bias.data[:kept] = old.bias.data[:kept]

    def save_pretrained(self, folder: str) -> None:
        saved = {"config": asdict(self.config), "state": self.saved_state()}
        torch.save(saved, os.path.join(folder, "model.pt"))

    def saved_state(self) -> dict[str, Tensor]:
        return self.state_dict()

    @classmethod
    def from_pretrained(cls: type[S], folder: str) -> S:
        saved = torch.load(os.path.join(folder, "model.pt"), weights_only=True)
        model = cls(Config(**saved["config"]))
        model.restore(saved["state"])
        return model

    def restore(self, state: dict[str, Tensor]) -> None:
        self.load_state_dict(state)

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
    """A fault: the class that has it, whose name says what it does, and the kinds of finding of which one must be reported."""

    cls: type[Specimen]
    kinds: tuple[str, ...]

    @property
    def target(self) -> str:
        """The factory's name for ``embcheck audit``."""
        return f"{self.cls.__module__}:{self.cls.__name__}.factory"


PLANTED: dict[str, Planted] = {}


def planted(*kinds: str) -> Callable[[type[S]], type[S]]:
    """Registers a fault that is a class."""

    def register(cls: type[S]) -> type[S]:
        PLANTED[cls.__name__] = Planted(cls, kinds)
        return cls

    return register


def plant(
    name: str,
    kinds: str,
    method: str,
    instead: Callable[..., Any] | None = None,
    base: type[Specimen] = Specimen,
    then: Callable[[Any], object] | None = None,
) -> None:
    """Makes and registers a fault: a class in which a function stands in the place of a method, or changes the model ``then``,
    when the method is done; ``kinds`` has bars between."""
    cls = derived(name, method, instead or after(getattr(base, method), then), base, sys._getframe(1))
    setattr(sys.modules[cls.__module__], name, cls)
    planted(*kinds.split(" | "))(cls)


def derived(
    name: str, method: str, instead: Callable[..., Any], base: type[Specimen] = Specimen, frame: Any = None
) -> Any:
    """A class of the module that calls this, in which a function stands in the place of a method."""
    module = (frame or sys._getframe(1)).f_globals["__name__"]
    return type(name, (base,), {method: instead, "__module__": module})


def after(method: Callable[..., Any], change: Any) -> Callable[..., Any]:
    """A method, and a change of the model when it is done."""

    def changed(self: Any, *given: Any, **flags: Any) -> Any:
        out = method(self, *given, **flags)
        change(self)
        return out

    return changed
