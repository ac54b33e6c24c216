"""What a damage is: what a fault does to a call, a pure function, at which sites, and in which calls that changes anything.

A damage either changes what a call leaves, or makes the call with other arguments.  None writes to what it is given.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from selfcheck.site import Call, Site, Tensor
from selfcheck.tensor_plans import Plan, Planner, Spoil, of_rows

#: The arguments that a call is given instead; none where nothing changes.
Give = Callable[[Call], dict[str, Any]]
#: Conditions, at sites and of damages that begin so.
_Table = tuple[tuple[str | tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...]
#: Arguments without whose elements nothing comes out of others.
_ELEMENTS = {
    "nn.init.": "tensor",
    **dict.fromkeys(("nn.utils.clip_grad_", "nn.utils.parameters_to_vector"), "parameters"),
    "nn.utils.parametrizations._WeightNorm": "weight_v",
    "nn.utils.parametrizations._SpectralNorm": "weight",
    "nn.utils.parametrizations._Orthogonal": "X",
    "Parameter.__deepcopy__": "self",
    "Parameter.__new__": "data",
}
_PARAMETRIZED = {name: tensor for name, tensor in _ELEMENTS.items() if "parametrizations" in name}
_LAID = _PARAMETRIZED | {name: tensor for name, tensor in _ELEMENTS.items() if name.startswith("Parameter.")}
_MADE, _PRETRAINED = (
    tuple(f"{of}.{name} " for of in ("Embedding", "EmbeddingBag")) for name in ("__init__", "from_pretrained")
)
_TRACED_LOOKUPS, _LOSSES = ("decomposition.embedding ", "lowering.embedding "), ("F.cross_entropy ", "F.nll_loss ")
#: What changes values that are not zero, what changes a single row, and what puts rows in another order.
_NUMBERS = ("zero(", "negate(", "double(", "cast(")
_SINGLE, _ROWS = (*_NUMBERS, "stale", "ulp(", "nan("), ("shift", "swap ", "repeat(first)")
_SPOILS, _SCALED, _GRADIENTS = (*_SINGLE, *_ROWS), (*_NUMBERS, "stale", *_ROWS), ("double(gradient)", "zero(gradient)")
_FIRST, _LAST = ("zero(first)", "double(first)"), ("zero(last)", "negate(last)")
#: Kernels that give the rows of a table, those of bags, and all where a row of padding is zero.
_SUMS, _BAGGED = (
    ("embedding_dense_backward ", "_embedding_bag_dense_backward "),
    ("_embedding_bag ", "_embedding_bag_forward_only "),
)
_MASKING = (*_SUMS, *_BAGGED, "embedding_sparse_backward ", "_embedding_bag_per_sample_weights_backward ")
#: What shows of a loss that is neither zero nor NaN.
_OF_LOSSES = ("double(", "negate(", "cast(", "zero(gradient)")
#: What no call meets: a site has not this damage.
_NEVER = ("never",)
#: What a call must meet, at sites whose names begin so, for damages that begin so (both with a space behind them) to change
#: anything.
_NEEDED: _Table = (
    # A row that no token names and an empty bag are zero, too; a gradient without padding has no row where all is padding.
    (_MASKING, (*_NUMBERS, *_ROWS), ("all_padding=False",)),
    ("embedding_sparse_backward ", ("stale", "ulp(", "nan("), ("all_padding=False",)),
    ("_embedding_bag", (*_NUMBERS, *_ROWS, "give("), ("largest_bag>=1",)),
    ("embedding_sparse_backward ", _ROWS, ("num_embeddings>=2",)),
    *((_SUMS, names, (f"{place}_row",)) for place, names in (("first", _FIRST), ("last", _LAST))),
    *((_BAGGED, names, (f"empty_{place}=False",)) for place, names in (("first", _FIRST), ("last", _LAST))),
    # Random values in another order are as good, every dtype holds zeros and ones, and what only refuses changes no result.
    ("nn.init.", ("shift", "swap ", "stale", "ulp(last)"), _NEVER),
    (("nn.init.eye_", "nn.init.dirac_"), ("cast(",), _NEVER),
    ("nn.init.ones_", ("cast(", "repeat("), _NEVER),
    ("nn.init.zeros_", (*_NUMBERS, "repeat("), _NEVER),
    ("nn.init.constant_", ("repeat(",), _NEVER),
    (("nn.init.kaiming_", "F.embedding_bag"), ("give(mode=not)",), _NEVER),  # which is a word there
    ("func.jvp", ("give(strict",), _NEVER),
    ("sparse_adam.", ("spill(grads)",), _NEVER),  # which are sparse
    ("adam.fused", ("give(capturable=",), _NEVER),  # which it takes for consistency alone
    (_LOSSES, ("give(weight=detached)",), _NEVER),  # which can't require grad
    # It gives a number without a graph, and that a vector.
    ("nn.utils.get_total_norm", (*_ROWS, "restride", *_GRADIENTS), _NEVER),
    ("nn.utils.parameters_to_vector", ("restride",), _NEVER),
    # A copy has no gradients, nor has what is new, of which no two Parameters have one shape.
    (("AveragedModel.__init__", "copy.deepcopy"), ("drop(gradient)",), _NEVER),
    (("Embedding.", "EmbeddingBag."), ("tie", "untie", "drop(gradient)", "give(mode=not)"), _NEVER),
    ("Parameter.__deepcopy__", ("leaf(clone)",), _NEVER),  # which has memory of its own already
    (("Module._apply", "Module.to"), ("skip(",), _NEVER),  # which rounds what was there before as it did
    ("Linear.__init__", ("tie", "untie", "drop("), _NEVER),
    ("F.embedding", ("give(input=detached)",), _NEVER),  # of indices
    # Rates are single numbers, and these dictionaries hold no tensors; what else holds tensors holds them in some of its own.
    ("LRScheduler.state_dict", (*_ROWS, "repeat(", "clone("), _NEVER),
    (("Optimizer.state_dict", "GradScaler.state_dict", "Module.named_modules"), ("clone(",), _NEVER),
    (("Module.named_modules ", "GradScaler.state_dict "), _SPOILS, _NEVER),
    # Inductor leaves out a cast to a narrower dtype and back.
    ("lowering.", ("cast(",), _NEVER),
    # Arguments that these do nothing with, and tokens that are given in lists.
    (_TRACED_LOOKUPS, ("give(padding_idx=", "give(scale_grad_by_freq="), _NEVER),
    (("lowering._embedding_bag ", "lowering._embedding_bag_forward_only"), ("give(scale_grad_by_freq=",), _NEVER),
    ("lowering._embedding_bag_per_sample_weights_backward", ("give(mode=",), _NEVER),
    (("lowering.index ", "lowering._unsafe_masked", "decomposition._unsafe_"), ("give(indices=",), _NEVER),
    ("Linear.__init__ ", _ROWS, ("out_features>=2",)),
    ("Linear.__init__ ", ("restride",), ("out_features>=2", "in_features>=2")),
    ("Linear.__init__ ", ("give(bias=none)",), ("bias",)),  # which is no bias, too
    (_MADE, _ROWS, ("num_embeddings>=2",)),
    (_MADE, ("restride",), ("num_embeddings>=2", "embedding_dim>=2")),
    (_PRETRAINED, _ROWS, ("embeddings_rows>=2",)),
    (_PRETRAINED, _SPOILS, ("embeddings_numel>=1",)),
    (_PRETRAINED, ("restride",), ("embeddings_numel>=4", "embeddings_rows>=2", "embeddings_columns>=2")),
    # Without tokens a table is read nowhere, and of empty bags come zeros.
    ("F.embedding ", (*_SPOILS, "restride"), ("weight_numel>=1", "input_numel>=1")),
    ("F.embedding ", _GRADIENTS, ("weight_frozen=False",)),
    ("F.embedding_bag ", _SCALED, ("input_numel>=1", "weight_numel>=1")),
    ("F.embedding_bag ", ("restride",), ("weight_columns>=2",)),
    ("F.embedding", ("give(padding_idx=none)",), ("input_numel>=1", "weight_numel>=1")),
    # Else nothing is rescaled.
    ("F.embedding", ("give(norm_type=double)", "give(max_norm="), ("max_norm>0", "input_numel>=1", "weight_numel>=1")),
    ("F.embedding", ("give(weight=memory)",), ("weight_numel>=2",)),
    ("F.embedding", ("give(input=memory)",), ("input_numel>=2", "weight_rows>=2", "weight_columns>=1")),
    ("F.embedding", ("give(sparse=", "give(scale_grad_by_freq="), ("weight_frozen=False",)),
    ("F.embedding", ("give(scale_grad_by_freq=",), ("input_numel>=2",)),  # a single token comes once
    ("F.embedding_bag ", ("give(include_last_offset=",), ("input_rank=1",)),  # of a batch it says nothing
    ("Module.zero_grad ", ("drop(gradient)",), ("set_to_none=False",)),  # else there are none
    ("Module.zero_grad ", ("give(set_to_none=not)",), ("grads>=1",)),
    # A table of nothing gives zeros, and one element lies where it lies.
    ("F.linear ", ("give(input=memory)",), ("weight_numel>=1", "input_numel>=2")),
    ("F.linear ", ("restride",), ("input_rank>=2", "input_numel>=2")),
    ("F.linear ", ("give(weight=memory)",), ("input_numel>=1",)),  # else what comes out is empty, or the bias
    ("nn.utils.get_total_norm ", _NUMBERS, ("tensors_numel>=1",)),  # of nothing it is zero
    ("adagrad.", ("give(lr_decay=zero)",), ("step>=1",)),  # the first step's rate does not decay
    ("radam.", ("give(eps=double)",), ("step>=5",)),  # up to the fifth step it divides by nothing, whatever beta2 is
    ("func.functional_call ", ("give(strict=not)",), ("strict=False",)),  # which else refuses what it is not given
    ("Module.named_parameters ", ("give(remove_duplicate=not)",), ("tied",)),  # else none has two names
    # It lists one part once, and a shared one twice.
    ("Module.named_modules ", ("give(remove_duplicate=not)",), ("shared_part",)),
    ("Module.named_modules ", ("reverse",), ("parts>=2",)),
    ("Module.named_parameters ", ("reverse",), ("several_names",)),
    ("Module.named_parameters ", ("swap(values)",), ("parameters>=2",)),  # a single one is what every name stands for
    ("F.linear ", _SPOILS, ("gives_elements",)),
    ("F.linear ", (*_NUMBERS, *_ROWS), ("gives_zeros=False",)),
    ("F.linear ", _ROWS, ("input_numel>=1",)),  # of nothing each row is the bias
    ("sgd.", ("skip(states)", "give(dampening=zero)"), ("momentum>0",)),  # else there are none
    ("nadam.", ("give(momentum_decay=zero)",), ("beta1>0",)),  # which it makes smaller
    (("adam.", "nadam.", "radam."), ("give(decoupled_weight_decay=",), ("weight_decay>0",)),
    ("func.grad_and_value ", (*_ROWS, "restride"), ("has_aux",)),  # else the value comes last, which is a number
    *((name, ("restride",), (f"{x}_rank>=2", f"{x}_columns>=2", f"{x}_numel>=4")) for name, x in _LAID.items()),
    # All else that goes in are buffers.
    *((name, _GRADIENTS, (f"{x}_frozen=False",)) for name, x in _PARAMETRIZED.items() if x != "weight_v"),
    # A single number over its own norm is its sign, which has no gradient.
    ("nn.utils.parametrizations._SpectralNorm.forward ", _GRADIENTS, ("weight_numel>=2",)),
    # All rows of a state are alike before the first step.
    ("Optimizer.state_dict ", (*_ROWS, "swap(values)"), ("stepped>=1",)),
    # A count of steps is a single number.
    ("Optimizer.load_state_dict ", _ROWS, ("counts_first=False",)),
    ("func.jacrev ", (*_GRADIENTS, "restride"), ("args_numel>=1",)),
    (_LOSSES, ("restride",), ("reduction=none", "input_rank>=3")),
    (_LOSSES, _ROWS, ("reduction=none", "input_rank>=2", "input_numel>=1")),
    ("F.nll_loss ", _GRADIENTS, ("input_frozen=False",)),
    # The loss of nothing is zero or NaN, and so is that of the only class there is, whose likelihood is one.
    (_LOSSES, _OF_LOSSES, ("input_numel>=1",)),
    ("F.cross_entropy ", _OF_LOSSES, ("of_one_class=False",)),
    # Rows that are looked up in a table of one row, or by one token, are all the same.
    (_TRACED_LOOKUPS, _ROWS, ("weight_rows>=2", "tokens_differ")),
    (("decomposition.index_select ", "lowering.index "), _ROWS, ("self_rows>=2",)),
    *((name, _ROWS, (f"{x}_numel>=2",)) for name, x in _ELEMENTS.items()),
    *((name, (*_SINGLE, "skip(", "spill(memory"), (f"{x}_numel>=1",)) for name, x in _ELEMENTS.items()),
    ("nn.init.", ("give(",), ("tensor_numel>=1",)),
    ("func.hessian ", ("",), ("args_numel>=1",)),
    # What the first call gives, registration looks at for its shape and dtype alone.
    (
        "nn.utils.parametrizations._SpectralNorm.forward ",
        (*_SPOILS, "restride", "give(weight=detached)"),
        ("earlier>=1",),
    ),
)

#: Of a call that meets these nothing is changed, at sites and by damages that begin so.  Which rows the maxima came from is told
#: by another argument, by which their gradients go.
_IN_VAIN: _Table = (
    ("Module.load_state_dict ", ("skip(",), ("assign",)),  # which writes to nothing
    ("F.embedding_bag ", ("give(per_sample_weights=none)",), ("mode=mean", "mode=max")),  # which take none
    # The padding row is zero.
    (_SUMS, (*_FIRST, "repeat(first)"), ("padding=first",)),
    (_SUMS, _LAST, ("padding=last",)),
    (
        "_embedding_bag_dense_backward ",
        ("give(indices=", "give(scale_grad_by_freq=", "give(padding_idx="),
        ("mode=max",),
    ),
)


class Damage(NamedTuple):
    """A damage by its name, at sites of some kinds or names, ``at``, or that take an ``argument``.

    It has a ``planner`` of what comes after a call, or a ``spoil`` of its ``rows``, of which there must be so many, or gives
    other arguments.  ``needs`` are conditions without which it changes nothing, ``forbids`` some with which it can't.
    """

    name: str
    planner: Planner | None = None
    at: tuple[str, ...] = ("kernel",)
    needs: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()
    rows: int = 1
    floating: bool = False
    argument: str = ""
    spoil: Spoil | None = None
    give: Give | None = None

    def of(self, site: Site) -> bool:
        """Whether a site has this damage."""
        if _NEVER[0] in self._told_of(site, _NEEDED) or (self.floating and not site.floating):
            return False
        if self.argument:
            return self.argument in site.signature.parameters and site.kind != "transform"
        return site.kind in self.at or site.name in self.at

    def changes_none(self, site: Site, condition: str) -> bool:
        """Whether a part of a condition alone says that it changes nothing."""
        return not {*self.forbids, *self._told_of(site, _IN_VAIN)}.isdisjoint(condition.split(" & "))

    def _told_of(self, site: Site, table: _Table) -> list[str]:
        return [
            text
            for begins, names, texts in table
            if f"{site.name} ".startswith(begins) and f"{self.name} ".startswith(names)
            for text in texts
        ]

    def conditions(self, site: Site) -> list[str]:
        """What a call must meet for the damage to change anything."""
        told = self._told_of(site, _NEEDED)
        if site.kind != "kernel":
            several = [f"{site.rows}>=2"] if site.rows and self.rows > 1 else []
            return [*self.needs, *several, *told]
        columns = [f"{site.columns}>=1"] if site.columns else []
        return [f"{site.rows}>={self.rows}", *columns, *told, *self.needs]

    def given(self, call: Call) -> dict[str, Any]:
        """The arguments that a call is made with instead of its own; none where nothing changes."""
        return self.give(call) if self.give else {}

    def plan(self, site: Site, call: Call, result: Any) -> Plan | None:
        """What is to be done after a call."""
        planner = self.planner if self.spoil is None else of_rows(self.spoil, self.rows)
        return planner and planner(site, call, result)


def given(name: str, word: str, change: Callable[[Any], Any], at: tuple[str, ...] = (), **more: Any) -> Damage:
    """The argument of a name given as something else, which a word says, at some sites or at all that take it.

    ``change`` gives the argument itself back where there is nothing to change; None is never changed.
    """

    def give(call: Call) -> dict[str, Any]:
        value = call.given.get(name)
        changed = value if value is None else change(value)
        return {} if changed is value else {name: changed}

    return Damage(f"give({name}={word})", give=give, at=at, argument="" if at else name, **more)


def memory(tensor: Tensor) -> Tensor:
    """A tensor read as if it were contiguous, from where it starts, if its storage is large enough."""
    if tensor.is_contiguous() or tensor.layout is not torch.strided:
        return tensor
    end = tensor.storage_offset() + tensor.numel()
    if end * tensor.element_size() > tensor.untyped_storage().nbytes():
        return tensor
    return tensor.as_strided(tensor.shape, torch.empty(tensor.shape, device="meta").stride(), tensor.storage_offset())
