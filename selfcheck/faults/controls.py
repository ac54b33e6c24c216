"""Controls: what faults are planted with, and nothing wrong in it."""

from torch import nn

from selfcheck.forms import changes, control

control("embedding", "lookup")
control("embedding_dense_backward", "gradient")
control("embedding_renorm_", "max_norm")
control("_embedding_bag_per_sample_weights_backward", "embedding_bag")
control("one_hot", "one_hot")
changes[nn.functional, "embedding", "padding", {"control": True}] = {
    "F.embedding is replaced, and nothing is wrong.": lambda call: call(padding_idx=call.padding_idx)
}
