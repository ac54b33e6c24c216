# law:  AveragedModel copies first and then averages, equally or exponentially; buffers too where asked, else their last value.
# case: Aftercare(what='average', average='swa', dtype='float64')
# got:  -0.33333340287208557 1.7499999478459358 1.3999999530613425 1.4999999638646846, expected
# -0.33333333333333304 1.75 1.3999999999999999 1.5 within 2.13e-14 (4 of 6 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.optim.swa_utils

torch.set_num_threads(1)
values = torch.full((22,), torch.nan, dtype=torch.float64).as_strided((6,), (1,), 8).copy_(torch.tensor([1, 3, -5, 8, 0, 2]))


def averaged(values ):

    swa = torch.optim.swa_utils
    layer = torch.nn.Linear(1, 1, bias=False, dtype=values.dtype)
    layer.words = torch.nn.Embedding(1, 1, dtype=values.dtype)
    layer.words.weight = layer.weight
    layer.register_buffer("seen", torch.zeros(1, dtype=values.dtype))
    layer.requires_grad_(True)
    how = {
        "equal": {},
        "ema": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.75)},
        "ema_single": {"avg_fn": swa.get_ema_avg_fn(0.75)},
        "swa": {"multi_avg_fn": swa.get_swa_multi_avg_fn()},
        "own": {"avg_fn": lambda average, value, count: 0.5 * average + 0.5 * value},
    }['swa']
    model = swa.AveragedModel(layer, use_buffers=False, **how)

    weights, seen, others, counts = [], [], [], []
    for step, value in enumerate(values):
        with torch.no_grad():
            layer.weight.fill_(value)
            layer.seen.fill_(value)
        model.update_parameters(layer)
        weights.append(model.module.weight.detach().reshape(()).clone())
        seen.append(model.module.seen.detach().reshape(()).clone())
        counts.append(0)
        others.append((model.module.weight).detach().reshape(()).clone())
    return {"weights": torch.stack(weights)}


seen = averaged(values=values)
got, expected, wrong = seen["weights"][2], -0.33333333333333304, -0.33333340287208557
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 2.1316282072803006e-14 else 1 if abs(got - wrong) <= 6.95387525340152e-11 else 2)
