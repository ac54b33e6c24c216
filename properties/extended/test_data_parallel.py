"""A model with a tied head learns on several processes, in copies or in pieces, what it learns on one."""

from __future__ import annotations

import numpy as np

from embcheck.core.comparison import every, same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.data_parallel.cases import SPACE, DataParallelCase, plan
from embcheck.families.data_parallel.programs import SPREAD
from embcheck.families.dtensor.cases import no_ranks, unmade

family = Family("data_parallel", SPACE, plan, cost=800.0, forks=True, stride=3, not_applicable=no_ranks, untaken=unmade)
law = family.law


@law(
    "A distributed model gives the outputs and trained weights of a single process.",
    source="DistributedDataParallel; fully_shard; torch.distributed.tensor: the semantics of a single device; the chain rule",
    must_cover={"several", "head=tied", "head=own", "sparse", "padding_hit", "repeated", "unused=dense", "steps=2"}
    | {f"spread={name}" for name in SPREAD},
)
def distributed_training_equals_one_process(case: DataParallelCase, out: Outcome) -> Finding:
    values, weights = case.course
    return every(same(out.values, np.array([values] * case.ranks)), same(out.learnt, np.array([weights] * case.ranks)))


@law(
    "A tied weight stays one Parameter when the model is distributed and trained.",
    source="torch.nn.Module.__setattr__; DistributedDataParallel and fully_shard keep shared parameters",
    must_cover={"several", "head=tied", "head=own", "spread=fully_sharded"},
)
def distributed_model_keeps_tied_parameter(case: DataParallelCase, out: Outcome) -> Finding:
    ties, counts = [case.head == "tied"] * 2, [case.parameters] * 2
    return every(same(out.ties, [ties] * case.ranks), same(out.counts, [counts] * case.ranks))


test_scope, test_product, test_random = family.tests()
