# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Elsewhere(optimizer='RMSprop', path='foreach')
# got:  raised RuntimeError: Tensors of the same index must be on the same device and the same dtype except
# `step` tensors that can be CPU and float32/64, and optimizer states that can be b
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[1, 3], [-4, -2]]))
grads = torch.full((24,), torch.nan).as_strided((2, 2, 2), (4, 2, 1), 8).copy_(torch.tensor([[[0, 3], [0, -1]], [[2, 1], [-3, 3]]]))


def meta():
    return torch.device("meta")


def nothing():
    import contextlib

    return contextlib.nullcontext()

Tensor = torch.Tensor

def elsewhere(weight, grads):
    def trained(around):
        p = torch.nn.Parameter(weight.detach().clone())
        with around():
            optimizer = torch.optim.RMSprop([p], lr=0.5, foreach=True)
        values = []
        for step, grad in enumerate(grads):
            p.grad = grad.clone()
            with nothing() if step < 0 else around():
                optimizer.step()
            values.append(p.detach().clone())
        return torch.stack(values), optimizer.state[p]

    wanted, before = trained(nothing)
    values, state = trained(meta)
    tensors = {name: kept for name, kept in sorted(state.items()) if isinstance(kept, Tensor)}
    return {
        "differing": [
            name
            for name, kept in tensors.items()
            if kept.device == weight.device and not torch.equal(kept.to(before[name].dtype), before[name])
        ],
    }


try:
    seen = elsewhere(weight=weight, grads=grads)
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'Tensors of the same index must be on the same device and the same dtype except `' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
