# law:  An integer buffer that is averaged is the mean of what it was, but for a fraction.
# case: Aftercare(what='average', buffers=True, counter=True)
# got:  the counts 1 to 6 were averaged to [1, 1, 1, 1, 1, 1], their means are [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.optim.swa_utils

torch.set_num_threads(1)
values = torch.full((22,), torch.nan).as_strided((6,), (1,), 8).copy_(torch.tensor([1, 3, -5, 8, 0, 2]))


def averaged(values ):

    swa = torch.optim.swa_utils
    layer = torch.nn.Linear(1, 1, bias=False, dtype=values.dtype)
    layer.words = torch.nn.Embedding(1, 1, dtype=values.dtype)
    layer.words.weight = layer.weight
    layer.register_buffer("seen", torch.zeros(1, dtype=values.dtype))
    layer.register_buffer("steps", torch.zeros((), dtype=torch.int64))
    layer.requires_grad_(True)
    how = {
        "equal": {},
        "ema": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.75)},
        "ema_single": {"avg_fn": swa.get_ema_avg_fn(0.75)},
        "swa": {"multi_avg_fn": swa.get_swa_multi_avg_fn()},
        "own": {"avg_fn": lambda average, value, count: 0.5 * average + 0.5 * value},
    }['equal']
    model = swa.AveragedModel(layer, use_buffers=True, **how)

    weights, seen, others, counts = [], [], [], []
    for step, value in enumerate(values):
        with torch.no_grad():
            layer.weight.fill_(value)
            layer.seen.fill_(value)
            layer.steps.add_(1)
        model.update_parameters(layer)
        weights.append(model.module.weight.detach().reshape(()).clone())
        seen.append(model.module.seen.detach().reshape(()).clone())
        counts.append(int(model.module.steps))
        others.append((model.module.weight).detach().reshape(()).clone())
    return {"counts": counts}


seen = averaged(values=values)
got, expected, wrong = max(abs(got - mean) for got, mean in zip(seen["counts"], [1.0, 1.5, 2.0, 2.5, 3.0, 3.5], strict=True)), 0.0, 2.5
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 1.0 else 1 if abs(got - wrong) <= 1.0 else 2)
