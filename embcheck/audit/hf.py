"""Architectures of transformers: which there are, a tiny model of each, built from a configuration without any hub.

transformers is imported when first needed, by name, for it is an extra.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
from collections.abc import Iterator
from typing import Any

from embcheck.audit.finding import AS_BUILT, FLIPPED, Unbuilt, told
from embcheck.audit.tiny import BASE, shrunk
from embcheck.core.facts import closest

#: Which mapping of transformers holds the models of a task.
TASKS = {
    "causal": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "seq2seq": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
}
#: Of a model type with several tasks the first of these is meant, so that ``bert`` is the masked model.
_FIRST = ("masked", "seq2seq", "causal")

#: A model of more parameters is not tiny: the configuration was not understood.
LARGEST = 30_000_000

#: Imported before any fork, for most models need them.
_COMMON = ("modeling_utils", "generation.utils", "models.llama.modeling_llama", "models.bert.modeling_bert")


@functools.cache
def load() -> Any:
    """transformers, quiet and offline.

    Raises:
        Unbuilt: if it is not installed.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        words = f"transformers can't be imported: {told(error)} (pip install 'embcheck[models]')"
        raise Unbuilt(words) from error
    transformers.logging.set_verbosity(50)
    with contextlib.suppress(Exception):
        transformers.logging.disable_progress_bar()
    return transformers


def warm(source: dict[str, Any]) -> None:
    """Imports what a source and most models need, so that forks don't each do it."""
    transformers = load()
    for name in _COMMON:
        with contextlib.suppress(ImportError):
            importlib.import_module(f"transformers.{name}")
    with contextlib.suppress(Exception):  # built once, from a thousand regular expressions
        importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("llama")
    with contextlib.suppress(Exception):
        getattr(transformers, source["cls"])


def architectures() -> list[dict[str, Any]]:
    """Every pair of a model type and a class that some mapping holds, as a source for `embcheck.audit.factory`."""
    load()
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    pairs: dict[tuple[str, str], str] = {}
    for task, mapping in TASKS.items():
        for pair in getattr(auto, mapping).items():
            pairs.setdefault(pair, task)
    return [{"kind": "hf", "type": t, "cls": cls, "task": task, "config": None} for (t, cls), task in pairs.items()]


def chosen(name: str) -> list[dict[str, Any]]:
    """The architectures of a name: ``all``, a model type such as ``llama``, one with its task such as ``bert:causal``, or a
    class such as ``LlamaForCausalLM``.

    Raises:
        Unbuilt: if there is none.
    """
    every = architectures()
    if name == "all":
        return every
    model_type, _, task = name.partition(":")
    fits = [s for s in every if model_type in (s["type"], s["cls"]) and task in ("", s["task"])]
    if not fits:
        hint = closest(model_type, sorted({source["type"] for source in every}))
        raise Unbuilt("; ".join(filter(None, (f"no architecture {name!r}", hint))))
    return [min(fits, key=lambda source: _FIRST.index(source["task"]))]


def config_class(source: dict[str, Any]) -> Any:
    """The class of configuration that the model's constructor takes."""
    own = getattr(load(), source["cls"]).config_class
    listed = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING[source["type"]]
    return listed if issubclass(listed, own) else own


def proposals(source: dict[str, Any]) -> list[dict[str, Any]]:
    """Keyword arguments for a tiny configuration, the likeliest first.

    The last ones are for configurations whose default does not work either: rotary settings by kind of layer, no
    cache, and layers of one kind only, where another kind lacks its settings.
    """
    default = config_class(source)(**BASE.get(source["type"], {}))
    tries = [shrunk(default, layers, heads=heads) for layers, heads in ((2, True), (2, False), (4, True), (6, True))]
    tries += [shrunk(default, nested=True), shrunk(default, cache=False)]
    tries += [shrunk(default, kind=kind, cache=False) for kind in (0, 1)]
    decodes = source["task"] == "causal" and hasattr(default, "is_decoder") and source["type"] != "bert-generation"
    return [{**given, **more} for given in tries for more in (({"is_decoder": True}, {}) if decodes else ({},))]


