# law:  What a checkpoint notes of its modules, their versions, stays as it is: it can be loaded again, in another way.
# case: Checkpoint(assign=True, container='state')
# got:  what the checkpoint notes of its modules changed
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, 2], [3, 4], [5, 6]]))
bias = torch.full((19,), torch.nan).as_strided((3,), (1,), 8).copy_(torch.tensor([1, 2, 3]))
rows = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1.021484375, 2.021484375], [3.021484375, 4.021484375], [5.021484375, 6.021484375]], dtype=torch.float32))
columns = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[-0.978515625, -1.978515625], [-2.978515625, -3.978515625], [-4.978515625, -5.978515625]], dtype=torch.float32))
vector = torch.full((19,), torch.nan).as_strided((3,), (1,), 8).copy_(torch.tensor([1.021484375, 2.021484375, 3.021484375], dtype=torch.float32))
pair = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).copy_(torch.tensor([-0.978515625, -1.978515625], dtype=torch.float32))


def fits(value):
    return value


def restored(keys, weight, bias, **stored):

    model = torch.nn.Module()
    model.words = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight)
    model.deep = torch.nn.Sequential(torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype))
    model.deep[0].bias = torch.nn.Parameter(bias)
    model.register_buffer("mean", torch.zeros(2, dtype=weight.dtype))
    model.register_buffer("count", torch.tensor(3))
    model.register_buffer("scratch", torch.full((1,), 5.0), persistent=False)
    slots = {"words.weight": stored["rows"], "deep.0.weight": stored["columns"], "deep.0.bias": stored["vector"],
             "mean": stored["pair"], "count": torch.tensor(11)}  # fmt: skip
    said = {}
    slots = {
        said.get(key, key): fits(slots[key]) if key == 'words.weight' else slots[key] for key in keys if key not in ()
    }
    slots |= {key: torch.ones(1) for key in ()}
    state = slots
    state = model.state_dict()
    state.clear()
    state.update(slots)
    notes = repr(getattr(state, "_metadata", None))

    def look():
        return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}

    before = look()
    marks = {name: (thing.data_ptr(), thing.requires_grad, thing._version) for name, thing in before.items()}
    told = []
    model.register_load_state_dict_post_hook(lambda module, found: told.append((module, found)))
    prefixes = []
    if hasattr(model, "register_load_state_dict_pre_hook"):  # the public name since torch 2.5
        model.deep[0].register_load_state_dict_pre_hook(lambda module, state, prefix, *rest: prefixes.append(prefix))
    else:
        prefixes.append("deep.0.")
    try:
        with torch.set_grad_enabled(True):
            found = model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError:
        after = look()
        if list(after) != list(before) or any(p.requires_grad != marks[name][1] for name, p in after.items()):
            raise AssertionError("a refused checkpoint left another module") from None
        raise
    after = look()
    seen = {"notes": repr(getattr(state, "_metadata", None)) == notes}
    return seen | {f"value{k}": thing.detach().clone() for k, thing in enumerate(after.values())}


seen = restored(weight=weight, bias=bias, rows=rows, columns=columns, vector=vector, pair=pair, keys=('words.weight', 'deep.0.weight', 'deep.0.bias', 'mean', 'count',))
got, expected, wrong = bool(seen["notes"]), True, False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
