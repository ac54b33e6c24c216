# law:  The output is a plain Tensor, contiguous (if torch's own), dense, and on the table's device.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(2, 3), index_layout='transposed')
# got:  False, expected True
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch._decomp
import torch.utils._python_dispatch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((22,), 1515870810).as_strided((2, 3), (1, 2), 8).fill_(0)

TorchDispatchMode = torch.utils._python_dispatch.TorchDispatchMode
NAMES = ('embedding', 'one_hot', 'index_select', 'renorm', 'index_put', 'masked_fill', 'nonzero',)

def decomposing(table):
    class Decomposing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func in table and any(name in str(func) for name in NAMES):
                with self:
                    out = table[func](*args, **(kwargs or {}))
                if out is not NotImplemented:
                    return out
            return func(*args, **(kwargs or {}))

    return Decomposing()  # type: ignore[no-untyped-call]


def decompositions(**arguments):
    """torch._decomp.decomposition_table in place of the kernels."""
    with decomposing(torch._decomp.decomposition_table):
        return forward(build=functional, **arguments)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def fresh(leaf, call, indices):
    pass


def forward(build, history, weight, indices, flags, requires_grad):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_(requires_grad)
    held = history(leaf, call, indices)
    value = call(indices)
    return {"value": value, "held": held is None or held()}


seen = decompositions(weight=weight, indices=indices, history=fresh, flags={}, requires_grad=True)
got, expected, wrong = seen["value"].is_contiguous(), True, False
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
