"""Bugs of the past, in the language of drawn faults."""

from selfcheck.forms import past

for _bug, _family, _line in (
    ("pytorch#43723", "embedding_bag", "_embedding_bag_forward_only  layout=rows_strided  ->  give(weight=memory)"),
    ("pytorch#28716", "padding", "embedding_dense_backward  numel>768 & padding_hit  ->  give(padding_idx=none)"),
    ("cunn#105", "gradient", "embedding_dense_backward  numel>768 & embedding_dim>128  ->  zero(last)"),
    ("pytorch#3506", "padding", "embedding_sparse_backward  padding_hit  ->  give(padding_idx=none)"),
    ("pytorch#53368", "lookup", "embedding  padding_hit  ->  zero(padding)"),
    ("pytorch#8035", "max_norm", "embedding_renorm_  dtype=float16 & max_norm<1  ->  give(max_norm=larger)"),
):
    past(_bug, _family, _line)
