"""Faults that are planted into the specimen: each must be found, and the specimen without one must be clean.

The name of each says what it does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import Parameter, init
from torch.nn.functional import embedding, linear

from embcheck.audit.right import FirstRowLeftOut, RowsRescaled
from embcheck.audit.specimen import Config, Specimen, Tensor, Untied, after, plant, planted


def untie(self: Any) -> Any:
    """Gives the head a copy of its weight."""
    self.head.weight = Parameter(self.head.weight.detach().clone())
    return self


def drawn_again(self: Specimen) -> None:
    init.normal_(self.table.weight)


# -- ties, copies and casts ----------------------------------------------------------------------------------------


def head_shares_data(self: Specimen) -> None:
    self.head.weight = Parameter(self.table.weight.data)


def head_data_assigned(self: Specimen) -> None:
    self.head.weight.data = self.table.weight.data


def tied_anyway(self: Specimen) -> None:
    self.head.weight = self.table.weight


def listed_twice(self: Specimen, recurse: bool = True) -> Any:
    yield from (p for module in (self.table, self.norm, self.mix, self.head) for p in module.parameters())


def rebuilt(self: Specimen, memo: Any) -> Specimen:
    other = type(self)(copy.deepcopy(self.config))
    other.load_state_dict(self.state_dict())
    return other.eval()


def copied_with_its_table(self: Specimen, memo: Any) -> Specimen:
    other = rebuilt(self, memo)
    other.table.weight = other.head.weight = self.table.weight
    return other


def cast_without_the_head(self: Specimen, fn: Any, recurse: bool = True) -> Any:
    rest: Any = (self.norm, self.mix)
    for module in rest:
        module._apply(fn)
    self.table.weight = Parameter(fn(self.table.weight.detach()))
    return self


plant("HeadIsACopy", "tie is missing", "tie_weights", then=untie)
plant("HeadSharesData", "two Parameters over one memory", "tie_weights", head_shares_data)
plant("HeadDataAssigned", "two Parameters over one memory", "tie_weights", head_data_assigned)
plant("TiedAgainstItsConfiguration", "tie is undeclared", "tie_weights", tied_anyway, Untied)
plant("NeverTied", "tie is missing", "tie_weights", lambda self: None)
plant("ListedTwice", "listed twice", "parameters", listed_twice)
plant("DeepCopyUnties", "alias is lost", "__deepcopy__", lambda self, memo: untie(rebuilt(self, memo)))
plant("DeepCopyShares", "memory is shared", "__deepcopy__", copied_with_its_table)
plant("PickleUnties", "alias is lost", "__setstate__", then=untie)
plant("CastSkipsTheHead", "cast is partial | alias is lost", "_apply", cast_without_the_head)


@planted("not among the parameters")
class TableInAList(Untied):
    """It is kept in a plain list, where no module finds it."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.tables = [self.table]
        del self.table

    def look_up(self, input_ids: Tensor) -> Tensor:
        rows: Tensor = self.tables[0](input_ids)
        return rows

    def get_input_embeddings(self) -> Any:
        return self.tables[0]


class _Product:
    """Holds a weight as a copy of the model does not see it."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __deepcopy__(self, memo: dict[int, Any]) -> _Product:
        return self


@planted("copy does not follow", "original moves")
class HeadHoldsTheTable(Specimen):
    """The head's product is a closure over the table: that of a copy is the original's."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.product = _Product(self.table.weight)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.product.weight.T


# -- gradients, steps, padding rows and forward passes -----------------------------------------------------------------


def hooked(factor: float) -> Callable[..., Any]:
    """Multiplies the gradient of the table."""
    return after(Specimen.__init__, lambda self: self.table.weight.register_hook(lambda grad: grad * factor))


def writing_into_ids(self: Specimen, input_ids: Tensor) -> Tensor:
    input_ids[input_ids > 20] = 1
    return Specimen.look_up(self, input_ids)


def normalising(self: Specimen, input_ids: Tensor) -> Tensor:
    with torch.no_grad():
        self.table.weight.div_(self.table.weight.norm(dim=1, keepdim=True).clamp(min=1e-3))
    return Specimen.look_up(self, input_ids)


