# parametrizations.weight_norm registers a local function as a hook for load_state_dict and leaves it there when the
# parametrization is removed: the module can't be pickled any more.
import pickle
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2))
torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
expected = "pickled"
wrong = "weight_norm.<locals>._weight_norm_compat_hook"
try:
    pickle.dumps(layer)
    got = "pickled"
except (AttributeError, pickle.PicklingError) as error:
    got = wrong if wrong in str(error) else str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
