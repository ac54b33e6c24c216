"""What contradicts itself at sites in Python, and what changes nothing there, is not drawn; torch shows each."""

import inspect
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from test_drawn_faults import in_vain
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from selfcheck.contradictions import contradictory
from selfcheck.drawn import damages
from selfcheck.python_damages import PYTHON_DAMAGES
from selfcheck.python_sites import PYTHON_SITES
from selfcheck.rules import COUNTING, WITHOUT
from selfcheck.site import Call, layout

_OPTIMIZERS = {name.lower(): name for name in dir(torch.optim)}


#: Of the steps that take dense gradients.
_STEPS = [
    site
    for site in PYTHON_SITES
    if site.partition(".")[2] in ("plain", "foreach", "fused") and not site.startswith("sparse_adam")
]


_REFUSALS = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)


def _step(name: str, form: str, *, sparse: bool = False, shape: tuple[int, ...] = (3, 2), **flags: bool) -> None:
    """An optimizer takes a step."""
    leaf = nn.Parameter(torch.ones(shape))
    leaf.grad = torch.ones(shape).to_sparse(1) if sparse else torch.ones(shape)
    form_of = {"fused": True} if form == "fused" else {"foreach": form == "foreach"}
    flags |= {} if name in ("Muon", "SparseAdam") else form_of
    getattr(torch.optim, name)([leaf], lr=0.1, **flags).step()


def _steps(*given: Any, **flags: Any) -> bool:
    try:
        _step(*given, **flags)
    except _REFUSALS:
        return False
    return True


@pytest.mark.parametrize("site", _STEPS)
def test_what_a_step_refuses_is_not_drawn(site: str) -> None:
    name, _, form = site.partition(".")
    name = _OPTIMIZERS[name]
    assert _steps(name, form, sparse=True) is not contradictory(["grads_layout=sparse"], site)
    if "capturable" in PYTHON_SITES[site].signature.parameters and form != "fused":
        assert _steps(name, form, capturable=True) is not contradictory(["capturable"], site)
    assert not (_steps(name, form, differentiable=True) and contradictory(["differentiable"], site))
    assert _steps(name, form, shape=(3,)) is not contradictory(["params_rank=1"], site)


@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name in ("SGD", "Adagrad") for form in ("plain", "foreach")]
)
def test_no_step_takes_weight_decay_beside_a_sparse_gradient(name: str, form: str) -> None:
    site = f"{name.lower()}.{form}"
    assert _steps(name, form, sparse=True, maximize=True)
    assert not _steps(name, form, sparse=True, weight_decay=True)
    assert not contradictory(["grads_layout=sparse", "maximize"], site)
    assert contradictory(["grads_layout=sparse", "weight_decay>0"], site)


@pytest.mark.parametrize("given", ["params_layout=strided", "grads_layout=expanded", "grads_layout=rows_strided"])
def test_parameters_of_one_element_are_contiguous_and_so_are_their_gradients(given: str) -> None:
    assert layout(torch.ones(4)[::2][:1]) == layout(torch.ones(2, 0).mT) == "contiguous"
    assert contradictory([given, "params_numel=1"], "sgd.foreach")
    assert contradictory(["params=1", "params_numel=1", "params_columns=7"], "sgd.foreach")
    assert not contradictory(["params=2", "params_numel=1", "params_columns=7"], "sgd.foreach")


def test_sparse_adam_counts_a_step_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[list[int]] = []
    monkeypatch.setattr(
        "torch.optim._functional.sparse_adam",
        lambda params, grads, averages, squares, steps, **flags: counted.append(steps),
    )
    leaf = torch.nn.Parameter(torch.ones(3, 2))
    leaf.grad = torch.ones(3, 2).to_sparse(1)
    torch.optim.SparseAdam([leaf]).step()
    assert counted == [[1]]
    assert contradictory(["step=0"], "sparse_adam.plain")
    assert not contradictory(["step=1"], "sparse_adam.plain")


