# law:  The output is a LongTensor without gradient: dense, contiguous, on the CPU.
# case: OneHotCase(shape=(2, 3), index_layout='transposed', entry='recorded')
# got:  (3, 6, 1), expected (9, 3, 1)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
indices = torch.full((22,), 1515870810).as_strided((2, 3), (1, 2), 8).copy_(torch.tensor([[0, 1, 2], [0, 1, 2]]))


def recorded(tokens):
    from torch.fx.experimental.proxy_tensor import make_fx  # here, for it takes seconds

    graph = make_fx(lambda given: torch.nn.functional.one_hot(given, 3), tracing_mode="fake")(tokens)
    value = graph(tokens)
    return value


def fresh(call):
    pass


def encoded(indices ):
    given = indices
    held = fresh(lambda tokens: recorded(tokens))
    value = recorded(given)
    return {"value": value, "held": held is None or held()}


seen = encoded(indices=indices)
got, expected, wrong = seen["value"].stride(), (9, 3, 1,), (3, 6, 1,)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
