"""A module lists its parts in order, under every name, shared ones once, and its state holds them all."""

from typing import Any

import numpy as np

from embcheck.core.comparison import every, is_true, same, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.module_traversal import oracle
from embcheck.families.module_traversal.cases import DTYPES, SPACE, ModuleTraversalCase, kind, plan
from embcheck.families.module_traversal.containers import edited, edited_by_keys, joined_by_keys

module_traversal = Family("module_traversal", SPACE, plan, cost=10.0)
law = module_traversal.law
#: The hooks of a deep copy in the order in which they are called, and its mode.
COPIED = ["backward pre", "backward", "state pre", "state", "training"]


@law(
    "parameters(), buffers() and their named forms list every tensor in order, shared ones once.",
    source="nn.Module.named_parameters: prefix, recurse, remove_duplicate",
    must_cover={"shared_tensor", "shared_module", "deep", "prefix=a.b", "tree=buffers", "tree=void"},
)
def module_lists_its_tensors(case: ModuleTraversalCase, out: Outcome) -> Finding:
    def listings(what: str) -> list[Any]:
        plain = [[tensor for _, tensor in case.tensors(what, recurse=deep)] for deep in (True, False)]
        listed = [[case.tensors(what, case.prefix, deep, once) for once in (True, False)] for deep in (True, False)]
        return [[one, *two] for one, two in zip(plain, listed, strict=True)]

    return every(same(out.parameters, listings("parameters")), same(out.buffers, listings("buffers")))


