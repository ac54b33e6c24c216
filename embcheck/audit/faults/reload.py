"""Faults of saving and loading."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import torch

from embcheck.audit.specimen import Config, Specimen, Tensor, Untied, planted


@planted("alias is lost", method="load_state_dict")
def loader_drops_the_alias(self: Specimen, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
    """load_state_dict assigns, and so unties."""
    return Specimen.load_state_dict(self, {n: v.clone() for n, v in state_dict.items()}, strict=strict, assign=True)


@planted("not restored", method="load_state_dict", base=Untied)
def loader_forgets_the_bias(self: Specimen, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
    """load_state_dict skips the head's bias without a word."""
    return Untied.load_state_dict(self, {n: v for n, v in state_dict.items() if n != "head.bias"}, strict=False)


@planted("load is refused", method="state_dict")
def state_lacks_the_head(self: Specimen, *args: Any, **kwargs: Any) -> Any:
    """state_dict leaves out the alias, and loading asks for it."""
    state = Specimen.state_dict(self, *args, **kwargs)
    state.pop("head.weight")
    return state


@planted("not restored")
class RenamedWithoutAWord(Untied):
    """A key is saved under an old name, and loading is lenient."""

    def save_pretrained(self, folder: str) -> None:
        state = {n.replace("mix.", "dense."): v for n, v in self.state_dict().items()}
        torch.save({"config": asdict(self.config), "state": state}, os.path.join(folder, "model.pt"))

    @classmethod
    def from_pretrained(cls, folder: str) -> Any:
        saved = torch.load(os.path.join(folder, "model.pt"), weights_only=True)
        model = cls(Config(**saved["config"]))
        model.load_state_dict(saved["state"], strict=False)
        return model


@planted("alias is lost")
class LoadedUntied(Specimen):
    """from_pretrained builds the model without its tie."""

    @classmethod
    def from_pretrained(cls, folder: str) -> Any:
        model = super().from_pretrained(folder)
        model.head.weight = torch.nn.Parameter(model.head.weight.detach().clone())
        return model


@planted("answers differ")
class BufferNotSaved(Specimen):
    """A random projection is a buffer that is not saved."""

    projection: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("projection", torch.randn(config.width), persistent=False)

    def logits(self, hidden: Tensor) -> Tensor:
        return super().logits(hidden * self.projection)


@planted("not restored")
class InitialisedAfterLoading(Untied):
    """from_pretrained initialises the head after it was loaded."""

    @classmethod
    def from_pretrained(cls, folder: str) -> Any:
        model = super().from_pretrained(folder)
        torch.nn.init.normal_(model.head.weight, std=0.02)
        return model


@planted("name is lost", "not restored", "load is refused", "alias is lost")
class BiasNotSaved(Untied):
    """save_pretrained leaves out biases, which come back as zeros."""

    def save_pretrained(self, folder: str) -> None:
        state = {n: v for n, v in self.state_dict().items() if n != "head.bias"}
        torch.save({"config": asdict(self.config), "state": state}, os.path.join(folder, "model.pt"))

    @classmethod
    def from_pretrained(cls, folder: str) -> Any:
        saved = torch.load(os.path.join(folder, "model.pt"), weights_only=True)
        model = cls(Config(**saved["config"]))
        torch.nn.init.zeros_(model.head.bias)
        model.load_state_dict(saved["state"], strict=False)
        return model


@planted("answers differ")
class TableIsABufferNotSaved(Untied):
    """Rows are drawn into a buffer that is not saved, and there is no other way to save than a state_dict."""

    drawn: Tensor
    save_pretrained: Any = None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("drawn", torch.randn(config.vocab_size, config.width), persistent=False)

    def look_up(self, input_ids: Tensor) -> Tensor:
        return super().look_up(input_ids) + self.drawn[input_ids]
