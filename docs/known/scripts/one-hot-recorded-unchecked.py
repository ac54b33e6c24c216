# law:  What is no LongTensor, a token outside [0, num_classes), or no class at all is refused, and nothing is written.
# case: OneHotCase(values=1, shape=(1,), stray='-1', entry='recorded')
# got:  accepted, expected RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([-1]))


def recorded(tokens):
    from torch.fx.experimental.proxy_tensor import make_fx  # here, for it takes seconds

    graph = make_fx(lambda given: torch.nn.functional.one_hot(given, 1), tracing_mode="fake")(tokens)
    value = graph(tokens)
    return value


def fresh(call):
    pass


def encoded(indices ):
    given = indices
    held = fresh(lambda tokens: recorded(tokens))
    value = recorded(given)
    return {"held": held is None or held()}


try:
    seen = encoded(indices=indices)
except RuntimeError as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected RuntimeError")
sys.exit(1)
