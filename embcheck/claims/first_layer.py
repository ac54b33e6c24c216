"""The claims of *Embedding and Linear* on the first values of the first layer."""

from __future__ import annotations

import numpy as np

from embcheck.claims import starts
from embcheck.claims.case import ClaimCase
from embcheck.claims.chance import BY_DISTANCE, alike
from embcheck.claims.claim import claim
from embcheck.claims.distributions import around_zero, distributed, from_zero_to_one, measured
from embcheck.claims.drawing import density
from embcheck.core.comparison import every, identical, is_false, is_true, same
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding

PAGE = "embedding-and-linear.md"


claim("linear.initialised_at_once", "Both layers are initialised when they are defined.", f"{PAGE}:74",
      "上述我们在做定义的时候,里面的参数是初始化的", starts.initialised_at_once,
      lambda case, out: every(is_true(out.differs, "two layers are alike"), identical(out.again, out.first.bits)),
      gloss="when we make the definitions above, the parameters in them are initialised", chance=alike(17 * 8),
      tells=lambda case, out: f"two layers differ: {out.differs.raw}; the same seed gives the same")  # fmt: skip

claim("linear.rand_uniform", "Parameter(torch.rand(…)) is uniformly distributed on (0, 1).", f"{PAGE}:82",
      "(0,1)均匀分布的参数", starts.drawn,
      lambda case, out: every(is_false(out.same, "the old Parameter"), distributed(out.values, from_zero_to_one(case), case)),
      gloss="parameters uniformly distributed on (0,1)", chance=BY_DISTANCE, where=("Parameter(rand)",),
      tells=measured("values", from_zero_to_one), draws=density("values", from_zero_to_one))  # fmt: skip


@claim("linear.assignment", "Assigning a Parameter to weight puts its values in.", f"{PAGE}:84-86",
       "fc.weight=myemb#修改", starts.assigned, gloss="fc.weight=myemb  # change it")  # fmt: skip
def assignment(case: ClaimCase, out: Outcome) -> Finding:
    side = max(2, case.embedding_dim)
    rows = side + 1 if case.situation == "V ≠ D" else side
    expected = np.arange(1.0, rows * side + 1).reshape(rows, side)
    return every(same(out.fc, expected), same(out.embedding, expected))


claim("linear.layers_are_separate",
      "After both assignments the layers are initialised alike, each with its own weight.", f"{PAGE}:82-86",
      "fc.weight=myemb … embedding.weight=myemb", starts.assigned,
      lambda case, out: every(is_false(out.one, "one Parameter for both"), is_false(out.changed, "fc changed")),
      where=("one Parameter for both", "a Parameter for each"), fails=("one Parameter for both",),
      otherwise="each is given a Parameter of its own: one for both ties them, so that training one changes the other",
      instead=lambda case, out: every(is_true(out.one, "two Parameters"), is_true(out.changed, "not changed")),
      tells=lambda case, out: f"the same Parameter {out.one.raw}; training the embedding changed fc {out.changed.raw}")  # fmt: skip

claim("linear.same_vectors", "With one weight both ways give a word the same vector.", f"{PAGE}:23,82-86",
      "我们要把这两个字变成向量,有两种做法", starts.assigned,
      lambda case, out: same(out.products, out.table.values),
      gloss="we want to turn these two characters into vectors; there are two ways to do it",
      where=("one Parameter for both",), fails=("one Parameter for both",),
      otherwise="fc(one_hot(i)) is column i, embedding(i) row i",
      instead=lambda case, out: same(out.products, out.table.values.T),
      tells=lambda case, out: f"word 0: fc {out.products.values[0, :2].tolist()}, embedding "
      f"{out.table.values[0, :2].tolist()}")  # fmt: skip