def untying_when_trained(self: Specimen, hidden: Tensor) -> Tensor:
    out = Specimen.logits(self, hidden)
    if torch.is_grad_enabled() and self.head.weight is self.table.weight:
        untie(self)
    return out


def rounded_table(self: Specimen) -> Any:
    table = Specimen.make_table(self)
    row = table.forward
    table.forward = lambda ids: row(ids).half().float()
    return table


def head_of_a_copy(self: Specimen, hidden: Tensor) -> Tensor:
    with torch.no_grad():
        weight = self.table.weight.clone()
    return linear(hidden, weight, self.head.bias)


WRONG_SUM = "gradient is not the sum"
plant("GradientCountedTwice", WRONG_SUM, "__init__", hooked(2.0))
plant("GradientAveraged", WRONG_SUM, "__init__", hooked(0.5))
plant("HeadDetached", WRONG_SUM, "logits", lambda self, x: linear(x, self.table.weight.detach(), self.head.bias))
plant("HeadCopiesEachTime", WRONG_SUM, "logits", head_of_a_copy)
plant("LookupDetached", WRONG_SUM, "look_up", lambda self, ids: embedding(ids, self.table.weight.detach(), 2))
plant("RowsDetached", WRONG_SUM, "look_up", lambda self, ids: Specimen.look_up(self, ids).detach())
LOOKED_UP = "padding row gets gradient"
plant("PaddingForgotten", LOOKED_UP, "look_up", lambda self, ids: embedding(ids, self.table.weight), Untied)
plant("RowsByIndex", LOOKED_UP, "look_up", lambda self, ids: self.table.weight[ids], Untied)
plant("PaddingInitialised", "padding row is not zero", "__init__", base=Untied, then=drawn_again)
plant("ScaleOnIdsOnly", "inputs_embeds differ", "look_up", lambda self, ids: Specimen.look_up(self, ids) * 8**0.5)
plant("WritesIntoItsInput", "input is changed", "look_up", writing_into_ids)
plant("NormalisesInForward", "weights are written", "look_up", normalising)
plant("UntiesAtTheFirstStep", "alias is lost | weights are written | tie is missing", "logits", untying_when_trained)
plant("NotTheRow", "not the row", "make_table", rounded_table)


@planted("copy stays behind")
class HeadIsASnapshot(Untied):
    """The head computes with a buffer that is a copy of the table, taken at construction."""

    snapshot: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("snapshot", self.table.weight.detach().clone())

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.snapshot.T + self.head.bias


@planted("copy stays behind")
class HeadKeepsTheFirst(Specimen):
    """The head computes with a copy of the table that the first forward pass took."""

    kept: Tensor | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.table.weight.detach().clone()
        return linear(hidden, self.kept, self.head.bias)