@pytest.mark.parametrize(
    ("site", "condition", "taken", "call"),
    [
        ("F.embedding", "weight_rank=3", "weight_rank=2", lambda: F.embedding(torch.tensor([0]), torch.ones(2, 2, 2))),
        ("F.embedding_bag", "weight_rank=1", "weight_rank=2", lambda: F.embedding_bag(torch.tensor([[0]]), torch.ones(2))),
        ("F.embedding_bag", "input_rank=0", "input_rank=2", lambda: F.embedding_bag(torch.tensor(0), torch.ones(2, 2))),
        ("F.linear", "weight_rank=3", "weight_rank=2", lambda: F.linear(torch.ones(2), torch.ones(2, 2, 2))),
        ("Embedding.from_pretrained", "embeddings_rank=1", "embeddings_rank=2",
         lambda: nn.Embedding.from_pretrained(torch.ones(2))),
        ("EmbeddingBag.from_pretrained", "embeddings_rank=3", "embeddings_rank=2",
         lambda: nn.EmbeddingBag.from_pretrained(torch.ones(2, 2, 2))),
        ("nn.init.eye_", "tensor_rank=3", "tensor_rank=2", lambda: nn.init.eye_(torch.ones(2, 2, 2))),
        ("nn.init.sparse_", "tensor_rank=1", "tensor_rank=2", lambda: nn.init.sparse_(torch.ones(2), 0.5)),
        ("nn.init.dirac_", "tensor_rank=2", "tensor_rank=3", lambda: nn.init.dirac_(torch.ones(2, 2))),
        *((f"nn.init.{name}", "tensor_rank=1", "tensor_rank=2", partial(getattr(nn.init, name), torch.ones(2)))
          for name in ("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_")),
        *(("nn.init.orthogonal_", f"tensor_dtype={name}", "tensor_dtype=float32",
           partial(nn.init.orthogonal_, torch.ones(2, 2, dtype=getattr(torch, name)))) for name in ("float16", "bfloat16")),
        ("nn.utils.parametrizations._Orthogonal.forward", "X_rank=1", "X_rank=2",
         lambda: nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), "bias")),
        ("sparse_adam.plain", "grads_layout=expanded", "grads_layout=sparse", lambda: _step("SparseAdam", "plain")),
        ("EmbeddingBag.__init__", "padding_idx=1 & num_embeddings=1", "padding_idx=1 & num_embeddings=2",
         lambda: nn.EmbeddingBag(1, 2, padding_idx=1)),
        *(("func.grad", "argnums>=2 & args=1", "argnums>=2 & args=2",
           lambda argnums=argnums: torch.func.grad(torch.sum, argnums=argnums)(torch.ones(2))) for argnums in (2, (0, -1))),
        ("nn.utils.parametrize.remove_parametrizations", "parts=1", "parts>3",
         lambda: nn.utils.parametrize.remove_parametrizations(nn.Linear(2, 2), "weight")),
    ],
)  # fmt: skip
def test_what_torch_refuses_is_not_drawn(site: str, condition: str, taken: str, call: Callable[[], object]) -> None:
    with pytest.raises(_REFUSALS):
        call()
    assert contradictory([condition], site)
    assert contradictory([condition]) is ("&" in condition), "what excludes each other does so everywhere"
    assert not contradictory([taken], site)


def test_what_pickled_parametrized_and_averaged_modules_have() -> None:
    layer = nn.Bilinear(2, 2, 2)
    layer.weight.grad = torch.ones(2, 2, 2)
    layer.bias = nn.Parameter(layer.weight.detach()[0, 0])
    found = pickle.loads(pickle.dumps(layer))
    assert found.weight.grad is None
    assert found.bias.untyped_storage()._cdata != found.weight.untyped_storage()._cdata
    assert all(contradictory([each], "pickle.loads") for each in ("grads>=1", "shared_storage"))
    part = nn.Module()
    part.weight = nn.Parameter(torch.ones(2, 2))
    nn.utils.parametrize.register_parametrization(part, "weight", nn.Identity())
    assert len(list(part.modules())) == 4
    model = nn.Linear(2, 2)
    model.weight.grad = torch.ones(2, 2)
    assert [each.grad for each in torch.optim.swa_utils.AveragedModel(model).parameters()] == [None, None]
    assert "drop(gradient)" not in {each.name for each in damages("AveragedModel.__init__")}


