"""Of which trainings of a tied pair some laws speak."""

from embcheck.families.tied_training.algorithms import FORMULAS
from embcheck.families.tied_training.cases import TiedTrainingCase
from embcheck.families.tied_training.optimizers import KINDS


def bias_steps_alike(case: TiedTrainingCase) -> bool:
    """Whether the bias is stepped every time, with the flags, rates and algorithm of the weight."""
    known = case.optimizer in FORMULAS and case.optimizer not in ("Muon", "SparseAdam")
    every_time = "lookup" not in case.routes and not any(case.missing)
    return case.bias and known and every_time and case.clip[:4] != "norm"


def iterates_to_the_end(case: TiedTrainingCase) -> bool:
    """Whether L-BFGS stops by what it counts: one that iterates in half precision may stop because a loss that has no digit
    for the change is the same again."""
    return case.faint or case.flags["max_iter"] == 1 or case.dtype not in ("float16", "bfloat16")


def is_plain(case: TiedTrainingCase) -> bool:
    """Whether what the optimizer keeps can be followed from step to step."""
    return case.event == "nothing" and not case.tensor_hyperparameters and not any(case.missing)


def stays_still(case: TiedTrainingCase) -> bool:
    # The scalar products of L-BFGS overflow in half precision, and infinity times zero is NaN.
    overflows = case.optimizer == "LBFGS" and case.dtype == "float16"
    return KINDS[case.optimizer].still and not case.flags.get("weight_decay") and not overflows


def moves_present_rows_only(case: TiedTrainingCase) -> bool:
    plain = case.optimizer == "SGD" and not case.flags["weight_decay"] and not case.flags["momentum"]
    return plain or case.optimizer == "SparseAdam"
