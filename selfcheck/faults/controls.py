"""Controls: what faults are planted with, and nothing wrong in it."""

from __future__ import annotations

from torch import nn

from selfcheck.forms import control, in_place_of

control("embedding", "lookup")
control("embedding_dense_backward", "gradient")
control("embedding_renorm_", "max_norm")
control("_embedding_bag_per_sample_weights_backward", "embedding_bag")
control("one_hot", "one_hot")
replaced = {"F.embedding is replaced, and nothing is wrong.": lambda call: call(padding_idx=call.padding_idx)}
in_place_of(nn.functional, "embedding", "padding", replaced, control=True)
