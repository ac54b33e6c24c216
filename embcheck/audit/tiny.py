"""Small versions of a configuration: the same architecture, in a thousandth of the memory.

A configuration class says by the names of its fields what each number counts, so the numbers are replaced by name.
What can't be guessed is written down in `SPECIAL`, an override for each model type.  Knows no torch.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

#: Rows of the table of tokens.  No power of two and no other size's, so that a shape says what it counts.
VOCABULARY = 99

#: Rows of other tables: of a part whose vocabulary is not that of the tokens.
_OTHER_VOCABULARY = 107

#: The padding token of a configuration that names none, so that its table has a padding row.
_PADDING = 3

#: What a field counts, and the number that it gets: the first pattern that matches its whole name decides.
_SIZES: tuple[tuple[str, int], ...] = (
    (r"entity_vocab_size", 41),
    (r"(.*_)?(vocab_size|n_vocab|n_words|vocab)|n_token|vocab_size_.*|.*_vocab_size_base", VOCABULARY),
    (r"(.*_)?(position_embeddings|positions|n_ctx|max_seq_len|max_seq_length)|block_size", 64),
    (r"(.*_)?(n_kv_heads?|num_kv_heads|multi_query_group_num)|.*num_key_value_heads", 2),
    (r"(.*_)?(heads|n_head)", 4),
    (r"num_kv_shared_layers", 1),
    (r"num_nextn_predict_layers", 0),
    (r"(.*_)?(layers|n_layer|num_layer|num_blocks|depth)", 2),
    (r"(.*_)?(head_dim|d_kv|kv_channels)", 8),
    (r".*_rank", 16),
    (r"rotary_dim", 4),
    (r"attention_window", 8),
    (r"moe_k", 2),
    (r"(.*_)?(num_experts_per_tok|experts_per_token|moe_topk|moe_top_k|top_k_experts|expert_top_k)", 2),
    (r"(.*_)?(num_local_experts|n_routed_experts|num_routed_experts)|.*num_experts", 4),
    (r"(.*_)?(n_group|topk_group|n_groups_router)", 1),
    (
        r"(.*_)?(ffn_dim|n_inner|d_ff|ffn_hidden_size|intermediate_dim|dim_feedforward|mlp_hidden_size|ffn_size|hidden_dim"
        r"|d_inner|expert_hidden_size)|.*intermediate_size",
        64,
    ),
    (r"(.*_)?(d_model|n_embd|dim|embedding_size|width|d_embed|hidden_size_global)|.*hidden_size", 32),
    (r"(.*_)?num_filters", 2),
)

#: Fields of numbers that are no sizes although a pattern matches them.
_KEPT = re.compile(
    r".*(dropout|eps|theta|factor|kernel|stride|patch|groups|prob|rate|scale|range|_type|num_labels).*|first_k.*"
)

_TOKEN = re.compile(r".*(token_id|token_ids|token_index|_index|_token)$|.*_id$")

#: Lists of counts, one for each stage: as many stages, of one block each.
_COUNTS = re.compile(r"(.*_)?depths")

#: By model type, what a configuration needs to be made at all.
BASE: dict[str, dict[str, Any]] = {
    "gemma4_assistant": {
        "text_config": {"model_type": "gemma4_text", "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
    }
}

#: By model type, what names alone don't tell.
SPECIAL: dict[str, dict[str, Any]] = {
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_key_value_heads": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 1, "mask_token_id": 32},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2, "state_size": 16, "chunk_size": 16},
    "ministral": {"head_dim": 8},
    "mobilebert": {"intra_bottleneck_size": 32},
    "nemotron": {"num_key_value_heads": 4},
    "perceiver": {
        "num_latents": 8, "d_latents": 32, "num_self_attends_per_block": 1, "qk_channels": 32, "v_channels": 32,
        "num_self_attention_heads": 4, "num_cross_attention_heads": 4,
    },
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 8], "attn_layers": ["local", "lsh"]},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 12, "attention_hidden_size": 64, "attention_head_dim": 16},
    "zamba2": {"num_hidden_layers": 12, "attention_hidden_size": 64, "attention_head_dim": 16},
}  # fmt: skip

#: How often a table repeats may be said in lists as long as the layers; those are cut.
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers", "num_decoder_layers")


def shrunk(
    config: Any,
    layers: int = 2,
    *,
    heads: bool = True,
    kind: int | None = None,
    nested: bool = False,
    cache: bool = True,
    tokens: int | None = None,
) -> dict[str, Any]:
    """The keyword arguments that make a small configuration of the same class.

    ``layers`` is how many blocks there are; without ``heads`` the numbers and widths of heads stay as they are;
    ``kind`` makes all layers of one of their kinds; ``nested`` gives each kind of layer its own rotary settings;
    without ``cache`` keys and values are not kept.  Of a part ``tokens`` is the vocabulary of the whole.
    """
    own = tokens if tokens is not None else _tokens(config)
    changed: dict[str, Any] = {}
    old_layers = next((getattr(config, name) for name in _LAYERS if isinstance(getattr(config, name, None), int)), 0)
    special = SPECIAL.get(getattr(config, "model_type", ""), {})
    layers = special.get("num_hidden_layers", layers)
    plain: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # a class may have no default of its own
        plain = dict(fields(type(config)()))
    for name, value in fields(config):
        if hasattr(value, "to_dict"):
            below = shrunk(value, layers, heads=heads, kind=kind, nested=nested, cache=cache, tokens=own)
            changed[name] = {**below, "model_type": value.model_type}
            continue
        small = _small(name, value, layers, old_layers, heads)
        if name == "num_key_value_heads" and heads and value == vars(config).get("num_attention_heads"):
            small = min(value, 4)  # none is shared, and some classes can't share them
        if name == "vocab_size" and isinstance(value, int) and own and value not in (own, small):
            small = _OTHER_VOCABULARY
        words = isinstance(small, (list, tuple)) and bool(small) and all(isinstance(each, str) for each in small)
        if kind is not None and small is not value and words:
            small = [_kinds(value)[kind % len(_kinds(value))]] * layers
        # Of a part, the whole's default may be another than that of its class.
        other = isinstance(value, (int, float, str)) and small != plain.get(name, small)
        if other or (small is not value and small != value):
            changed[name] = small
    if getattr(config, "pad_token_id", 0) is None:
        changed["pad_token_id"] = _PADDING
    if nested and isinstance(changed.get("layer_types"), list):
        rotary = getattr(config, "rope_parameters", None) or {"rope_type": "default", "rope_theta": 10000.0}
        changed["rope_parameters"] = {layer: dict(rotary) for layer in dict.fromkeys(changed["layer_types"])}
    if not cache and hasattr(config, "use_cache"):
        changed["use_cache"] = False
    return changed | special


def _tokens(config: Any) -> int:
    """The size of the vocabulary of the ids, before anything shrinks; 0 if it is not told."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    size = getattr(text, "vocab_size", None) or getattr(config, "vocab_size", None)
    return size if isinstance(size, int) else 0


