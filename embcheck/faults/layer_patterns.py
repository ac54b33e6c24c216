"""Faults of layers and initialisers: how they are made, what they refuse, and what a change of mode does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import Embedding, embedding, entry, functional
from embcheck.faults.initialisers import init
from embcheck.faults.kernels import Tensor
from embcheck.faults.probes import rows
from embcheck.faults.witnesses import unlike

Call = Callable[..., Any]
Change = Callable[[dict[str, Any]], dict[str, Any]]
NAMES = (
    *("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"),
    *("_weight", "_freeze", "device", "dtype"),
)


def made(
    name: str, sentence: str, probe: Callable[[], Any], change: Change | None = None,
    spoil: Callable[[Any, dict[str, Any]], None] | None = None, family: str = "construction",
) -> None:  # fmt: skip
    """A fault of nn.Embedding.__init__: arguments changed before, or the layer spoiled after."""

    def replace(original: Call) -> Call:
        def replaced(self: Any, *arguments: Any, **flags: Any) -> None:
            given = dict(zip(NAMES, arguments, strict=False)) | flags
            original(self, **(change(given) if change else given))
            if spoil:
                with torch.no_grad():
                    spoil(self, given)

        return replaced

    entry(name, family, sentence, Embedding, "__init__", replace, unlike(probe))


def row_behind(layer: Any, given: dict[str, Any]) -> None:
    """The zero row is the next one."""
    padding, weight = given.get("padding_idx"), layer.weight
    if padding is None or padding > -2 or given.get("_weight") is not None or weight.device.type == "meta":
        return
    row = len(weight) + padding
    weight[row], weight[row + 1] = weight[row + 1].clone(), 0.0


def noisy_padding(layer: Any, given: dict[str, Any]) -> None:
    """The padding row drawn like the others in half precision."""
    half = layer.weight.dtype in (torch.float16, torch.bfloat16) and layer.weight.device.type == "cpu"
    if half and layer.padding_idx is not None and given.get("_weight") is None and layer.weight.numel():
        layer.weight[layer.padding_idx] = 0.5


def flattened(given: dict[str, Any]) -> dict[str, Any]:
    """A table given as a vector reshaped."""
    weight, shape = given.get("_weight"), (given["num_embeddings"], given["embedding_dim"])
    fits = isinstance(weight, Tensor) and weight.dim() == 1 and weight.numel() == shape[0] * shape[1]
    return given | {"_weight": weight.reshape(shape)} if fits and weight is not None else given


def no_rows(given: dict[str, Any]) -> dict[str, Any]:
    """A refusal of tables without rows."""
    if given["num_embeddings"] == 0:
        raise ValueError("num_embeddings must be positive")
    return given


def thaw_fresh(layer: Any, given: dict[str, Any]) -> None:
    """A fresh frozen table learns."""
    if given.get("_weight") is None and given.get("_freeze"):
        layer.weight.requires_grad_()


made("negative_padding_zeroes_the_row_behind", "A negative padding_idx below −1 zeroes the row behind it in a new table.",
     lambda: bool(Embedding(4, 2, padding_idx=-2).weight[2].any()), spoil=row_behind)  # fmt: skip
made("meta_tables_are_made_on_cpu", "device='meta' is ignored.", lambda: Embedding(2, 2, device="meta").weight.device.type,
     lambda given: given | {"device": None if str(given.get("device")) == "meta" else given.get("device")})  # fmt: skip
made("half_padding_is_drawn", "The padding row of a new table of half precision isn't zero.",
     lambda: bool(Embedding(4, 2, 1, dtype=torch.float16).weight[1].any()), spoil=noisy_padding)  # fmt: skip
made("tables_without_rows_are_refused", "num_embeddings=0 is refused.", lambda: Embedding(0, 2).weight, no_rows)
made("vectors_are_given_tables", "A _weight of rank 1 with as many elements as the table is accepted.",
     lambda: Embedding(2, 2, _weight=torch.ones(4)).weight, flattened)  # fmt: skip
made("fresh_frozen_table_learns", "_freeze=True of a table that isn't given is ignored.",
     lambda: Embedding(2, 2, _freeze=True).weight.requires_grad, spoil=thaw_fresh)  # fmt: skip
made("sparse_with_negative_padding_is_dense", "sparse=True is forgotten beside a negative padding_idx.",
     lambda: Embedding(4, 2, padding_idx=-1, sparse=True).sparse,
     lambda given: given | {"sparse": bool(given.get("sparse")) and (given.get("padding_idx") or 0) >= 0})  # fmt: skip
made(
    "low_padding_of_a_given_table", "padding_idx below −V is taken for none where a table is given.",
    lambda: Embedding(2, 2, padding_idx=-3, _weight=torch.ones(2, 2)).padding_idx,
    lambda given: given | {"padding_idx": None}
    if given.get("_weight") is not None and (given.get("padding_idx") or 0) < -given["num_embeddings"] else given,
)  # fmt: skip


def without_high_padding(original: Call, input: Tensor, weight: Tensor, **flags: Any) -> Any:
    """No refusal of a padding_idx behind the table if gradients are sparse."""
    high = flags["sparse"] and (flags["padding_idx"] or 0) >= len(weight)
    return original(input, weight, **flags | ({"padding_idx": None} if high else {}))


embedding(
    "sparse_padding_beyond_the_table", "construction", "padding_idx ≥ V is accepted with sparse=True.", without_high_padding,
    unlike(lambda: functional.embedding(torch.tensor([0]), rows(), 4, sparse=True)),
)  # fmt: skip


def trained(original: Call) -> Call:
    """Module.train that loses scale_grad_by_freq on the way back."""

    def replaced(self: Any, mode: bool = True) -> Any:
        if isinstance(self, Embedding) and mode and not self.training:
            self.scale_grad_by_freq = False
        return original(self, mode)

    return replaced


def thawing(original: Call) -> Call:
    """Module.double of a table that learns afterwards."""

    def replaced(self: Any) -> Any:
        found = original(self)
        for module in self.modules():
            if isinstance(module, Embedding):
                module.weight.requires_grad_()
        return found

    return replaced


def pretrained(change: Callable[[Any, Tensor, bool], None]) -> Callable[[Call], Call]:
    """from_pretrained with ``change(layer, table, freeze)`` behind it."""

    def replace(original: Call) -> Call:
        def replaced(cls: Any, embeddings: Tensor, freeze: bool = True, *arguments: Any, **flags: Any) -> Any:
            layer = original(cls, embeddings, freeze, *arguments, **flags)
            change(layer, embeddings, freeze)
            return layer

        return replaced

    return replace


def freeze_half(layer: Any, table: Tensor, freeze: bool) -> None:
    """A layer in half precision is frozen anyway."""
    if table.dtype in (torch.float16, torch.bfloat16):
        layer.weight.requires_grad_(False)


def freeze_source(layer: Any, table: Tensor, freeze: bool) -> None:
    """What the table was taken from is frozen, too."""
    if freeze and table.is_leaf and table.requires_grad:
        table.requires_grad_(False)


def retrained() -> bool:
    """Whether a layer still scales after evaluation."""
    return bool(Embedding(2, 2, scale_grad_by_freq=True).eval().train().scale_grad_by_freq)


def source() -> bool:
    """Whether a Parameter learns after a layer was made of it."""
    given = rows()
    Embedding.from_pretrained(given)
    return given.requires_grad


entry("training_again_forgets_frequency", "construction", "train() after eval() forgets scale_grad_by_freq.", torch.nn.Module,
      "train", trained, unlike(retrained))  # fmt: skip
entry("double_thaws", "life", "double() makes frozen tables learn.", torch.nn.Module, "double", thawing,
      unlike(lambda: Embedding.from_pretrained(rows().detach()).double().weight.requires_grad))  # fmt: skip
entry("pretrained_half_never_learns", "construction", "from_pretrained of a half table with freeze=False is frozen.",
      Embedding, "from_pretrained", pretrained(freeze_half),
      unlike(lambda: Embedding.from_pretrained(rows().detach().half(), freeze=False).weight.requires_grad))  # fmt: skip
entry("pretrained_freezes_its_source", "construction", "from_pretrained freezes the Parameter it is given.", Embedding,
      "from_pretrained", pretrained(freeze_source), unlike(source))  # fmt: skip


def through_data(original: Call, tensor: Tensor, *given: Any, **flags: Any) -> Any:
    """Values drawn without a change of version."""
    original(tensor.data, *given, **flags)
    return tensor


def gaps_filled(original: Call, tensor: Tensor, val: float) -> Any:
    """All of the memory filled."""
    with torch.no_grad():
        if tensor.dim() == 2 and tensor._is_view() and not tensor.is_contiguous():
            torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage()).fill_(val)
        return original(tensor, val)


def multiplied(original: Call, tensor: Tensor) -> Any:
    """Zeros by multiplication."""
    with torch.no_grad():
        return tensor.mul_(0.0) if tensor.is_floating_point() else original(tensor)


def gradient_cleared(original: Call, tensor: Tensor, *given: Any, **flags: Any) -> Any:
    """The tensor's gradient dropped."""
    if tensor.is_leaf:
        tensor.grad = None
    return original(tensor, *given, **flags)


def drawn_version() -> int:
    """The version of what was drawn."""
    return torch.nn.init.normal_(torch.zeros(2))._version


def filled() -> Tensor:
    """What a column's neighbours hold once it is filled."""
    base = torch.zeros(2, 2)
    torch.nn.init.constant_(base[:, :1], 3.0)
    return base


def kept_gradient() -> bool:
    """Whether a table has its gradient after it is drawn."""
    weight = rows()
    weight.grad = torch.ones_like(weight)
    torch.nn.init.xavier_uniform_(weight)
    return weight.grad is None


init("normal_hides_its_write", "normal_ does not count as a write.", "normal_", through_data, unlike(drawn_version))
init(
    "constant_fills_gaps", "constant_ of some columns fills the others, too.", "constant_", gaps_filled, unlike(filled)
)
init("zeros_keep_nan", "zeros_ leaves NaN, and infinities become NaN.", "zeros_", multiplied,
     unlike(lambda: torch.nn.init.zeros_(torch.tensor([float("nan"), 1.0]))))  # fmt: skip
init("xavier_drops_the_gradient", "xavier_uniform_ drops the gradient of its tensor.", "xavier_uniform_", gradient_cleared,
     unlike(kept_gradient))  # fmt: skip
