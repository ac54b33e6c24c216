"""A compiler backend of one's own is a mode: it is judged, its failures are replayed, and its scripts import it."""

from pathlib import Path

import pytest
from command import Command
from warm import embcheck

#: One of AOTAutograd's whose backward takes no notice of padding.
BACKENDS = """
import torch
from torch._dynamo.backends.common import aot_autograd
from functorch.compile import make_boxed_func

def _lowered(graph, example):
    for node in graph.graph.nodes:
        if node.target is torch.ops.aten.embedding_dense_backward.default:
            node.args = (*node.args[:3], -1, *node.args[4:])
    graph.recompile()
    return make_boxed_func(graph.forward)

wrong = aot_autograd(fw_compiler=_lowered)
"""
HERE = ("--", "-n", "0")
RUN = ("run", "--profile", "quick", "-k", "padding and not row_training")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(BACKENDS, encoding="utf-8")
    return tmp_path


def test_a_wrong_backend_is_found_and_replayed_until_it_is_right(folder: Path) -> None:
    done = embcheck(*RUN, "--mode", "compile:mine:wrong", "--report", folder, *HERE, cwd=folder, ends=1)
    assert "VIOLATED  padding_row_gets_no_gradient   torch · compile:mine:wrong · cpu" in done.told
    assert "(imports torch and mine:wrong; run: it exits 1)" in done.told
    assert "  wrong   the backend mine:wrong; eager obeys the law on this case" in done.told
    (script,) = (folder / ".embcheck").glob("*.py")
    (folder / "mine.py").write_text(BACKENDS.replace("-1, *", "node.args[3], *"), encoding="utf-8")
    assert "FIXED" in embcheck("replay", script.stem, "--store", folder, cwd=folder).told


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("compile:nobody", "no backend 'nobody': torch has cudagraphs, "),
        ("compile_no_grad:mine:nothing", "backend 'mine:nothing': module 'mine' has no 'nothing'"),
        ("compile:mine:BACKEND", "backend 'mine:BACKEND': 'x' can't be called with a graph and its example inputs"),
        ("compile_no_grad:none:x", "backend 'none:x': no module 'none'"),
    ],
)
def test_what_is_no_backend_gets_one_line(
    mode: str, words: str, folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "mine.py").write_text("BACKEND = 'x'\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    (line,) = command(*RUN, "--mode", mode, ends=4).told.splitlines()
    assert line.startswith(f"embcheck: {words}")
