# With enabled=False GradScaler has no _growth_factor: get_growth_factor (and get_backoff_factor and
# get_growth_interval) raise AttributeError.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

scaler = torch.amp.GradScaler("cpu", enabled=False)
try:
    got = type(scaler.get_growth_factor()).__name__
except AttributeError as error:
    got = f"AttributeError: {error}"
expected = "float"
wrong = "AttributeError: 'GradScaler' object has no attribute '_growth_factor'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
