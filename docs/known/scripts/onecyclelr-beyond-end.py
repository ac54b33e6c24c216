# The last step of the loop that OneCycleLR documents is one beyond its last phase: the rate leaves its bounds.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10, anneal_strategy="linear")
for _ in range(10):
    optimizer.step()
    scheduler.step()
got = round(scheduler.get_last_lr()[0], 6)
expected = 4e-06  # max_lr / div_factor / final_div_factor
wrong = -0.142853
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