def test_an_optimizer_has_no_more_states_than_parameters_and_counts_its_steps_first() -> None:
    for name in ("SGD", "Adafactor", "ASGD", *COUNTING):
        leaves = [nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
        optimizer = getattr(torch.optim, name)(leaves, lr=0.1, **({"momentum": 0.5} if name == "SGD" else {}))
        for leaf in leaves:
            leaf.grad = torch.ones(2, 2)
        optimizer.step()
        states = [each for each in tree_leaves(list(optimizer.state.values())) if isinstance(each, torch.Tensor)]
        assert len(optimizer.state) == len(leaves)
        assert name not in COUNTING or states[0].dim() == 0
    assert contradictory(["params=1", "stepped>=2"], "Optimizer.load_state_dict")
    for name in ("NAdam", "SGD"):
        assert in_vain(f"Optimizer.load_state_dict  optimizer={name}  ->  repeat(first)") is (name == "NAdam")


@pytest.mark.parametrize(
    ("site", "result", "damage"),
    [
        ("nn.utils.get_total_norm", lambda: nn.utils.get_total_norm([nn.Parameter(torch.ones(3))]), "swap"),
        ("nn.utils.get_total_norm", lambda: nn.utils.get_total_norm([nn.Parameter(torch.ones(3))]),
         "zero(gradient)"),
        ("nn.utils.parameters_to_vector", lambda: nn.utils.parameters_to_vector([torch.ones(2, 2)]), "restride"),
        ("GradScaler.state_dict", lambda: torch.amp.GradScaler("cpu").state_dict(), "zero(first)"),
        ("GradScaler.state_dict", lambda: torch.amp.GradScaler("cpu").state_dict(), "clone(last)"),
        ("Optimizer.state_dict", lambda: torch.optim.SGD([torch.ones(2)]).state_dict(), "clone(last)"),
    ],
)  # fmt: skip
def test_what_changes_nothing_at_a_site_is_no_damage_of_it(site: str, result: Callable[[], Any], damage: str) -> None:
    found = result()
    assert PYTHON_DAMAGES[damage].plan(PYTHON_SITES[site], Call({}, {}), found) is None
    assert damage not in {each.name for each in damages(site)}


def test_two_parameters_of_different_dtypes_are_not_tied() -> None:
    part = nn.Module()
    part.one, part.other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2).double())
    site = PYTHON_SITES["Module.requires_grad_"]
    assert PYTHON_DAMAGES["tie"].plan(site, Call({"self": part}, {}), part) is None
    part.third = nn.Parameter(torch.zeros(2))
    assert PYTHON_DAMAGES["tie"].plan(site, Call({"self": part}, {}), part) is not None
    assert in_vain("Module.requires_grad_  parameters=2 & mixed  ->  tie")
    assert not in_vain("Module.requires_grad_  parameters=3 & mixed  ->  tie")


def test_an_argument_that_a_call_has_not_meets_no_condition() -> None:
    for site, name in (("func.hessian", "has_aux"), ("AveragedModel.update_parameters", "use_buffers")):
        assert name not in PYTHON_SITES[site].signature.parameters
        assert contradictory([name], site)
        assert contradictory([f"{name}=False"], site)
    assert not contradictory(["use_buffers"], "AveragedModel.__init__")


def test_a_number_has_no_columns_and_its_layout_is_contiguous() -> None:
    assert contradictory(["args_numel=1", "args_columns=17", "args=1"], "func.grad")
    assert not contradictory(["args_numel=1", "args_columns=17", "args=2"], "func.grad")
    assert contradictory(["parameters_layout=transposed", "parameters_numel=1"], "nn.utils.parameters_to_vector")


def test_weights_of_classes_and_likelihoods_without_gradients_have_none() -> None:
    weight = torch.ones(3, requires_grad=True)
    for loss in (F.nll_loss, F.cross_entropy):
        with pytest.raises(RuntimeError, match="not differentiable"):
            loss(torch.ones(2, 3), torch.tensor([0, 1]), weight)
    assert not F.nll_loss(torch.ones(2, 3), torch.tensor([0, 1])).requires_grad
    assert F.nll_loss(torch.ones(2, 3), torch.tensor([0, 1])).dim() == 0
    assert F.nll_loss(torch.ones(2, 3), torch.tensor([0, 1]), reduction="none").dim() == 1
    for line in (
        "F.nll_loss  input_frozen  ->  zero(gradient)",
        "F.nll_loss  reduction=mean  ->  restride",
        "nn.init.uniform_  tensor_numel=0  ->  nan(last)",
        "nn.utils.parametrizations._Orthogonal.forward  X_frozen  ->  double(gradient)",
    ):
        assert in_vain(line)