def fields(config: Any) -> Iterator[tuple[str, Any]]:
    """The fields that a configuration's constructor takes, under the names of its class."""
    for name, value in vars(config).items():
        if not name.startswith("_") and name not in ("transformers_version", "architectures", "id2label", "label2id"):
            yield name, value


def _small(name: str, value: Any, layers: int, old_layers: int, heads: bool) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if _TOKEN.match(name):
        return _in_range(value)
    if isinstance(value, (list, tuple)) and _COUNTS.fullmatch(name):
        return [1] * len(value)
    if isinstance(value, (list, tuple)) and old_layers and len(value) >= old_layers > layers:
        kinds = _kinds(value)  # of different ones where they differ
        spread = kinds[:layers] if len(kinds) >= layers else [*value[: layers - len(kinds)], *kinds]
        return [_small(name, member, layers, 0, heads) for member in spread]
    if not isinstance(value, int) or _KEPT.match(name):
        return value
    for pattern, size in _SIZES:
        if re.fullmatch(pattern, name):
            if (size == 2 and "layer" in name) or name in ("depth", "num_blocks"):
                size = layers
            if not heads and size in (2, 4, 8) and "head" in name:
                return value
            return min(value, size) if value > 0 else value
    return value


def _in_range(value: Any) -> Any:
    """Special tokens as rows that the small table has: the rest fall on the last rows, each on another."""
    if isinstance(value, (list, tuple)):
        return [_in_range(member) for member in value]
    if isinstance(value, int) and value >= VOCABULARY:
        return VOCABULARY - 1 - value % 13
    return value


def _kinds(values: Any) -> list[Any]:
    """The different values, in the order in which they come."""
    return list({repr(value): value for value in values}.values())
