"""What a violation says is so: each story that a law can tell is told of a fault that was planted, and of nothing else."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import embcheck
from embcheck.core.case import LookupCase
from embcheck.core.comparison import rows_shown
from embcheck.core.oracle import weight_gradient
from embcheck.core.result import Holds, Violated
from embcheck.core.term_counts import as_if
from embcheck.core.weight_map import MATHEMATICS, affine
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.max_norm.cases import MaxNormCase
from embcheck.families.tie_preservation.cases import TiePreservationCase
from embcheck.families.tied_training.cases import TiedTrainingCase
from embcheck.modes.mode import MODES
from embcheck.subject.activation import adapted
from embcheck.subject.collect import load_families
from embcheck.subject.examples import TiedModel
from properties.core.test_gradient import who_arrived
from selfcheck.fault import patched
from selfcheck.forms import spoiled as kernel_spoiled
from selfcheck.site import Call

Tensor = torch.Tensor
Planted = AbstractContextManager[None]
functional = torch.nn.functional


def told(name: str, case: Any, planted: Planted) -> str:
    """What a law says of a case, while a fault is planted; without it the law holds."""
    family = next(each for each in load_families().values() if name in [law.name for law in each.laws])
    law = next(law for law in family.laws if law.name == name)
    judged = [law] if not law.implied_by else [each for each in family.laws if each.name in (law.implied_by, name)]
    right = evaluate(family, MODES["eager"], case, judged, Execution("cpu"))
    assert all(isinstance(result, Holds) for result in right)
    with planted:
        found = evaluate(family, MODES["eager"], case, [law], Execution("cpu"))[0]
    assert isinstance(found, Violated)
    return found.difference.words


def altered(name: str, alter: Callable[[Tensor, Tensor], Tensor]) -> Planted:
    """A function of torch's that gives what is made of its result and its weight."""
    original = getattr(functional, name)

    def wrong(indices: Tensor, weight: Tensor, *given: Any, **flags: Any) -> Tensor:
        return alter(original(indices, weight, *given, **flags), weight)

    return patched(functional, **{name: wrong})


# -- gradients: which token arrived ------------------------------------------------------------------------------


#: A fault in every backward pass.
damaged = partial(kernel_spoiled, "embedding_dense_backward")


def arrived(row: int, *positions: int) -> Planted:
    """A backward pass that adds the gradient of these tokens to a row; a negative position, less one, takes it away."""

    def damage(call: Call, gradient: Tensor) -> Tensor:
        upstream = call.given["grad_output"]
        sent = upstream.reshape(-1, upstream.shape[-1])
        for position in positions:
            gradient[row] += sent[position] if position >= 0 else -sent[-1 - position]
        return gradient

    return damaged(damage)


#: Rows 0, 1, 0, 2 in a table of four, of three columns.
SCATTERED = LookupCase(4, 3, (0, 1, 0, 2), (4,))
PADDED = SCATTERED.but(padding_idx=1)


#: What is told of a token, by its position.
TOKEN = ": as if the gradient of the token at position"