def build(source: dict[str, Any], variant: str = AS_BUILT) -> tuple[Any, dict[str, Any]]:
    """A model of the source's configuration and the inputs of its forward pass."""
    import torch

    config = config_class(source)(**settings(source, variant))
    model = getattr(load(), source["cls"])(config)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12], [21, 7, 20, 19, 7, 18, 17, 16]])
    if source["type"].startswith("musicgen"):
        ids = ids.repeat(4, 1)  # a row for each codebook
    inputs = {"input_ids": ids}
    if getattr(config, "is_encoder_decoder", False) and source["task"] != "causal":
        inputs["decoder_input_ids"] = ids.flip(1) + 1
    if source.get("features"):
        bins, frames = source["features"]
        inputs["input_features"] = torch.linspace(-1, 1, 2 * bins * frames).round(decimals=3).reshape(2, bins, frames)
    return model, inputs


def settle(source: dict[str, Any]) -> dict[str, Any]:
    """The source with the first tiny configuration that builds and runs.

    If none runs on ids it is the first that runs on ids and a spectrogram, and then the first that builds: how the
    parameters are tied, copied and saved can be judged without a forward pass.

    Raises:
        Unbuilt: if none builds.
    """
    import torch

    from embcheck.audit.program import answer

    def runs(trial: dict[str, Any]) -> bool:
        with contextlib.suppress(Exception):
            model, inputs = build(trial)
            answer(model.eval(), inputs)
            return True
        return False

    failure: Exception = ValueError("no configuration")
    built = []
    try:
        for config in proposals(source):
            trial = {**source, "config": config}
            try:
                with torch.device("meta"):  # without memory
                    count = sum(p.numel() for p in build(trial)[0].parameters())
                if count > LARGEST:
                    raise ValueError(f"{count:,} parameters with the small sizes that names could tell")
            except Exception as error:
                failure = error
                continue
            if runs(trial):
                return trial
            built.append(trial)
    except Exception as error:
        failure = error
    if not built:
        raise Unbuilt(f"no tiny configuration works: {told(failure)}")
    return next(filter(runs, (one for trial in built for one in _with_features(trial))), built[0])


def _with_features(trial: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same with a spectrogram beside the ids, of several lengths, where the model hears."""
    model, _ = build(trial)
    bins = [getattr(part, "num_mel_bins", None) for part in vars(model.config).values()]
    wide = next((number for number in bins if isinstance(number, int)), 0)
    if wide and "input_features" in inspect.signature(model.forward).parameters:
        yield from ({**trial, "features": [wide, frames]} for frames in (8, 16, 32, 64))


def settings(source: dict[str, Any], variant: str) -> dict[str, Any]:
    """The configuration's keyword arguments; ``flipped`` turns the flag of the tie round.

    It goes through the constructor, for some classes don't let it be turned.
    """
    given = dict(source["config"])
    if variant != AS_BUILT:
        given["tie_word_embeddings"] = not config_class(source)(**given).tie_word_embeddings
    return given


def flippable(source: dict[str, Any]) -> bool:
    """Whether the configuration's class lets the flag of the tie be turned round."""
    with contextlib.suppress(Exception):
        before, after = (config_class(source)(**settings(source, variant)) for variant in (AS_BUILT, FLIPPED))
        return bool(before.tie_word_embeddings != after.tie_word_embeddings)
    return False


def prelude(source: dict[str, Any], variant: str) -> list[str]:
    """The lines of a script that define ``factory``."""
    given = ", ".join(f"{name}={value!r}" for name, value in settings(source, variant).items())
    return [
        "import transformers",
        "",
        "def factory():",
        f"    config = transformers.{config_class(source).__name__}({given})",
        f"    return transformers.{source['cls']}(config)",
    ]