@planted("padding row gets gradient")
class SecondTableForgetsItsPadding(Untied):
    """The lookup in a table of segments, which has a padding row too, does not pass padding_idx on."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.segments = torch.nn.Embedding(3, config.width, padding_idx=0)

    def look_up(self, input_ids: Tensor) -> Tensor:
        return super().look_up(input_ids) + embedding((input_ids > 8).long(), self.segments.weight)


def halving_another_row(self: Specimen, input_ids: Tensor) -> Tensor:
    self.table.weight.data[3] /= 2
    return Specimen.look_up(self, input_ids)


plant("PartOfTheHeadDoubled", WRONG_SUM, "__init__", hooked(2.0), FirstRowLeftOut)
plant("NormalisesMoreThanItReads", "weights are written", "look_up", halving_another_row, RowsRescaled)


# -- saving and loading ------------------------------------------------------------------------------------------------


def assigned(self: Specimen, state: Any, strict: bool = True, assign: bool = False) -> Any:
    return Specimen.load_state_dict(self, {n: v.clone() for n, v in state.items()}, strict=strict, assign=True)


def loaded_without_bias(self: Specimen, state: Any, strict: bool = True, assign: bool = False) -> Any:
    return Specimen.load_state_dict(self, {n: v for n, v in state.items() if n != "head.bias"}, strict=False)


def state_without_head(self: Specimen, *given: Any, **flags: Any) -> Any:
    state = Specimen.state_dict(self, *given, **flags)
    state.pop("head.weight")
    return state


plant("LoaderDropsTheAlias", "alias is lost", "load_state_dict", assigned)
plant("LoaderForgetsTheBias", "not restored", "load_state_dict", loaded_without_bias, Untied)
plant("StateLacksTheHead", "load is refused", "state_dict", state_without_head)
plant("LoadedUntied", "alias is lost", "restore", then=untie)
plant("InitialisedAfterLoading", "not restored", "restore", None, Untied, lambda self: init.normal_(self.head.weight))


class _Lenient(Untied):
    """Loads what it finds."""

    def restore(self, state: dict[str, Tensor]) -> None:
        init.zeros_(self.head.bias)
        self.load_state_dict(state, strict=False)


plant(
    "RenamedWithoutAWord", "not restored", "saved_state",
    lambda self: {n.replace("mix.", "dense."): v for n, v in self.state_dict().items()}, _Lenient,
)  # fmt: skip
plant(
    "BiasNotSaved", "name is lost | not restored | load is refused | alias is lost", "saved_state",
    lambda self: {n: v for n, v in self.state_dict().items() if n != "head.bias"}, _Lenient,
)  # fmt: skip


class _Drawn(Untied):
    """Rows are drawn into a buffer that is not saved."""

    drawn: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("drawn", torch.randn(config.vocab_size, config.width), persistent=False)


@planted("answers differ")
class TableIsABufferNotSaved(_Drawn):
    """There is no other way to save than a state_dict."""

    save_pretrained: Any = None

    def look_up(self, input_ids: Tensor) -> Tensor:
        return super().look_up(input_ids) + self.drawn[input_ids]


plant("BufferNotSaved", "answers differ", "logits", lambda self, x: Untied.logits(self, x * self.drawn[0]), _Drawn)


# -- another number of tokens ------------------------------------------------------------------------------------------


def keeping(method: Callable[..., Any], owner: str, attribute: str) -> Callable[..., Any]:
    """A resize that leaves an attribute of a part as it was."""

    def changed(self: Any, rows: int) -> Any:
        before = getattr(getattr(self, owner), attribute)
        out = method(self, rows)
        setattr(getattr(self, owner), attribute, before)
        return out

    return changed


def moving_padding(self: Specimen, rows: int) -> None:
    padding = self.table.padding_idx - self.table.num_embeddings
    Specimen.resize_table(self, rows)
    self.table.padding_idx = rows + padding


def growing_only(self: Specimen, rows: int) -> None:
    if rows < self.table.num_embeddings:
        raise RuntimeError("The expanded size of the tensor must match the existing size")
    Specimen.resize_table(self, rows)


old_bias, old_count = (
    keeping(Untied.resize_head, "head", "bias"),
    keeping(Specimen.resize_table, "table", "num_embeddings"),
)
plant("ResizeForgetsTheBias", "bias does not follow", "resize_head", old_bias, Untied)
plant("ResizeResetsTheBias", "old rows change", "resize_head", None, Untied, lambda self: init.zeros_(self.head.bias))
plant("ResizeForgetsTheHead", "head does not follow", "resize_head", lambda self, rows: None, Untied)
plant("ResizeTies", "alias is made", "resize_head", None, Untied, tied_anyway)
plant("ResizeMovesThePadding", "padding_idx changes", "resize_table", moving_padding)
plant("ResizeKeepsTheCount", "size is not told", "resize_table", old_count)
plant("ShrinkingFails", "resize fails", "resize_table", growing_only)
plant("ResizeUnties", "alias is lost", "resize_token_embeddings", then=untie)
old_size = keeping(Specimen.resize_token_embeddings, "config", "vocab_size")
plant("ResizeKeepsTheConfiguration", "size is not told", "resize_token_embeddings", old_size)
for name, kind, method, then in (
    ("ResizeLosesTheRows", "old rows change", "table", drawn_again),
    (
        "ResizeShiftsTheRows",
        "old rows change",
        "table",
        lambda own: own.table.weight.copy_(own.table.weight.roll(1, 0)),
    ),
    ("ResizeLosesThePadding", "padding_idx changes", "table", lambda own: setattr(own.table, "padding_idx", None)),
    ("ResizeInitialises", "other values change", "token_embeddings", lambda own: own.mix.reset_parameters()),
):
    plant(name, kind, f"resize_{method}", then=torch.no_grad()(then))