claim("linear.parameter_fits_both", "One Parameter fits both layers.", f"{PAGE}:84-86", "embedding.weight=myemb#修改",
      starts.assigned,
      lambda case, out: same(out.products.meta("shape"), tuple(out.table.raw.shape)),
      gloss="embedding.weight=myemb  # change it", where=("one Parameter for both", "V ≠ D"), fails=("V ≠ D",),
      otherwise="V = D: else Linear accepts it, and fails in forward",
      instead=lambda case, out: same(out.products.meta("shape"), (0, 0)),
      tells=lambda case, out: f"weight {tuple(out.table.raw.shape)}: " + ("fc "
      "works" if out.products.values.size else "fc raises"))  # fmt: skip

claim("linear.data_uniform", "weight.data.uniform_(-1, 1) makes the weight uniform on (−1, 1), in place.", f"{PAGE}:91",
      "又改成(-1,1)的均匀分布", starts.drawn,
      lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, around_zero(case), case)),
      gloss="changed again, to the uniform distribution on (-1,1)", chance=BY_DISTANCE, where=("data.uniform_(-1, 1)",),
      tells=measured("values", around_zero), draws=density("values", around_zero))  # fmt: skip

claim("linear.both_ways_for_both", "Assignment and .data serve Embedding and Linear alike.", f"{PAGE}:95",
      "以上两种方法对于Embedding和Linear都适用", starts.either_way,
      lambda case, out: every(same(out.weight, case.weight), is_true(out.requires_grad, "frozen")),
      gloss="the two methods above work for both Embedding and Linear")  # fmt: skip

claim("linear.pretrained_only_embedding", "from_pretrained is Embedding's alone.", f"{PAGE}:95",
      "接下来的一个方法只适用于Embedding", starts.others_pretrained,
      lambda case, out: is_false(out.has, "it has from_pretrained"), gloss="the next method works for Embedding only",
      fails=("EmbeddingBag",), otherwise="it is Linear that it is compared with; EmbeddingBag has it too",
      instead=lambda case, out: same(out.given, case.weight),
      tells=lambda case, out: f"has from_pretrained: {out.has.raw}")  # fmt: skip

claim("linear.pretrained_values", "from_pretrained(a) makes a layer whose weight is a.", f"{PAGE}:97-99",
      "embedding=nn.Embedding.from_pretrained(a)", starts.pretrained,
      lambda case, out: same(out.given, case.weight))  # fmt: skip

claim("linear.pretrained_initialises", "from_pretrained initialises a layer that then trains.", f"{PAGE}:79,93-98",
      "想要按照我们的来指定", starts.pretrained,
      lambda case, out: every(is_true(out.requires_grad, "frozen"), same(out.after, case.weight - case.scattered)),
      gloss="want to specify it our own way", fails=("from_pretrained",),
      otherwise="freeze=False is given: by default it freezes",
      instead=lambda case, out: every(is_false(out.requires_grad, "trains"), same(out.after, case.weight)),
      tells=lambda case, out: f"requires_grad {out.requires_grad.raw}, "
      f"{(out.after.values != case.weight).any(1).sum()} rows moved")  # fmt: skip

claim("linear.pretrained_copies", "The layer gets values of a: a itself stays what it is.", f"{PAGE}:97-98",
      "a=torch.tensor([[1,2],[2,2]],dtype=torch.float32)", starts.pretrained,
      lambda case, out: every(is_false(out.shares, "a's memory"), same(out.table, case.weight)),
      fails=("from_pretrained", "freeze=False"),
      otherwise="the weight shares a's memory: what is written to the one is in the other",
      instead=lambda case, out: every(is_true(out.shares, "a copy"), same(out.table[0, 0], 77)),
      tells=lambda case, out: f"77 written to the weight, a[0, 0] is {out.table.values[0, 0]:g}")  # fmt: skip

claim("linear.pretrained_needs_floats", "The table must hold floating-point numbers.", f"{PAGE}:97",
      "dtype=torch.float32", starts.tables_of_numbers,
      lambda case, out: same(out.works, "float32" in str(case.situation)), fails=("int64, looked up",),
      otherwise="it is to be trained: integers are looked up all the same",
      instead=lambda case, out: same(out.value, case.rows),
      tells=lambda case, out: "works" if out.works.raw else "refused")  # fmt: skip