def test_an_optimizer_has_not_every_argument_and_takes_one_path() -> None:
    leaves = [nn.Parameter(torch.ones(2))]
    for name, flags in WITHOUT.items():
        assert not {*flags} & {*inspect.signature(getattr(torch.optim, name)).parameters}
        assert all(contradictory([f"optimizer={name}", flag], "Optimizer.state_dict") for flag in flags)
    for name in ("SGD", "Adam", "AdamW", "Adagrad"):
        with pytest.raises(RuntimeError, match="cannot be"):
            getattr(torch.optim, name)(leaves, lr=0.5, foreach=True, fused=True)
        assert not contradictory([f"optimizer={name}", "fused"], "Optimizer.state_dict")
    assert contradictory(["foreach", "fused"], "Optimizer.load_state_dict")


def test_one_class_has_no_loss_and_nothing_has_no_gradient() -> None:
    for shape, target in (((3, 1), torch.zeros(3).long()), ((1,), torch.tensor(0)), ((2, 1), torch.rand(2, 1))):
        logits = torch.randn(shape, requires_grad=True)
        loss = F.cross_entropy(logits, target, reduction="sum", label_smoothing=0.25)
        loss.backward()
        assert loss == 0
        assert logits.grad is not None
        assert not logits.grad.any()
    for reduction in ("none", "mean", "sum"):
        for of_nothing in (F.nll_loss, F.cross_entropy):
            assert not of_nothing(torch.ones(0, 3), torch.zeros(0).long(), reduction=reduction).nan_to_num().any()
        assert not F.cross_entropy(torch.ones(2, 0), torch.ones(2, 0), reduction=reduction).nan_to_num().any()
    plain, shared = nn.Linear(1, 1), nn.Sequential(*[nn.Identity()] * 2)
    counts = [len([*each.named_modules(remove_duplicate=once)]) for each in (plain, shared) for once in (True, False)]
    assert counts == [1, 1, 2, 3]
    assert torch.func.hessian(lambda x: (x**2).sum())(torch.zeros(0, 2)).numel() == 0
    for line, nothing in {
        "F.cross_entropy  input_rank=2 & input_columns=1  ->  negate(last)": True,
        "F.cross_entropy  input_rank=3 & input_columns=1  ->  negate(last)": False,
        "F.cross_entropy  input_numel=1  ->  nan(last)": False,
        "F.nll_loss  input_numel=0  ->  double(first)": True,
        "F.nll_loss  input_numel=1  ->  double(first)": False,
        "func.functional_call  strict  ->  give(strict=not)": True,
        "Module.named_modules  parts=1  ->  reverse": True,
        "Module.named_modules  shared_part=False  ->  give(remove_duplicate=not)": True,
        "func.hessian  args_numel=0  ->  nan(last)": True,
        "nn.utils.parameters_to_vector  parameters_numel=0  ->  zero(gradient)": True,
    }.items():
        assert in_vain(line) is nothing


def test_a_sum_of_nothing_is_zero_and_a_single_parameter_is_what_every_name_stands_for() -> None:
    for given, weight in ((torch.ones(0, 3), torch.ones(2, 3)), (torch.ones(0), torch.ones(2, 0))):
        assert not F.linear(given, weight).any()
    assert F.linear(torch.ones(0, 3), torch.ones(2, 3), torch.ones(2)).numel() == 0
    assert F.linear(torch.ones(2, 0), torch.ones(2, 0), torch.ones(2)).all()
    layer = nn.Linear(2, 2, bias=False)
    layer.other = layer.weight
    for once in (True, False):
        pairs = layer.named_parameters(remove_duplicate=once)
        assert PYTHON_DAMAGES["swap(values)"].plan(PYTHON_SITES["Module.named_parameters"], Call({}, {}), pairs) is None
    for line, nothing in {
        "F.linear  input_numel=0 & weight_numel=1  ->  stale": True,
        "F.linear  input_numel=0  ->  stale": False,
        "F.linear  input_numel=0 & bias=None  ->  cast(bfloat16)": True,
        "F.linear  input_numel=0 & bias=None  ->  stale": False,
        "F.linear  input_numel=0 & bias  ->  cast(bfloat16)": False,
        "F.linear  weight_numel=0 & bias=None  ->  swap": True,
        "Module.named_parameters  parameters=1  ->  swap(values)": True,
        "Module.named_parameters  parameters=2  ->  swap(values)": False,
    }.items():
        assert in_vain(line) is nothing
