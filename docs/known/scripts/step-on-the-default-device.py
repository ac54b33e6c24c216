# law:  An optimizer moves its parameters, bit for bit, as it would under any other default device and dtype, and keeps the same state on their device.
# case: Elsewhere(optimizer='RMSprop')
# got:  ['step'], expected []
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
            optimizer = torch.optim.RMSprop([p], lr=0.5)
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
        "devices": [name for name, kept in tensors.items() if kept.device != weight.device],
        "differing": [
            name
            for name, kept in tensors.items()
            if kept.device == weight.device and not torch.equal(kept.to(before[name].dtype), before[name])
        ],
    }


seen = elsewhere(weight=weight, grads=grads)
got, expected, wrong = seen["devices"], [], ['step']
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
