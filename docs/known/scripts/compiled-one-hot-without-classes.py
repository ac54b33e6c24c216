# law:  What is no LongTensor, a token outside [0, num_classes), or no class at all is refused, and nothing is written.
# case: OneHotCase(values=1, shape=(0,), classes='0', entry='compiled')
# got:  accepted, expected RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch._dynamo

torch.set_num_threads(1)
indices = torch.full((17,), 1515870810).as_strided((0,), (1,), 8)


def compiled(tokens):
    torch._dynamo.reset()
    return torch.compile(lambda given: torch.nn.functional.one_hot(given, 0), backend="aot_eager")(tokens)


def fresh(call):
    pass


def encoded(indices ):
    given = indices
    held = fresh(lambda tokens: compiled(tokens))
    value = compiled(given)
    return {"held": held is None or held()}


try:
    seen = encoded(indices=indices)
except RuntimeError as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected RuntimeError")
sys.exit(1)
