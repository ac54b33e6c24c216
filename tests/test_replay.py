"""A replay says whether a failure is there still, is fixed, or can't be tried here."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from command import Command, Patch
from test_evaluate import CASE, PADDING, ZERO

from embcheck.core.declaration import VARIABLE
from embcheck.core.machine import here
from embcheck.core.replay_state import ERROR, FAILED, FIXED, Replayed
from embcheck.core.result import HOLDS, Difference, Holds, NotApplicable, OracleFailed, Raised, Unreachable, Violated
from embcheck.core.shipped_ledger import shipped
from embcheck.engine.crashes.isolate import NoAnswer
from embcheck.runner.replay import replay, state_of

SOMEWHERE = {"law": ZERO.name, "family": "padding", "subject": "torch", "mode": "eager", "device": "cpu"}
SOMEWHERE |= {"case": repr(CASE), "kind": "value", "torch": torch.__version__}
HERE = here().to_dict()
RECORD: dict[str, Any] = {**SOMEWHERE, "machine": HERE}
VALUE = Difference("value", "seen", 1, 0, "1, expected 0")


@pytest.mark.parametrize(
    ("result", "state", "words"),
    [
        (Violated(VALUE), FAILED, "1, expected 0"),
        (Violated(Difference("shape", "seen", 1, 0, "another shape")), FAILED, "now by another difference, shape"),
        (Violated(Difference("shape", "seen", 1, 0, "", others=(VALUE,))), FAILED, "1, expected 0"),
        (HOLDS, FIXED, ""),
        (Holds(0.5, loose=False), FIXED, ""),
        (NotApplicable("no padding"), ERROR, "not applicable: no padding"),
        (Raised("RuntimeError: broken"), ERROR, "the program raised RuntimeError: broken"),
        (OracleFailed("the law raised ZeroDivisionError"), ERROR, "the law raised ZeroDivisionError"),
        (Unreachable("the process sent nothing"), ERROR, "the process sent nothing"),
    ],
)
def test_the_states_of_a_replay(result: Any, state: str, words: str) -> None:
    found = state_of(RECORD, result)
    assert found.state == state
    assert words in found.words


@pytest.mark.parametrize(("state", "code"), [(FAILED, 1), (FIXED, 0), (ERROR, 3)])
def test_the_exit_code_of_a_replay(state: str, code: int, tmp_path: Path, monkeypatch: Patch, command: Command) -> None:
    kept = {"id": "c7f3a1", **RECORD}
    (tmp_path / "c7f3a1.json").write_text(json.dumps(kept))
    monkeypatch.setattr("embcheck.runner.replay.replay", lambda record: Replayed(state, "in words"))
    done = command("replay", "c7f3a1", "--store", tmp_path, ends=code)
    assert done.out == f"{state}  {RECORD['law']} · eager  {CASE!r}\n  in words\n"
    assert done.err == f"embcheck: judges {RECORD['law']} on {CASE!r}\n", "said first: it may take a minute"


@pytest.mark.parametrize(
    ("record", "state", "words"),
    [
        (RECORD | {"torch": "1.0"}, FIXED, f"by torch {torch.__version__}; it failed with 1.0"),
        (RECORD | {"machine": {**HERE, "cpu_capability": "VSX"}}, ERROR, "cpu_capability VSX, here"),
        (RECORD | {"machine": {**HERE, "onednn_kernel": "brg_matmul:amx"}}, ERROR, "onednn_kernel brg_matmul:amx"),
        (RECORD | {"torch": "1.0", "machine": {**HERE, "onednn_kernel": "brg_matmul:amx"}}, FIXED, "by torch"),
        (RECORD | {"torch": "1.0", "machine": {**HERE, "isa": ["amx_bf16"]}}, ERROR, "isa ('amx_bf16',)"),
        (RECORD | {"machine": {**HERE, "cpu": "another of the same level"}}, FIXED, ""),
        (
            RECORD | {"machine": {"arch": "another"}},
            ERROR,
            "holds here, but it failed on another machine: arch another",
        ),
        (SOMEWHERE, ERROR, ""),  # nobody knows where it failed
    ],
)
def test_what_holds_elsewhere_is_not_fixed(record: dict[str, Any], state: str, words: str) -> None:
    found = state_of(record, HOLDS)
    assert found.state == state
    assert words in found.words


def test_a_replay_of_what_is_right_says_fixed() -> None:
    assert replay(RECORD) == (FIXED, "")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"law": "no_such_law"}, "this version of embcheck has no 'no_such_law'"),
        ({"family": "none"}, "this version of embcheck has no 'none'"),
        ({"mode": "none"}, "this version of embcheck has no 'none'"),
        ({"case": "LookupCase(num_embeddings=3)"}, "embedding_dim"),
        ({"device": "cuda"}, "no device 'cuda'"),
    ],
)
def test_a_replay_of_what_is_not_here_is_an_error(fields: dict[str, str], words: str) -> None:
    found = replay({**RECORD, **fields})
    assert found.state == ERROR
    assert words in found.words


def test_a_replay_where_the_subject_is_not_says_so(monkeypatch: Patch) -> None:
    monkeypatch.setenv(VARIABLE, "nowhere:Layer")
    words = "subject 'nowhere:Layer': no module 'nowhere'; replay it where that can be imported"
    assert replay(RECORD) == (ERROR, words)


#: What is replaced, and by what.
DIES = ("embcheck.runner.replay.examine", Mock(return_value={"symptom": "crash SIGSEGV"}))
NO_ANSWER = ("embcheck.runner.replay.examine", Mock(side_effect=NoAnswer("it died itself")))
RAISES = ("torch.nn.functional.embedding", Mock(side_effect=RuntimeError("broken")))
ACCEPTED, NOTHING = "padding_is_accepted", "; this law has nothing to look at"


@pytest.mark.parametrize(
    ("replaced", "law", "kind", "state", "words"),
    [
        (DIES, ACCEPTED, "crash SIGSEGV", FAILED, "crash SIGSEGV"),
        (DIES, ACCEPTED, "hang", FAILED, "now by another difference, crash SIGSEGV instead of hang: crash SIGSEGV"),
        (DIES, ZERO.name, "value", ERROR, f"the program ends its process: crash SIGSEGV{NOTHING}"),
        (NO_ANSWER, ZERO.name, "value", ERROR, "it died itself"),
        (RAISES, ZERO.name, "value", ERROR, "the program raised RuntimeError: broken"),
    ],
)
def test_a_replay_of_a_program_that_dies_or_raises(
    replaced: tuple[str, Mock], law: str, kind: str, state: str, words: str, monkeypatch: Patch
) -> None:
    """Another law than that the case is accepted was not judged, and neither FAILED nor FIXED is known of it."""
    monkeypatch.setattr(*replaced)
    assert replay({**RECORD, "law": law, "kind": kind}) == (state, words)


def test_a_crash_on_what_must_be_refused_breaks_the_law_of_refusals(monkeypatch: Patch) -> None:
    case = "LookupCase(num_embeddings=1, embedding_dim=1, shape=(), out_of_range='V')"
    record = RECORD | {"law": "lookup_out_of_range_indices_raise", "family": "lookup", "case": case}
    assert replay(record) == (FIXED, "")
    monkeypatch.setattr(*DIES)
    assert replay(record | {"kind": "crash SIGSEGV"}) == (FAILED, "crash SIGSEGV")


def test_what_the_ledger_of_the_run_knows_is_fixed() -> None:
    """A violation may have been another wrong result in the region of a known one."""
    (known,) = (entry for entry in shipped()[0] if entry.name == "bag-trailing-in-last-bag")
    record = RECORD | {"law": "bag_last_offset_ends_last_bag", "family": "embedding_bag", "case": known.witness}
    assert replay(record) == (FIXED, "what is still wrong is known: bag-trailing-in-last-bag")
    assert replay(record | {"ledgers": []}).state == FAILED
    found = replay(record | {"ledgers": ["nowhere.toml"]})
    assert (found.state, "nowhere.toml" in found.words) == (ERROR, True)


def test_a_replay_with_a_law_that_errs_is_an_error(monkeypatch: Patch) -> None:
    errs = replace(ZERO, judge=Mock(side_effect=ZeroDivisionError("division by zero")))
    monkeypatch.setattr(PADDING, "laws", [errs if each is ZERO else each for each in PADDING.laws])
    found = replay(RECORD)
    assert (found.state, "ZeroDivisionError: division by zero" in found.words) == (ERROR, True)
