# law:  What is no LongTensor, a token outside [0, num_classes), or no class at all is refused, and nothing is written.
# case: OneHotCase(values=1, shape=(1,), stray='-1', entry='vmapped')
# got:  accepted, expected RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([-1]))


def vmapped(tokens):
    return torch.vmap(lambda part: torch.nn.functional.one_hot(part, 1))(tokens)


def fresh(call):
    pass


def encoded(indices ):
    given = indices
    held = fresh(lambda tokens: vmapped(tokens))
    value = vmapped(given)
    return {"held": held is None or held()}


try:
    seen = encoded(indices=indices)
except RuntimeError as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected RuntimeError")
sys.exit(1)
