# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: ShadowLayer(fill='truncated_normal')
# got:  raised DataDependentOutputException: aten._local_scalar_dense.default
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)


def embedding(dtype):
    return torch.nn.Embedding(3, 2, padding_idx=0, dtype=dtype)


def truncated_normal(part):
    return torch.nn.init.trunc_normal_(part, std=0.02)


def nothing(model):
    return model


def layer_told():
    import contextlib
    import warnings

    from torch._subclasses.fake_tensor import FakeTensorMode

    def told():
        layer = embedding(torch.float32)
        for part in layer.parameters():
            if part.dim() == 2:
                truncated_normal(part)
        parts = list(nothing(layer).named_parameters(remove_duplicate=False))
        order = [id(part) for _, part in parts]
        return [
            (name, tuple(part.shape), str(part.dtype).removeprefix("torch."), part.requires_grad, order.index(id(part)))
            for name, part in parts
            if isinstance(part, torch.nn.Parameter) and part.is_leaf
        ]

    with FakeTensorMode() as mode, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # copying a fake tensor warns
        mode.cache_clear()  # which holds what operators gave to earlier ones
        for _ in range(0):  # after which each parameter's conversion has been seen
            with contextlib.suppress(RuntimeError):
                told()
        return {"parameters": told()}


try:
    seen = layer_told()
except Exception as error:
    if type(error).__name__ != 'DataDependentOutputException' or 'aten._local_scalar_dense.default' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
