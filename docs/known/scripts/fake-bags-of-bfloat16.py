# law:  With fake tensors a call gives as many tensors as with real ones, of the same sizes and dtypes, with a graph or without.
# case: Shadow(call='whole_bag', dtype='bfloat16')
# got:  [((2, 2), 'bfloat16', False), ((4,), 'int64', False), ((2,), 'int64', False), ((2,), 'int64', False)],
# expected [((2, 2), 'bfloat16', False), ((0,), 'int64', False), ((2,), 'int64', False), ((2,), 'int64', False)]
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
table = torch.full((22,), torch.nan, dtype=torch.bfloat16).as_strided((3, 2), (2, 1), 8).fill_(1)
tokens = torch.full((20,), 1515870810).as_strided((4,), (1,), 8).copy_(torch.tensor([0, 1, 2, 2]))
offsets = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).copy_(torch.tensor([0, 2]))


def whole_bag(table, tokens, offsets, flags):
    """With what the kernel notes of each token and bag."""
    mode = ("sum", "mean", "max").index(flags["mode"])
    padding, last = flags["padding_idx"], flags["include_last_offset"]
    return torch.embedding_bag(table, tokens, offsets, False, mode, False, None, last, padding)


def shadowed(flags, table, tokens, offsets ):
    from torch._subclasses.fake_tensor import FakeTensorMode

    def told(given):
        leaf = given[0].detach().requires_grad_(False)
        found = whole_bag(leaf, given[1], given[2], flags)
        parts = found if isinstance(found, (tuple, list)) else [found]
        return [(tuple(part.shape), str(part.dtype).removeprefix("torch."), part.requires_grad) for part in parts]

    seen = {"real": told((table, tokens, offsets))}
    with FakeTensorMode() as mode:
        seen["fake"] = told((mode.from_tensor(table), mode.from_tensor(tokens), mode.from_tensor(offsets)))
    seen["meta"] = told((table.to("meta"), tokens.to("meta"), offsets.to("meta")))
    return seen


seen = shadowed(table=table, tokens=tokens, offsets=offsets, flags={'mode': 'sum', 'include_last_offset': False, 'padding_idx': None})
got, expected, wrong = seen["fake"], [((2, 2,), 'bfloat16', False,), ((0,), 'int64', False,), ((2,), 'int64', False,), ((2,), 'int64', False,)], [((2, 2,), 'bfloat16', False,), ((4,), 'int64', False,), ((2,), 'int64', False,), ((2,), 'int64', False,)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
