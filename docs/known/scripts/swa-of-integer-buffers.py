# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Aftercare(what='average', average='swa', buffers=True, counter=True, steps=2)
# got:  raised RuntimeError: Integer division with addcdiv is no longer supported, and in a future  release
# addcdiv will perform a true division of tensor1 and tensor2. The historic addcdiv
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.optim.swa_utils

torch.set_num_threads(1)
values = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).copy_(torch.tensor([1, 3]))


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
    }['swa']
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
    return {}


try:
    seen = averaged(values=values)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Integer division with addcdiv is no longer supported, and in a future  release a' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
