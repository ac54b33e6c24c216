# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Company(optimizer='Adafactor', mix='empty')
# got:  raised ZeroDivisionError: float division by zero
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import contextlib

torch.set_num_threads(1)
weight0 = torch.full((20,), torch.nan).as_strided((2, 2), (2, 1), 8).copy_(torch.tensor([[1, 3], [-1, -2]]))
gradient0 = torch.full((28,), torch.nan).as_strided((3, 2, 2), (4, 2, 1), 8).copy_(torch.tensor([[[-1, 1], [1, 4]], [[1, -2], [-2, 1]], [[-1, 4], [-1, -1]]]))
weight1 = torch.full((17,), torch.nan).as_strided((0, 2), (2, 1), 8)
gradient1 = torch.full((17,), torch.nan).as_strided((3, 0, 2), (2, 2, 1), 8)
weight2 = torch.full((17,), torch.nan).as_strided((2, 0), (1, 1), 8)
gradient2 = torch.full((17,), torch.nan).as_strided((3, 2, 0), (2, 1, 1), 8)
weight3 = torch.full((21,), torch.nan).as_strided((5,), (1,), 8).copy_(torch.tensor([2, -3, 1, -3, 1]))
gradient3 = torch.full((31,), torch.nan).as_strided((3, 5), (5, 1), 8).copy_(torch.tensor([[-1, 1, 1, -2, -4], [-1, -2, 1, 4, 4], [2, -4, 1, 2, -2]]))


def nothing(optimizer):
    return optimizer


def room(p):
    """Memory for a gradient: as its parameter lies, or with the last two axes in the other order."""
    return torch.empty_like(p)


def numbers(p):
    """A copy; of complex numbers, of their parts."""
    found = p.detach().clone()
    return torch.view_as_real(found) if found.is_complex() else found


def alone(m, build, own, like, start, pairs, joins):
    p = torch.nn.Parameter(torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).copy_(start))
    optimizer = build([{"params": [p], **own}])
    steps = []
    for k, gradient in pairs:
        if k >= joins:
            p.grad = None if gradient is None else room(p).copy_(gradient)
            optimizer.step()
        steps.append(numbers(p))
    return {f"alone{m}": torch.stack(steps)}


def settled(optimizer, members):
    """What an optimizer holds at last: its groups' options, which members have a state, and whose memory it is."""
    taken = [p.data_ptr() for p in members if p.numel()]
    dense = [p.grad for p in members if p.grad is not None and not p.grad.is_sparse]
    taken += [gradient.data_ptr() for gradient in dense if gradient.numel()]
    packed = optimizer.state_dict()
    order = [p for group in optimizer.param_groups for p in group["params"]]
    return {"order": [next(m for m, p in enumerate(members) if p is member) for member in order]}


def accompany(flags, groups, given, **fed):
    def build(members, **changes):
        return torch.optim.Adafactor(members, **{**flags, **changes})

    count = len(given[0])
    members = [torch.nn.Parameter(fed[f"weight{m}"], requires_grad=m not in ()) for m in range(count)]
    starts = [p.detach().clone() for p in members]
    listed = [{"params": [members[m] for m in names], **own} for names, own in groups]
    optimizer = build(listed[:1])
    values = [[] for _ in members]
    kept = moved = returned = True
    for k, gradients in enumerate(given):
        if k == 1:
            for group in listed[1:]:
                lone = group["params"] if len(group["params"]) > 1 else group["params"][0]
                optimizer.add_param_group({**group, "params": lone})
            optimizer = nothing(optimizer)
        optimizer.zero_grad()
        for m, p in enumerate(members):
            if gradients[m]:
                fresh = room(p).copy_(fed[f"gradient{m}"][k])
                fresh = fresh
                if p.grad is None:
                    p.grad = fresh
                else:
                    p.grad.add_(fresh)
        before = [p.detach().clone() for p in members]
        grads = [(p.grad, None if p.grad is None else p.grad.clone()) for p in members]
        marks = [(p.data_ptr(), p.stride(), p.dtype, p.requires_grad, p.is_leaf) for p in members]
        versions = [p._version for p in members]
        handles = contextlib.ExitStack()

        with handles, torch.no_grad():
            result = optimizer.step()
        returned = returned and (result is None)
        for p, (grad, copy), mark, version, old in zip(members, grads, marks, versions, before, strict=True):
            kept = (
                kept
                and p.grad is grad
                and (grad is None or copy is None or torch.equal(grad.to_dense(), copy.to_dense()))
            )
            kept = kept and mark == (p.data_ptr(), p.stride(), p.dtype, p.requires_grad, p.is_leaf)
            moved = moved and (p._version > version or torch.equal(p.detach(), old))
        for m, p in enumerate(members):
            values[m].append(numbers(p))
    seen = {f"values{m}": torch.stack(steps) for m, steps in enumerate(values)}
    seen |= settled(optimizer, members)
    for m, start in enumerate(starts):
        place, own = next((i, own) for i, (names, own) in enumerate(groups) if m in names)
        joins = 1 if place >= 1 else 0
        pairs = [(k, fed[f"gradient{m}"][k] if has[m] else None) for k, has in enumerate(given)]
        seen |= alone(m, build, own, fed[f"weight{m}"], start, pairs, joins)
    return seen


try:
    seen = accompany(weight0=weight0, gradient0=gradient0, weight1=weight1, gradient1=gradient1, weight2=weight2, gradient2=gradient2, weight3=weight3, gradient3=gradient3, flags={'lr': 0.5}, groups=(((0, 1, 2, 3,), {},),), given=((True, True, True, True,), (True, True, True, True,), (True, True, True, True,),))
except Exception as error:
    if type(error).__name__ != 'ZeroDivisionError' or 'float division by zero' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
