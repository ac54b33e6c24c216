"""Faults in the language of drawn ones, for laws that no other fault by hand violates; ``python -m selfcheck.by_hand`` tells."""

from selfcheck.forms import lines

lines(
    "clip_average_scale",
    "GradScaler.state_dict  earlier>=0  ->  drop(last)",
    "Module.named_modules  earlier>=0  ->  drop(first)",
    "Parameter.__new__  data_rank=2  ->  zero(first)",
    "nn.utils.clip_grad_norm_  parameters_frozen=False  ->  spill(memory)",
)
lines(
    "construction",
    "Embedding.__init__  earlier>=0  ->  stale",
    "EmbeddingBag.__init__  earlier>=0  ->  drop(padding_idx)",
    "EmbeddingBag.from_pretrained  freeze=False & include_last_offset=False & embeddings_columns=8  ->  mode(last)",
    "Module.state_dict  parts=1  ->  drop(last)",
    "Module.state_dict  parts=1  ->  swap",
    "Parameter.__new__  data_rank=2  ->  leaf(float32)",
    "Parameter.__new__  data_rank=2  ->  leaf(frozen)",
)
lines(
    "conversion",
    "F.linear  weight_layout=rows_strided  ->  restride",
    "Linear.__init__  earlier>=0  ->  mode(last)",
    "Module.state_dict  earlier>=0  ->  swap",
    "Parameter.__new__  earlier>=0  ->  leaf(float32)",
    "Parameter.__new__  earlier>=0  ->  leaf(frozen)",
    "Parameter.__new__  earlier>=0  ->  swap",
    "mm  inner>256 & dtype=float16  ->  zero(first)",
)
lines("dtypes_and_storage", "embedding  rank=2  ->  cast(bfloat16)")
lines(
    "embedding_bag",
    "EmbeddingBag.__init__  _weight & scale_grad_by_freq=False & embedding_dim>8  ->  zero(first)",
    "EmbeddingBag.from_pretrained  earlier>=0  ->  freeze(last)",
    "F.embedding_bag  earlier>=0  ->  give(weight=detached)",
    "F.embedding_bag  earlier>=0  ->  give(weight=memory)",
    "F.embedding_bag  scale_grad_by_freq & input_rank=1  ->  give(include_last_offset=not)",
    "F.embedding_bag  weight_rank=2 & weight_layout=transposed  ->  restride",
    "Parameter.__new__  data_frozen  ->  leaf(float32)",
    "_embedding_bag  earlier>=0  ->  zero(first)",
    "_embedding_bag_per_sample_weights_backward  offset  ->  shift",
)
lines(
    "gradient",
    "F.embedding  input_rank=3  ->  give(sparse=not)",
    "embedding_sparse_backward  numel>512 & numel<=768  ->  give(indices=first)",
)
lines("gradient_routes", "F.embedding  weight_layout=rows_strided  ->  give(sparse=not)")
lines("half_precision_accumulation", "one_hot  unequal_counts  ->  zero(column)")
lines(
    "initializers",
    "Linear.__init__  bias & out_features>8  ->  give(bias=none)",
    "nn.init.normal_  tensor_numel=1  ->  skip(all)",
    "nn.init.normal_  tensor_rank=2  ->  skip(last)",
    "nn.init.ones_  tensor_columns=1  ->  spill(memory)",
    "nn.init.orthogonal_  tensor_rows=3  ->  skip(all)",
    "nn.init.sparse_  tensor_layout=strided  ->  repeat(first)",
)
lines("lookup", "Parameter.__new__  data_rank=2  ->  leaf(clone)")
lines(
    "lr_scheduler",
    "LRScheduler.get_last_lr  earlier>=0  ->  swap",
    "OneCycleLR.get_lr  earlier>=0  ->  nan(last)",
    "Optimizer.state_dict  earlier>=0  ->  drop(last)",
    "StepLR.get_lr  earlier>=1  ->  swap",
)
lines(
    "max_norm",
    "Embedding.__init__  max_norm>0  ->  swap",
    "F.embedding  earlier>=0  ->  double(gradient)",
    "_embedding_bag_per_sample_weights_backward  interleaved  ->  give(padding_idx=none)",
    "embedding_renorm_  threads>1  ->  swap",
)
lines(
    "module_traversal",
    "Embedding.__init__  _weight  ->  stale",
    "Module.register_parameter  tied=False  ->  tie",
    "Module.train  mixed  ->  nan(last)",
)
lines(
    "optimizer_state_dict",
    "Module.named_parameters  earlier>=0  ->  swap(values)",
    "Module.state_dict  earlier>=0  ->  drop(last)",
    "Parameter.__new__  earlier>=0  ->  nan(last)",
)
lines("padding", "embedding_dense_backward  padding_hit & layout=strided  ->  negate(last)")
lines(
    "padding_row_training",
    "embedding_dense_backward  padding=middle & last_row & first_row  ->  zero(column)",
    "embedding_sparse_backward  dtype=float64 & padding=first  ->  give(padding_idx=none)",
)
lines(
    "param_groups",
    "Optimizer.state_dict  optimizer=Adam & params>2  ->  repeat(first)",
    "Parameter.__new__  data_parameter=False  ->  nan(last)",
)
lines(
    "parameter",
    "Module.register_parameter  parts=1 & layout=rows_strided  ->  zero(last)",
    "Parameter.__new__  data_dtype=float64 & data_layout=contiguous & data_frozen=False  ->  leaf(frozen)",
    "Parameter.__new__  earlier>=1 & data_columns=1  ->  leaf(clone)",
)
lines(
    "parametrizations",
    "Embedding.__init__  embedding_dim=2 & _freeze  ->  restride",
    "Parameter.__new__  data_rows=8  ->  zero(first)",
    "mm  earlier>=1  ->  cast(bfloat16)",
    "mm  rows>16  ->  zero(column)",
)
lines("quantized_embedding", "EmbeddingBag.__init__  mode=max & max_norm=None  ->  zero(column)")
lines(
    "tie_export",
    "Module.named_modules  dtype=float32  ->  drop(last)",
    "index_select  first_row  ->  shift",
)
lines(
    "tie_preservation",
    "Module.state_dict  earlier=2 & parts>2 & padding  ->  negate(last)",
    "Module.to  earlier>=0  ->  spill(memory)",
    "Module.train  earlier>=0  ->  untie",
    "Module.zero_grad  tied=False & parts>3 & training  ->  mode(last)",
    "copy.deepcopy  earlier>=0  ->  share(last)",
)
lines("tied_head_loss", "F.cross_entropy  input_columns=1  ->  give(reduction=sum)")
lines(
    "tied_training",
    "Embedding.__init__  sparse=False  ->  restride",
    "Module.named_parameters  earlier>=0  ->  clone(last)",
    "Module.zero_grad  earlier>=0  ->  untie",
    "Optimizer.state_dict  earlier>=0  ->  nan(last)",
    "asgd.foreach  earlier>=0  ->  swap",
    "mm  earlier>=0  ->  nan(last)",
    "rprop.plain  params_layout=contiguous  ->  spill(memory)",
)
