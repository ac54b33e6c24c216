"""A tied model that is loaded, copied, traced, exported or compiled is the same tied model afterwards."""

import numpy as np

from embcheck.core.comparison import every, is_true, same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.tie_export.cases import FACTORS, MODELS, PLAIN, SPACE, TieExportCase, plan

tie_export = Family("tie_export", SPACE, plan, cost=40.0)
law = tie_export.law


def on_a_route(case: TieExportCase) -> bool:
    return case.what == "route"


@law(
    "A tied weight stays one Parameter under all of its names.",
    source="nn.Module.named_parameters; load_state_dict, to_empty, fx.GraphModule, torch.jit, torch.export.unflatten",
    when=on_a_route,
    must_cover={"structure=shared", "structure=head_first", "route=symbolic_pickled", "route=traced_saved", "route=unflattened",
             "route=exported_decomposed", "route=meta_emptied_swapping", "bias", "frozen"},
)  # fmt: skip
def export_keeps_tied_weight_one_parameter(case: TieExportCase, out: Outcome) -> Finding:
    return every(same(out.count, 1 + case.bias), same(out.objects, 1))


@law(
    "The state_dict keeps the model's names, each once, behind a wrapper's prefix.",
    source="nn.Module.state_dict; ExportedProgram.module: a self contained GraphModule with all the parameters and buffers",
    when=lambda case: on_a_route(case) and case.named,
    must_cover={"structure=shared", "route=exported", "route=unflattened", "route=compiled", "route=scripted", "bias"},
)
def export_keeps_state_dict_names(case: TieExportCase, out: Outcome) -> Finding:
    return every(same(out.names, case.names), same(out.listed, case.names))


@law(
    "The model's own state_dict loads strictly afterwards and gives its outputs.",
    source="nn.Module.load_state_dict: strict",
    when=lambda case: on_a_route(case) and case.named,
    must_cover={"structure=shared", "bias"}
    | {f"route={name}" for name in ("exported", "unflattened", "compiled", "traced_saved")},
)
def exported_model_loads_the_checkpoint(case: TieExportCase, out: Outcome) -> Finding:
    if out.refusal.raw:
        return same(out.refusal, "")
    return same(out.restored, case.value(2 * case.weight, 2 * case.bias_values))


@law(
    "Parameters stay leaves, and exactly the frozen ones stay frozen.",
    source="nn.Parameter; copy.deepcopy, torch.jit.load, load_state_dict: assign",
    when=on_a_route,
    must_cover={"frozen & route=exported", "copies", "route=scripted_saved", "route=unflattened", "bias"},
)
def exported_parameters_are_leaves(case: TieExportCase, out: Outcome) -> Finding:
    wanted = [(False, True)] * case.bias + [(True, not case.frozen)]
    return every(is_true(out.leaves, "a Parameter is computed from another one"), same(out.trains, wanted))


@law(
    "The outputs equal those of the tied model.",
    source="the definitions of embedding and linear",
    when=on_a_route,
    must_cover={"structure=shared", "bias", "padded", "route=symbolic_transformed"}
    | {"route=compiled", "route=compiled_and_retied", "route=exported_saved & layout=transposed"},
)
def exported_outputs_equal_the_models(case: TieExportCase, out: Outcome) -> Finding:
    return same(out.value, case.value(case.weight, case.bias_values))


@law(
    "The gradient of the outputs reaches the Parameters of the model that computed them, and no other's.",
    source="the chain rule; copy.deepcopy, pickle, torch.jit.load: a copy is independent",
    when=on_a_route,
    must_cover={"structure=shared", "padded", "copies", "route=traced", "route=exported", "frozen"},
)
def exported_gradients_reach_their_parameters(case: TieExportCase, out: Outcome) -> Finding:
    return every(same(out.gradient, case.gradient), same(out.strayed, 0))


@law(
    "After a step of SGD outputs equal the tied model's, and the weight equals itself under all names.",
    source="torch.optim.SGD; named_parameters: one Parameter",
    when=on_a_route,
    must_cover={"structure=shared", "padded", "copies", "route=compiled", "route=symbolic_copied", "bias"},
)
def exported_model_trains_as_the_tied_model(case: TieExportCase, out: Outcome) -> Finding:
    weight, bias = case.stepped
    everywhere = np.broadcast_to(weight, out.weights.values.shape)
    return every(same(out.stepped, case.value(weight, bias)), same(out.weights, everywhere))


@law(
    "Training a copy leaves the original unchanged.",
    source="copy.deepcopy, pickle, torch.save, torch.jit.load, torch.export.unflatten: a copy is independent",
    when=lambda case: case.copies,
    must_cover={"structure=shared", "route=symbolic_copied", "route=unflattened", "route=scripted_saved", "bias"},
)
def training_a_copy_leaves_the_original(case: TieExportCase, out: Outcome) -> Finding:
    return same(out.left, case.value(case.weight, case.bias_values))


@law(
    "Parametrizing the head leaves the tied embedding with its rows.",
    source="parametrize.register_parametrization: a tensor in a module; right_inverse: the original tensor's initial value",
    when=lambda case: case.what == "parametrized",
    must_cover={"route=doubled", "route=normed", "route=normed_spectrally", "structure=shared", "padded", "frozen"},
)
def parametrized_head_leaves_the_embedding(case: TieExportCase, out: Outcome) -> Finding:
    return same(out.rows, case.weight)


@law(
    "A parametrized head computes its weight from the original Parameter, or from right_inverse's result.",
    source="parametrize.register_parametrization: the original tensor is under module.parametrizations.weight.original",
    when=lambda case: case.what == "parametrized" and (case.route in FACTORS or case.route in PLAIN),
    must_cover={"route=doubled", "route=halved", "route=normed_spectrally", "structure=shared"},
)
def parametrized_head_keeps_the_original_tensor(case: TieExportCase, out: Outcome) -> Finding:
    return every(
        same(out.product, FACTORS[case.route] * case.weight) if case.route in FACTORS else UNASKED,
        is_true(out.original, "the original tensor is not the head's Parameter") if case.route in PLAIN else UNASKED,
    )


@law(
    "stack_module_state, vmap and functional_call give what each tied model gives.",
    source="torch.func.stack_module_state; functional_call: tie_weights; the tutorial on ensembles, with its base on meta",
    when=lambda case: case.what == "ensemble",
    must_cover={"route=cpu", "structure=shared", "structure=head_first", "bias", "padded"},
)
def ensemble_outputs_equal_the_models(case: TieExportCase, out: Outcome) -> Finding:
    if out.place.raw == "meta":
        return same(out.place, "a device with memory")
    return same(out.value, np.stack([case.value(k * case.weight, case.bias_values) for k in MODELS]))


test_scope, test_product, test_random = tie_export.tests()