@law(
    "modules(), children() and their named forms list parents first, shared modules once.",
    source="nn.Module.named_modules: remove_duplicate; named_children",
    must_cover={"shared_module", "deep"},
)
def module_lists_its_modules(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return every(
        same(out.modules, [node for _, node in case.modules("", True)]),
        same(out.named_modules_once, case.modules(case.prefix, True)),
        same(out.named_modules_all, case.modules(case.prefix, False)),
        same(out.children, [child for _, child in case.children]),
        same(out.named_children, case.children),
        is_true(out.gets, "get_submodule, get_parameter or get_buffer gave another thing"),
        is_true(out.sets, "set_submodule did not put a module in the place of another"),
    )


@law(
    "append() on a slice of a Sequential adds a module behind those of the slice.",
    source="nn.Sequential.append: append a given module to the end",
)
def append_keeps_the_modules_of_a_slice(case: ModuleTraversalCase, out: Outcome) -> Finding:
    children = [child for _, child in case.children]
    return same(out.sliced, [[*children[start:], case.root] for start in (0, 1)])


@law(
    "ModuleList and Sequential are edited as a list is, by indices, slices, sums and products; ModuleDict as a dict.",
    source="nn.ModuleList: can be indexed like a regular Python list; nn.Sequential; nn.ModuleDict",
    must_cover={"shared_module", "deep"},
)
def module_list_is_edited_as_a_list(case: ModuleTraversalCase, out: Outcome) -> Finding:
    children = [child for _, child in case.children]
    due = [edited([*children, case.root, *children], k) for k in range(10)]
    return every(
        same(out.edited, [due[:9], due]),
        same(out.by_keys, edited_by_keys(dict(case.children), case.root)),
        same(out.sliced_names, [list(pair) for pair in case.children]),
    )


@law(
    "ParameterList and ParameterDict hold the given Parameters, and so do their slices, sums, copies and unions.",
    source="nn.ParameterList: can be used like a regular Python list; nn.ParameterDict: setdefault, copy",
    must_cover={"shared_tensor", "frozen"},
)
def parameter_list_is_edited_as_a_list(case: ModuleTraversalCase, out: Outcome) -> Finding:
    names = case.parameters
    mapping = {f"p{k}": name for k, name in enumerate(names)}
    return every(
        same(out.parameters_edited, [edited([*names, "other", *names], k) for k in (4, 6, 8)]),
        same(out.parameters_by_keys, edited_by_keys(dict(mapping), "other")),
        same(out.parameters_joined, joined_by_keys(mapping, [*names, "other"][0], "other")),
    )


@law(
    "apply() calls the function on children before their parents and returns the module.",
    source="nn.Module.apply: applied recursively to every submodule as well as self",
    must_cover={"shared_module"},
)
def apply_is_post_order(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return every(
        same(out.applied, [case.applied()] * 4),
        is_true(out.applied_to_itself, "apply() returned another module or wrote"),
    )


#: What a module that is used as a whole must have had.
_OF_TENSORS = {"mixed", "tree=everything", "tree=view", "grads=sparse", "frozen", "layout=transposed"}


@law(
    "AveragedModel copies a module with its ties and flags, averages every Parameter once and copies or averages buffers.",
    source="torch.optim.swa_utils.AveragedModel: equal average, use_buffers",
    must_cover={*_OF_TENSORS, "shared_module"},
)
def averaged_module_is_the_mean_of_its_parameters(case: ModuleTraversalCase, out: Outcome) -> Finding:
    averages = oracle.averages(case)
    return same(out.averaged, [averages, 4, True] if averages else [])


@law(
    "torch.func.functional_call shows given tensors under every tied name, or with tie_weights=False under their own alone.",
    source="torch.func.functional_call: tie_weights, strict",
    must_cover={*_OF_TENSORS, "shared_module"},
)
def functional_call_shows_given_tensors(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return same(out.called, oracle.calls(case))


@law(
    "A parametrized Parameter shows its links, keeps its ties, and is the same one once they are removed.",
    source="torch.nn.utils.parametrize: register_parametrization, unsafe; remove_parametrizations, leave_parametrized",
    must_cover=_OF_TENSORS,
)
def parametrized_module_keeps_its_parts(case: ModuleTraversalCase, out: Outcome) -> Finding:
    shown = [[[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]], [0.0, 2.0, 4.0], True, oracle.holder(case)]
    return every(same(out.parametrized, oracle.links(case)), same(out.linked, [shown, shown]))


@law(
    "state_dict() lists parameters, persistent buffers and children under every name.",
    source="nn.Module.state_dict: prefix, keep_vars, destination; register_buffer: persistent",
    must_cover={"shared_tensor", "shared_module", "frozen", "prefix=m.", "layout=transposed", "tree=buffers"},
)
def state_dict_lists_every_name(case: ModuleTraversalCase, out: Outcome) -> Finding:
    wanted = case.state(case.prefix)
    trains = [kind(tensor) == "parameters" and tensor not in case.frozen for _, tensor in wanted]
    kinds = [case.described(tensor) for _, tensor in wanted]
    states = [[wanted, [(kept, kept and each) for each in trains], kinds] for kept in (False, True)]
    return every(
        same(out.states, states),
        same(out.simple, case.state()),
        is_true(out.destination, "another dict than the given one was returned, or it has a Parameter"),
        same(out.destination_entries, list({"before": "?", **dict(wanted)}.items())),
    )


@law("eval() and train() reach every module.", source="nn.Module.train", must_cover={"deep", "evaluating"})
def train_and_eval_reach_every_module(case: ModuleTraversalCase, out: Outcome) -> Finding:
    modes = [not case.evaluating] * len(case.modules("", True))
    modes[-1] ^= case.mixed
    return every(
        same(out.modes, [modes, [case.evaluating] * len(modes), [True] * 2]),
        is_true(out.trained, "train() changed a number, a stride, or which Parameters learn"),
    )


@law(
    "requires_grad_() and zero_grad() reach every Parameter, frozen ones too.",
    source="nn.Module.requires_grad_, zero_grad",
    must_cover={"deep", "frozen"},
)
def zero_grad_and_requires_grad_reach_every_parameter(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return same(out.flags, [*[[True] * len(case.parameters)] * 11, [True] * 10])


@law(
    "A module keeps its parts: listing them, train(), requires_grad_() and zero_grad() change no name, tie, value or other flag.",
    source="nn.Module.train, requires_grad_, zero_grad, register_parameter",
    must_cover={"mixed", "tree=everything", "tree=view", "grads=sparse"},
)
def module_keeps_its_parts(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return every(
        same(out.parts, oracle.picture(case, oracle.as_built)),
        same(out.parts_left, oracle.picture(case, oracle.as_built, left=True)),
    )


@law(
    "copy.deepcopy and pickle give the same parts, ties, values, flags and hooks in memory of their own, without gradients.",
    source="copy.deepcopy; pickle; nn.Parameter.__deepcopy__",
    must_cover={*_OF_TENSORS, "shared_module", "turn=0"},
)
def copied_module_has_the_same_parts(case: ModuleTraversalCase, out: Outcome) -> Finding:
    forms = (oracle.as_copied, *[oracle.as_built] * 2)
    return every(
        same(out.copies, [*([oracle.picture(case, form), *[False] * 3] for form in forms), *[True] * 7]),
        UNASKED if case.seed % 4 else same(out.copied_hooks, COPIED),
    )


@law(
    "copy.copy of a module has the same Parameters, parts and flags, and their gradients.",
    source="copy: a shallow copy inserts references to the objects found in the original; nn.Module.__setstate__",
    must_cover={"grads=sparse", "grads=dense", "shared_tensor", "mixed", "tree=everything"},
)
def shallow_copy_shares_parameters_and_gradients(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return same(out.shallow, [True] * 4)


@law(
    "load_state_dict() restores every persistent tensor, tie by tie, with its gradient, or with assign=True name by name.",
    source="nn.Module.load_state_dict: assign; register_buffer: persistent",
    must_cover={"mixed", "tree=everything", "passing", "frozen", "layout=transposed", "shared_module"},
)
def loaded_module_has_the_saved_values(case: ModuleTraversalCase, out: Outcome) -> Finding:
    # What is assigned is a new Parameter.
    forms = {oracle.as_loaded: bool(case.grads), oracle.as_assigned: False}
    graded = [[kept] * bool(case.parameters) for kept in forms.values()]
    keys = [name for name, _ in case.state()]
    beside = [[] if (assign + case.seed % 4 // 2) % 2 else ["beside"] for assign in (0, 1)]
    loads = [
        [oracle.picture(case, form), more, kept, [*keys, *more]]
        for form, more, kept in zip(forms, beside, graded, strict=True)
    ]
    return same(out.loads, loads)


@law(
    "to_empty(recurse=False) keeps what submodules hold, and all but the numbers of the module's own tensors.",
    source="nn.Module.to_empty: without copying storage; recurse",
    must_cover={*_OF_TENSORS, "shared_module", "tree=buffers"},
)
def to_empty_keeps_the_tensors_of_submodules(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return same(out.emptied, [True] * 2)


@law(
    "A dtype conversion converts every floating-point tensor; Parameters stay the same objects.",
    source="nn.Module.to: only accepts and casts floating point; double, half, bfloat16, float; type: all",
    must_cover={
        "tree=buffers",
        "convert=to_like",
        "convert=half",
        "convert=type_double",
        "shared_tensor",
        "tree=buffers & convert=single & dtype=float64",
    },
)
def dtype_conversion_reaches_every_tensor(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return every(
        is_true(out.converted_itself, "the conversion returned another module, or repeated it changes numbers"),
        same(out.converted, oracle.picture(case, oracle.as_converted)),
        same(out.converted_same, case.parameters),
        same(out.converted_layers, oracle.converted_layers(case)),
        same(out.moved, oracle.moves(case)),
        same(out.hooked_dtypes, [DTYPES[case.convert] or case.described(tensor)[0] for tensor in case.parameters]),
    )


@law(
    "A conversion converts .grad with its Parameter.",
    source="nn.Module.to: parameters and their gradients",
    when=lambda case: case.grads != "",
    must_cover={"grads=dense", "grads=sparse", "convert=half", "shared_tensor", "frozen"},
)
def conversion_converts_gradients(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return same(out.converted_gradients, oracle.gradients(case, DTYPES[case.convert]))


@law(
    "A conversion keeps the hooks of Parameters; a backward pass calls each once.",
    source="Tensor.register_hook; torch.utils.swap_tensors: preserving its identity",
    must_cover={"convert=half", "convert=nothing", "swapped", "shared_tensor", "frozen"},
)
def conversion_keeps_parameter_hooks(case: ModuleTraversalCase, out: Outcome) -> Finding:
    learning = [name for name, tensor in case.tensors("parameters") if tensor not in case.frozen]
    return same(out.hooks, [(name, word) for name in learning for word in ("gradient", "accumulated")])


@law(
    "Hooks, also those of all modules, are given each argument and result, and what they return replaces it.",
    source="nn.Module.register_forward_pre_hook: modified input; register_full_backward_hook: None for all non-Tensor arguments; "
    "torch.nn.modules.module.register_module_forward_hook: with_kwargs, always_call; register_module_module_registration_hook",
    must_cover={"turn=0"},
)
def hooks_replace_what_they_are_given(case: ModuleTraversalCase, out: Outcome) -> Finding:
    table = np.arange(6.0).reshape(3, 2)
    bags = [[table[0], table[1] + table[2]], [table[0], 2 * table[1] + 3 * table[2]]]
    of_all = [table[1:].tolist(), ["input"], ["always"] * 3 + ["raised"], [3.0, 3.0], "Sequential", True, [True, False]]
    return every(
        same(out.replaced, [*np.array(bags).tolist(), "float64"]),
        same(out.hooks_of_all, of_all) if "hooks_of_all" in out else UNASKED,
    )


def recorded(case: ModuleTraversalCase) -> list[str]:
    """The keys of the state of a model's sum: each tensor under its first name."""
    there = [*case.tensors("parameters"), *case.tensors("buffers")]
    return sorted(f"model.{name}" for name, tensor in there if not tensor.endswith("scratch"))


@law(
    "torch.fx.symbolic_trace keeps the model's tensors and its state_dict.",
    source="torch.fx.symbolic_trace",
    must_cover={"shared_tensor", "shared_module", "deep", "frozen", "passing"},
)
def fx_trace_keeps_the_state_dict(case: ModuleTraversalCase, out: Outcome) -> Finding:
    wanted = recorded(case)
    words = is_true(out.traced_same, "a tensor is missing, or another one")
    return every(words, same(out.traced.derived(f"[name for name in {{}} if name in {wanted}]"), wanted))


@law(
    "torch.fx.symbolic_trace adds no entry to the state_dict.",
    source="torch.fx.symbolic_trace; register_buffer: persistent",
    must_cover={"passing", "tree=buffers"},
)
def fx_trace_adds_nothing_to_state_dict(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return same(out.traced.derived(f"[name for name in {{}} if name not in {recorded(case)}]"), [])


@law("Listing a module's members writes nothing.", source="no side effects")
def module_traversal_writes_nothing(case: ModuleTraversalCase, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = module_traversal.tests()
