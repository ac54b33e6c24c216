"""What tied models, and layers that keep what they should not, are known to give instead."""

import itertools
from typing import Any

import numpy as np

from embcheck.core.format import Floats
from embcheck.core.oracle import accumulate
from embcheck.core.result import Difference, Elements
from embcheck.core.wrong_results.judgement import instead, of_elements, of_plain


def _alone(case: Any) -> tuple[list[Floats], list[Floats]]:
    """What the weight of a tied model on a route may be under the name of a table, and under the head's: as it was, or after
    a step with what arrives at all names, at both tables, at one of them or at the head alone."""
    weight, both = case.weight, case.gradient / 2
    kept = case.tokens != (-1 if case.padding_idx is None else case.padding_idx)
    sent = (case.upstream @ weight)[kept] * (not case.frozen)
    one = accumulate(case.tokens[kept], case.rows, sent) / 2  # of a table that is looked up by itself
    times = case.looked_up
    head = both - times * one
    tables = [weight, weight - both, weight - one, weight - times * one, weight - one - head]
    return tables, [weight, weight - both, weight - head]


@of_elements
def each_name_by_itself(case: Any, seen: Elements) -> Any:
    """After a step each name of a tied weight has learned by itself, or not at all; and the outputs are what that gives."""
    tables, heads = _alone(case)
    if "stepped" not in seen.place:
        return all(any(np.array_equal(each, known) for known in tables + heads) for each in seen.got)
    biases = [case.bias_values, case.stepped[1]]
    looked_up = itertools.combinations_with_replacement(tables, case.looked_up)
    sums = [np.sum(rows, axis=0)[case.tokens] for rows in looked_up]
    every = itertools.product(sums, heads, biases)
    return any(np.array_equal(seen.got, rows @ head.T + bias) for rows, head, bias in every)


@of_elements
def without_the_part_of_the_head(case: Any, seen: Elements) -> Any:
    """The gradient of a tied table is what its lookup sent, without what came through the head."""
    rows = case.weight[case.tokens].reshape(-1, case.embedding_dim)
    return np.array_equal(seen.got, seen.expected - case.upstream.reshape(-1, case.num_embeddings).T @ rows)


@of_elements
def rows_of_repeated_tokens(case: Any, seen: Elements) -> Any:
    """Only rows of tokens that come more than once differ."""
    counts = np.bincount(np.concatenate([case.tokens.ravel(), case.others.ravel()]), minlength=case.num_embeddings)
    return (counts > 1)[np.nonzero(seen.differ)[1]].all()


@of_elements
def nothing_is_learned(case: Any, seen: Elements) -> Any:
    """After a step weights and outputs are what they were."""
    if "stepped" in seen.place:
        return np.array_equal(seen.got, case.value(case.weight, case.bias_values))
    return (seen.got == case.weight).all()


@of_elements
def twice_the_weight(case: Any, seen: Elements) -> Any:
    """The rows are those of right_inverse, which doubles; one that makes an orthogonal matrix changes any."""
    return case.route == "orthogonal" or np.array_equal(seen.got, 2 * case.weight)


@of_elements
def what_the_first_module_has(case: Any, seen: Elements) -> Any:
    """A module has the weight of the one that it was copied from."""
    return np.array_equal(seen.got, case.mapped(case.weight / 2 if case.inverse else case.weight))


@instead
def buffers_that_are_not_persistent(case: Any, found: Difference) -> bool:
    """The names of such buffers."""
    names = {f"model.{name}" for name, tensor in case.tensors("buffers", "", True, True) if tensor.endswith("scratch")}
    return set(found.got) <= names


@of_plain
def a_name_apart(got: Any, expected: Any) -> Any:
    """Of a list that says under each name which was the first to have its tensor, some have one of their own."""
    pairs = zip(range(len(got)), got, expected, strict=False)
    return len(got) == len(expected) and all(one in (due, place) for place, one, due in pairs)


@instead
def strides_of_a_dense_table(case: Any, found: Difference) -> bool:
    """The strides, of axes longer than one, are those of a table that lies row by row or column by column."""
    dense = [case.embedding_dim, 1], [1, case.num_embeddings]
    return found.elements is None and found.got in [
        each[kept] for each in dense for kept in (slice(2), slice(1), slice(1, 2))
    ]


@of_plain
def the_last_but_one_is_overwritten(got: Any, expected: Any) -> Any:
    """Of some lists the last but one is missing."""
    return len(got) == len(expected) and all(
        one in (due, due[:-2] + due[-1:]) for one, due in zip(got, expected, strict=True)
    )


@of_plain
def no_parameter_any_more(got: Any, expected: Any) -> Any:
    """A tensor that is no Parameter is refused where a Parameter is due, its name is unknown to a checkpoint or taken already, or
    no Parameter is found."""
    refused = (
        "raised TypeError: cannot assign 'torch.",
        "raised RuntimeError: Error(s) in loading state_dict for ",
        "raised AssertionError: param must be a Parameter",
        "raised KeyError: \"attribute 'weight' already exists\"",
        "raised ValueError: not enough values to unpack (expected at least 1, got 0)",
        "raised ValueError: torch.cat(): expected a non-empty list of Tensors",
    )
    return isinstance(got, str) and got.startswith(refused)


@of_plain
def earlier_places(got: Any, expected: Any) -> Any:
    """Of a list of places each is the one that is due or an earlier one, and some are missing, as names are left out."""
    return len(got) <= len(expected) and all(one <= due for one, due in zip(got, expected, strict=False))


@of_plain
def fewer_names(got: Any, expected: Any) -> Any:
    """A list that says under each name which was the first to have its tensor has fewer names than are due."""
    return len(got) < len(expected) and all(one <= place for place, one in enumerate(got))


@of_plain
def parts_of_gradients(got: Any, expected: Any) -> Any:
    """Some gradients are left out, and of the others, in order, each is what some of the backward passes gave."""
    rest = iter(expected)
    return len(got) <= len(expected) and all(any(_part(one, due) for due in rest) for one in got)


def _part(one: Any, due: Any) -> bool:
    """Whether each element of a gradient lies between zero and what is due."""
    got, whole = np.asarray(one, np.float64), np.asarray(due, np.float64)
    return got.shape == whole.shape and bool((got * whole >= 0).all() and (np.abs(got) <= np.abs(whole)).all())
