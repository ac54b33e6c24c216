"""Faults that are planted into the specimen: each must be found, and the specimen without one must be clean.

The name of each says what it does.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter, init
from torch.nn.functional import embedding, embedding_bag, linear

from embcheck.audit.specimen import RIGHT, Specimen, Untied, after, derived

#: By the class that has the fault, the kinds of finding of which one must be reported.
PLANTED: dict[type[Specimen], tuple[str, ...]] = {}


def plant(name: str, kinds: str, base: type[Specimen] = Specimen, **methods: Any) -> None:
    """Makes and registers a fault: functions stand in the places of methods; ``kinds`` has bars between."""
    PLANTED[derived(globals(), name, base, methods)] = tuple(kinds.split(" | "))


def plant_after(method: str, name: str, kinds: str, change: Any, base: type[Specimen] = Specimen) -> None:
    """The same for a change of the model when a method is done."""
    plant(name, kinds, base, **{method: after(getattr(base, method), torch.no_grad()(change))})


def untie(self: Any) -> Any:
    self.head.weight = Parameter(self.head.weight.detach().clone())
    return self


def tie(self: Any) -> None:
    self.head.weight = self.table.weight


# -- ties, copies and casts ----------------------------------------------------------------------------------------


def head_shares_data(self: Any) -> None:
    self.head.weight = Parameter(self.table.weight.data)


def head_data_assigned(self: Any) -> None:
    self.head.weight.data = self.table.weight.data


def listed_twice(self: Any, recurse: bool = True) -> Any:
    yield from (p for module in (self.table, self.norm, self.mix, self.head) for p in module.parameters())


def rebuilt(self: Any, memo: Any) -> Any:
    other = type(self)(copy.deepcopy(self.config))
    other.load_state_dict(self.state_dict())
    return other.eval()


def copied_with_its_table(self: Any, memo: Any) -> Any:
    other = rebuilt(self, memo)
    other.table.weight = other.head.weight = self.table.weight
    return other


def cast_without_the_head(self: Any, fn: Any, recurse: bool = True) -> Any:
    for module in (self.norm, self.mix):
        module._apply(fn)
    self.table.weight = Parameter(fn(self.table.weight.detach()))
    return self


def table_in_a_list(self: Any) -> None:
    self.tables = [self.table]
    del self.table


class _Product:
    """Holds a weight as a copy of the model does not see it."""

    def __init__(self, weight: Any) -> None:
        self.weight = weight

    def __deepcopy__(self, memo: Any) -> _Product:
        return self


plant_after("tie_weights", "HeadIsACopy", "tie is missing", untie)
plant_after("tie_weights", "HeadIsACopyBesidePositions", "tie is missing", untie, RIGHT["MorePositions"])
plant("HeadSharesData", "two Parameters over one memory", tie_weights=head_shares_data)
plant("HeadDataAssigned", "two Parameters over one memory", tie_weights=head_data_assigned)
plant("TiedAgainstItsConfiguration", "tie is undeclared", Untied, tie_weights=tie)
plant("NeverTied", "tie is missing", tie_weights=lambda self: None)
plant("ListedTwice", "listed twice", parameters=listed_twice)
plant("DeepCopyUnties", "alias is lost", __deepcopy__=lambda self, memo: untie(rebuilt(self, memo)))
plant("DeepCopyShares", "memory is shared", __deepcopy__=copied_with_its_table)
plant_after("__setstate__", "PickleUnties", "alias is lost", untie)
plant("CastSkipsTheHead", "cast is partial | alias is lost", _apply=cast_without_the_head)
plant(  # positions as a plain attribute: .to() leaves them behind
    "PositionsNotCast", "cast is partial", finish=lambda self: setattr(self, "positions", torch.linspace(0, 1, 8)),
    logits=lambda self, hidden: self.head(hidden + self.positions),
)  # fmt: skip
plant(  # a plain list, where no module finds it
    "TableInAList", "not among the parameters", Untied, finish=table_in_a_list,
    look_up=lambda self, ids: self.tables[0](ids), get_input_embeddings=lambda self: self.tables[0],
)  # fmt: skip
plant(  # the product of a copy is the original's
    "HeadHoldsTheTable", "copy does not follow | original moves",
    finish=lambda self: setattr(self, "product", _Product(self.table.weight)),
    logits=lambda self, hidden: hidden @ self.product.weight.T,
)  # fmt: skip


# -- gradients, steps, padding rows and forward passes -----------------------------------------------------------------


def plant_scaled(name: str, factor: float, base: type[Specimen] = Specimen) -> None:
    plant(name, WRONG_SUM, base, finish=lambda self: self.table.weight.register_hook(lambda grad: grad * factor))


def writing_into_ids(self: Any, ids: Any) -> Any:
    ids[ids > 20] = 1
    return self.table(ids)


def without_padding(self: Any, input_ids: Any) -> Any:
    return self.logits(self.table(input_ids) + embedding_bag(input_ids % 16, self.bags.weight)[:, None])


def divided_by_norms(self: Any) -> None:
    self.table.weight.data /= self.table.weight.data.norm(dim=1, keepdim=True)


def normalising(self: Any, ids: Any) -> Any:
    with torch.no_grad():
        self.table.weight.div_(self.table.weight.norm(dim=1, keepdim=True).clamp(min=1e-3))
    return self.table(ids)


def halving_another_row(self: Any, ids: Any) -> Any:
    self.table.weight.data[3] /= 2
    return self.table(ids)


def untying_when_trained(self: Any, hidden: Any) -> Any:
    out = self.head(hidden)
    if torch.is_grad_enabled() and self.head.weight is self.table.weight:
        untie(self)
    return out


def rounded_table(self: Any) -> Any:
    table = Specimen.make_table(self)
    row = table.forward
    table.forward = lambda ids: row(ids).half().float()
    return table


def by_the_first_copy(self: Any, hidden: Any) -> Any:
    if self.kept is None:
        self.kept = self.table.weight.detach().clone()
    return linear(hidden, self.kept, self.head.bias)


WRONG_SUM, LOOKED_UP, BEHIND = "gradient is not the sum", "padding row gets gradient", "copy stays behind"
ANOTHER_ROW = "another row is padding"
plant_scaled("GradientCountedTwice", 2.0)
plant_scaled("GradientAveraged", 0.5)
plant_scaled("PartOfTheHeadDoubled", 2.0, RIGHT["FirstRowLeftOut"])
plant("HeadDetached", WRONG_SUM, logits=lambda self, x: linear(x, self.table.weight.detach(), self.head.bias))
plant("HeadDetachedBesidePositions", WRONG_SUM, RIGHT["MorePositions"],
      logits=lambda self, x: linear(x, self.table.weight.detach(), self.head.bias))  # fmt: skip
plant("HeadCopiesEachTime", WRONG_SUM,
      logits=lambda self, x: linear(x, self.table.weight.detach().clone(), self.head.bias))  # fmt: skip
plant("LookupDetached", WRONG_SUM, look_up=lambda self, ids: embedding(ids, self.table.weight.detach(), 2))
plant("RowsDetached", WRONG_SUM, look_up=lambda self, ids: self.table(ids).detach())
plant("LookupCopiesEachTime", WRONG_SUM,
      look_up=lambda self, ids: embedding(ids, self.table.weight.detach().clone().requires_grad_()))  # fmt: skip
plant("PaddingForgotten", LOOKED_UP, Untied, look_up=lambda self, ids: embedding(ids, self.table.weight))
plant("PaddingIsAnotherRow", ANOTHER_ROW, look_up=lambda self, ids: embedding(ids, self.table.weight, 7))
plant("RowsByIndex", LOOKED_UP, Untied, look_up=lambda self, ids: self.table.weight[ids])
plant(  # a table of segments, which has a padding row too, of which the lookup says nothing
    "SecondTableForgetsItsPadding", LOOKED_UP, Untied,
    finish=lambda self: setattr(self, "segments", nn.Embedding(3, 8, padding_idx=0)),
    look_up=lambda self, ids: self.table(ids) + embedding((ids > 8).long(), self.segments.weight),
)  # fmt: skip
plant("PaddingRowNormalised", "padding row is NaN", Untied, finish=divided_by_norms)
plant("BagForgetsItsPadding", LOOKED_UP, RIGHT["MeansOfBags"], forward=without_padding)
plant("ScaleOnIdsOnly", "inputs_embeds differ", look_up=lambda self, ids: self.table(ids) * 8**0.5)
plant("WritesIntoItsInput", "input is changed", look_up=writing_into_ids)
plant("NormalisesInForward", "weights are written", look_up=normalising)
plant("NormalisesMoreThanItReads", "weights are written", RIGHT["RowsRescaled"], look_up=halving_another_row)
plant("UntiesAtTheFirstStep", "alias is lost | weights are written | tie is missing", logits=untying_when_trained)
plant("NotTheRow", "not the row", make_table=rounded_table)
plant(  # a buffer that is a copy of the table, taken at construction
    "HeadIsASnapshot", BEHIND, Untied,
    finish=lambda self: self.register_buffer("snapshot", self.table.weight.detach().clone()),
    logits=lambda self, hidden: hidden @ self.snapshot.T + self.head.bias,
)  # fmt: skip
plant("HeadKeepsTheFirst", BEHIND, kept=None, logits=by_the_first_copy)
plant(  # a buffer that is the product of the table and a layer, taken at construction
    "ProductStaysBehind", BEHIND,
    finish=lambda self: self.register_buffer("folded", self.mix(self.table.weight).detach()),
    look_up=lambda self, ids: self.mix(self.table(ids)) if self.training else self.folded[ids],
)  # fmt: skip


# -- saving and loading ------------------------------------------------------------------------------------------------


def assigned(self: Any, state: Any, strict: bool = True, assign: bool = False) -> Any:
    return Specimen.load_state_dict(self, {n: v.clone() for n, v in state.items()}, strict=strict, assign=True)


def without_bias(state: Any) -> Any:
    return {name: value for name, value in state.items() if name != "head.bias"}


def loaded_without_bias(self: Any, state: Any, strict: bool = True, assign: bool = False) -> Any:
    return Specimen.load_state_dict(self, without_bias(state), strict=False)


def state_without_head(self: Any, *given: Any, **flags: Any) -> Any:
    state = Specimen.state_dict(self, *given, **flags)
    state.pop("head.weight")
    return state


def renamed(self: Any) -> Any:
    return {name.replace("mix.", "dense."): value for name, value in self.state_dict().items()}


def restored_in_part(self: Any, state: Any) -> None:
    init.zeros_(self.head.bias)
    self.load_state_dict(state, strict=False)


def draw(self: Any) -> None:
    self.register_buffer("drawn", torch.randn(61, 8), persistent=False)


plant("LoaderDropsTheAlias", "alias is lost", load_state_dict=assigned)
plant("LoaderTakesTheFirstCopy", "not restored",
      finish=lambda self: self.register_buffer("first", self.table.weight.detach().clone()),
      load_state_dict=after(Specimen.load_state_dict, lambda self: self.table.weight.data.copy_(self.first)))  # fmt: skip
plant("LoaderForgetsTheBias", "not restored", Untied, load_state_dict=loaded_without_bias)
plant("StateLacksTheHead", "load is refused", state_dict=state_without_head)
plant_after("restore", "LoadedUntied", "alias is lost", untie)
plant_after("restore", "InitialisedAfterLoading", "not restored", lambda self: init.normal_(self.head.weight), Untied)
plant("RenamedWithoutAWord", "not restored", Untied, restore=restored_in_part, saved_state=renamed)
plant(
    "BiasNotSaved", "name is lost | not restored | load is refused | alias is lost", Untied,
    restore=restored_in_part, saved_state=lambda self: without_bias(self.state_dict()),
)  # fmt: skip
plant(  # there is no other way to save than a state_dict
    "TableIsABufferNotSaved", "answers differ", Untied, finish=draw, save_pretrained=None,
    look_up=lambda self, ids: self.table(ids) + self.drawn[ids],
)  # fmt: skip
plant("BufferNotSaved", "answers differ", Untied, finish=draw, logits=lambda self, x: self.head(x * self.drawn[0]))


# -- another number of tokens ------------------------------------------------------------------------------------------


def keeping(method: str, owner: str, attribute: str) -> dict[str, Any]:
    """A resize that leaves an attribute of a part as it was."""

    def changed(self: Any, rows: int) -> Any:
        before = getattr(getattr(self, owner), attribute)
        out = getattr(Specimen, method)(self, rows)
        setattr(getattr(self, owner), attribute, before)
        return out

    return {method: changed}


def moving_padding(self: Any, rows: int) -> None:
    padding = self.table.padding_idx - self.table.num_embeddings
    Specimen.resize_table(self, rows)
    self.table.padding_idx = rows + padding


def growing_only(self: Any, rows: int) -> None:
    if rows < self.table.num_embeddings:
        raise RuntimeError("The expanded size of the tensor must match the existing size")
    Specimen.resize_table(self, rows)


def refused_too_late(self: Any, rows: int) -> None:
    Specimen.resize_table(self, rows)
    raise ValueError("only the table can be resized")


def wrongly_called(self: Any, rows: int) -> None:
    if rows < self.table.num_embeddings:
        self.table.weight.narrow(rows)  # a TypeError that nobody meant
    Specimen.resize_table(self, rows)


def ignored(self: Any, rows: int) -> Any:
    return Specimen.resize_token_embeddings(self, rows) if rows > self.table.num_embeddings else self.table


OLD_ROWS, PADDING, SIZE = "old rows change", "padding_idx changes", "size is not told"
ALL, TABLE, HEAD = "resize_token_embeddings", "resize_table", "resize_head"
plant("ResizeForgetsTheBias", "bias does not follow", Untied, **keeping(HEAD, "head", "bias"))
plant_after(HEAD, "ResizeResetsTheBias", OLD_ROWS, lambda self: init.zeros_(self.head.bias), Untied)
plant("ResizeForgetsTheHead", "head does not follow", Untied, resize_head=lambda self, rows: None)
plant_after(HEAD, "ResizeTies", "alias is made", tie, Untied)
plant("ResizeMovesThePadding", PADDING, resize_table=moving_padding)
plant("ResizeKeepsTheCount", SIZE, **keeping(TABLE, "table", "num_embeddings"))
plant("ShrinkingFails", "resize fails", resize_table=growing_only)
plant("ShrinkingIsIgnored", SIZE, resize_token_embeddings=ignored)
plant("OneRowTooMany", SIZE, resize_token_embeddings=lambda self, n: Specimen.resize_token_embeddings(self, n + 1))
plant("RefusedTooLate", "resize fails", resize_table=refused_too_late)
plant("ShrinkingRaisesTypeError", "resize fails", resize_table=wrongly_called)
plant_after(ALL, "ResizeUnties", "alias is lost", untie)
plant("ResizeKeepsTheConfiguration", SIZE, **keeping(ALL, "config", "vocab_size"))
plant_after(TABLE, "ResizeLosesTheRows", OLD_ROWS, lambda self: init.normal_(self.table.weight))
plant_after(TABLE, "ResizeShiftsTheRows", OLD_ROWS, lambda self: self.table.weight.copy_(self.table.weight.roll(1, 0)))
plant_after(TABLE, "ResizeFreezes", "resize freezes", lambda self: self.table.weight.requires_grad_(False))
plant_after(TABLE, "ResizeLosesThePadding", PADDING, lambda self: setattr(self.table, "padding_idx", None))
plant_after(ALL, "ResizeInitialises", "other values change", lambda self: self.mix.reset_parameters())