@pytest.mark.parametrize(
    ("case", "planted", "place", "words"),
    [
        (SCATTERED, arrived(0, -1), "dW[0]", f"{TOKEN} 0 had arrived never, not once"),
        (SCATTERED, arrived(0, 2), "dW[0]", f"{TOKEN} 2 had arrived twice, not once"),
        (SCATTERED, arrived(0, 1), "dW[0]", f"{TOKEN} 1, which is row 1, had arrived once, not never"),
        (SCATTERED, arrived(3, 1), "dW[3]", f"{TOKEN} 1, which is row 1, had arrived once, not never"),
        (SCATTERED, arrived(0, 1, 1), "dW[0]", f"{TOKEN} 1, which is row 1, had arrived twice, not never"),
        (PADDED, arrived(1, 1), "dW[1], the padding row,", f"{TOKEN} 1 had arrived once, not never"),
        (SCATTERED, arrived(0, 1, 3), "dW[0]", ""),
        (SCATTERED, damaged(lambda call, gradient: gradient * 0), "dW[0]", ": nothing arrived"),
        (SCATTERED, damaged(lambda call, gradient: gradient * 3 + 7), "dW[0]", ""),
        # All tokens send the same: nothing tells which it was.
        (SCATTERED.but(upstream="ones"), arrived(0, 1), "dW[0]", ""),
        (SCATTERED.but(scale_grad_by_freq=True), damaged(lambda call, gradient: gradient * 2), "dW[0]", ""),
        (SCATTERED.but(route="two_passes"), arrived(0, 0), "dW[0]", f"{TOKEN} 0 had arrived 4 times, not twice"),
    ],
)
def test_a_gradient_says_which_token_did_it(case: LookupCase, planted: Planted, place: str, words: str) -> None:
    said = told("weight_gradient_sums_upstream_per_row", case, planted)
    assert said.startswith(f"{place} = ")
    assert ", expected [" in said
    assert said.rpartition("]")[2].rpartition(" (")[0] == words


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (lambda wanted: wanted / 2, ": the gradient without what is declared of the weight"),
        (lambda wanted: wanted + PADDED.upstream_values[0], ""),
    ],
)
def test_of_what_is_declared_of_a_weight_no_token_is_said_to_arrive_oftener(
    came: Callable[[Any], Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MATHEMATICS, "layers:Scaled", affine(scale=2.0))
    case = PADDED.but(entry="layers:Scaled")
    assert who_arrived(case, came(weight_gradient(case)[0])).rpartition("]")[2] == words


def test_the_padding_laws_say_numbers_and_a_gradient_that_does_not_come_is_told_in_plain_words() -> None:
    said = told("padding_row_gets_no_gradient", PADDED, arrived(1, 1))
    sent = PADDED.upstream_values[1]
    assert said == f"{' '.join(f'{x:g}' for x in sent)}, expected 0 0 0 (3 of 3 elements differ)"
    out = altered("embedding", lambda out, weight: out.detach().requires_grad_())
    said = told("weight_gradient_sums_upstream_per_row", SCATTERED, out)
    assert said == "the weight got no gradient: None after the backward pass"


@embcheck.declare("tied", head="fc")
class UntiedByLoading(TiedModel):
    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict({name: each.clone() for name, each in state_dict.items()}, strict, True)


LOADED, RELOADED = TiePreservationCase(first="loaded"), TiedTrainingCase(steps=4, event="reloaded_saved")
BOTH = "embedding.weight and fc.weight"
GIVEN = "your model's weight is no longer the Parameter that its optimizer was given"


@pytest.mark.parametrize(
    ("law", "case", "words"),
    [
        ("operation_preserves_parameter_identity", LOADED, f"{BOTH} are two Parameters, expected one"),
        ("operation_preserves_shared_memory", LOADED, f"{BOTH} share no memory, expected to share it"),
        ("tied_training_is_accepted", RELOADED, f"{GIVEN} (raised ValueError: optimizer got an"),
    ],
)
def test_a_tie_that_loading_breaks_is_told_by_its_names(law: str, case: Any, words: str) -> None:
    load_families()
    with adapted(UntiedByLoading) as families:
        family = next(each for each in families.values() if law in [one.name for one in each.laws])
        asked = [one for one in family.laws if one.name == law]
        (found,) = evaluate(family, MODES["eager"], family.space.repair(case), asked, Execution("cpu"))
    assert isinstance(found, Violated)
    assert found.difference.words.startswith(words)


# -- rows that differ where they are not shown -----------------------------------------------------------------------


def off_by_one(out: Tensor, weight: Tensor) -> Tensor:
    """The last element of the first row is one too many."""
    return out + torch.nn.functional.one_hot(torch.tensor(out.numel()) - 1, out.numel()).view_as(out).to(out.dtype)


@pytest.mark.parametrize(
    ("name", "case", "planted", "words"),
    [
        (
            "lookup_copies_rows",
            LookupCase(1, 8, (0,), (1,)),
            altered("embedding", off_by_one),
            "received [1 -2 3 -4 5 -6 …], which is no row of the table; expected row 0, [1 -2 3 -4 5 -6 …]; "
            "column 7 is -7, expected -8",
        ),
        (
            "weight_gradient_sums_upstream_per_row",
            LookupCase(1, 8, (0,), (1,), upstream="ones"),
            damaged(lambda call, gradient: off_by_one(gradient, gradient)),
            "dW[0] = [1. 1. 1. 1. 1. 1. …], expected [1. 1. 1. 1. 1. 1. …]; column 7 is 2, expected 1 (1 of 8 elements differ)",
        ),
        (
            "bag_sum_and_mean_reduce_weighted_rows",
            BagCase(4, 8, bags=(3, 1), indices=(0, 1, 1, 2)),
            altered("embedding_bag", off_by_one),
            " …]; column 7 is ",
        ),
    ],
)
def test_what_differs_behind_what_is_shown_is_told_with_its_column(
    name: str, case: Any, planted: Planted, words: str
) -> None:
    assert words in told(name, case, planted)


def test_rows_that_are_written_alike_are_told_apart() -> None:
    got, wanted = np.array([1.0, 1.0 + 2**-40]), np.ones(2)
    assert rows_shown(got, wanted, got == wanted)[2] == "; column 1 is 1.0000000000009095, expected 1"
    assert rows_shown(got, got, got == got) == ("[1. 1.]", "[1. 1.]", "")


# -- bags: which row was added -----------------------------------------------------------------------------------


def bag_plus(bag: int, row: int, times: int = 1) -> Planted:
    """Bags of which one has a row added so many times more."""

    def added(out: Tensor, weight: Tensor) -> Tensor:
        more = torch.zeros_like(out)
        more[bag] = times * weight[row].detach()
        return out + more

    return altered("embedding_bag", added)


#: Bags of the rows (0, 1, 1) and (2,).
BAGS = BagCase(4, 2, bags=(3, 1), indices=(0, 1, 1, 2))


@pytest.mark.parametrize(
    ("case", "planted", "words"),
    [
        (BAGS, bag_plus(0, 0), ": as if row 0 had been added twice, not once"),
        (BAGS, bag_plus(0, 0, -1), ": as if row 0 had been added never, not once"),
        (BAGS, bag_plus(0, 1, -1), ": as if row 1 had been added once, not twice"),
        (BAGS, bag_plus(1, 3), ": as if row 3 had been added once, not never"),
        (BAGS.but(padding_idx=1), bag_plus(0, 1), ": as if row 1, the padding row, had been added once, not never"),
        (BAGS, bag_plus(0, 0, -2), ""),  # nothing can be added less than never
        (BAGS.but(mode="mean"), bag_plus(0, 0), ""),
        (BAGS.but(weights="small"), bag_plus(0, 0), ""),
    ],
)
def test_a_bag_says_which_row_did_it(case: BagCase, planted: Planted, words: str) -> None:
    said = told("bag_sum_and_mean_reduce_weighted_rows", case, planted)
    wrong = 1 if "row 3" in words else 0
    assert said.startswith(f"bag {wrong} of rows {[2] if wrong else [0, 1, 1]} is [")
    assert ", expected [" in said
    assert said.rpartition("]")[2].partition(" within")[0].rpartition(" (")[0] == words or (
        not words and "as if" not in said
    )


def test_only_what_alone_explains_a_sum_is_told() -> None:
    terms = np.array([[1.0, 2.0], [3.0, -1.0], [2.0, 4.0], [0.0, 0.0], [np.inf, 1.0]])
    assert as_if(np.array([3.0, -1.0]), terms, [1, 1, 0, 0, 0]) == (1, 2)
    assert as_if(np.array([-3.0, 1.0]), terms, [1, 1, 0, 0, 0]) == (1, 0)
    assert as_if(np.array([-3.0, 1.0]), terms, [1, 0, 0, 0, 0]) is None, "what never came can't be missing"
    assert as_if(np.array([2.0, 4.0]), terms, [1, 1, 0, 0, 0]) is None, "token 0 twice more, or token 2 once"
    assert as_if(np.array([1.5, 3.0]), terms, [1, 1, 0, 0, 0]) is None
    assert as_if(np.array([0.0, 0.0]), terms, [1, 1, 0, 0, 0]) is None
    assert as_if(np.array([np.nan, 0.0]), terms, [1, 1, 0, 0, 0]) is None


# -- tables that are rescaled ------------------------------------------------------------------------------------


#: Rows 0 and 2 of four are looked up; those beyond a norm of 5 are rescaled.
LIMITED = MaxNormCase(4, 2, (0, 2), (2,), max_norm=5.0, route="plain")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (0, "row 0 became [1. 1.] from [ 1. -2.]: it was looked up, and its norm 2.23607 does not exceed max_norm 5"),
        (1, "row 1 became [1. 1.] from [ 3. -4.]: it was not looked up"),
    ],
)
def test_a_row_that_must_stay_says_why(row: int, words: str) -> None:
    def writes_to_the_table(out: Tensor, weight: Tensor) -> Tensor:
        weight.data[row] = 1.0
        return out

    assert told("rows_over_max_norm_are_rescaled", LIMITED, altered("embedding", writes_to_the_table)) == words
