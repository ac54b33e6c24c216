"""Operations on tied weights as a state machine: every operation is a rule, and every history of rules is a case.

The machine walks on the oracle's model alone, so that a rule can ask what the operations before it made of the tie; what torch
makes of the same history, and whether the laws hold after each of its operations, is judged on the case.  So a history that fails
is reduced, replayed and written as a script like any other case.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import hypothesis
import numpy as np
from hypothesis import stateful

from embcheck.core import stream
from embcheck.core.draws import SEEDS, without_literals
from embcheck.families.tie_preservation.all_operations import OPERATIONS
from embcheck.families.tie_preservation.effects import UNFIT

#: Operations in the longest history.
STEPS = 12
#: What torch is known to trip over (see the ledger): most histories keep clear of it, or few would get far.
_SNARES = frozenset({"normed_copied", "normed_frozen", "sparse_vector"})
#: Beyond this, products of values and inputs would leave float16.
_LARGEST = 512.0
#: Of so many histories one walks into snares.
_CAREFREE = 4

#: Makes the case in whose state a history begins.
Birth = Callable[[stream.Stream], Any]
Receive = Callable[[Any], None]


class TiedModel(stateful.RuleBasedStateMachine):
    """A tied model to which operations happen.  `rules` adds a rule for each."""

    def __init__(self, birth: Birth, receive: Receive) -> None:
        super().__init__()
        self.birth, self.receive = birth, receive
        self.case: Any = None
        self.history: list[str] = []

    @stateful.initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        """Builds a model: its structure, flags, dtype, inputs and first state are drawn as those of any random case."""
        draws = stream.Stream(seed)
        self.case = self.birth(draws)
        self.history = list(self.case.history)
        self.state = self.case.expected
        self.careful = not draws.chance(_CAREFREE)

    def means_something(self, name: str) -> bool:
        """Whether an operation may happen now."""
        if self.case is None:
            return False
        after = self._after(name)
        if UNFIT in after.noted or (self.careful and after.noted & _SNARES):
            return False
        return all(np.abs(cell.values).max(initial=0.0) <= _LARGEST for cell in after.cells())

    def happen(self, name: str) -> None:
        """The operation happens."""
        self.state = self._after(name)
        self.history.append(name)

    def _after(self, name: str) -> Any:
        return OPERATIONS[name].after(self.state)

    @stateful.invariant()
    def gradients_fit_their_parameters(self) -> None:
        """Of the model itself, for torch is judged on the case: a gradient has the shape of its parameter."""
        for cell in self.state.cells() if self.case is not None else ():
            if cell.grad is not None and cell.grad.shape != cell.values.shape:
                raise AssertionError(f"the model is wrong after {self.history}")

    def teardown(self) -> None:
        """Hands the history over as a case."""
        if self.history:
            self.receive(self.case.after(self.history).but(watched=True))


@cache
def rules() -> type[TiedModel]:
    """The machine with one rule for each operation; made once, for Hypothesis keeps each class of machines for ever."""
    made = {}
    for name in OPERATIONS:

        def happens(self: TiedModel, name: str = name) -> None:
            self.happen(name)

        def may(self: TiedModel, name: str = name) -> bool:
            return self.means_something(name)

        happens.__name__ = happens.__qualname__ = name
        made[f"rule_{name}"] = stateful.precondition(may)(stateful.rule()(happens))
    return type("TiedModelWithRules", (TiedModel,), made)


def histories(birth: Birth, receive: Receive, count: int, seed: int) -> None:
    """Has ``count`` histories of up to `STEPS` operations received as cases."""

    @hypothesis.seed(seed)
    def machine() -> TiedModel:
        return rules()(birth, receive)

    settings = hypothesis.settings(
        max_examples=count,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
        derandomize=False,
    )
    with without_literals():
        stateful.run_state_machine_as_test(machine, settings=settings)  # type: ignore[arg-type]  # it takes functions, too
