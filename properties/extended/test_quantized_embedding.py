"""A table of eight or four bits looks up what the table does, within half a step of its rows."""

from embcheck.core.comparison import described, refuses, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.quantized_embedding.cases import MISTAKES, SPACE, QuantizedCase, plan

narrow = Family(
    "quantized_embedding",
    SPACE,
    plan,
    refused=lambda case: case.refused,
    cost=8.0,
    only_cpu="torch quantizes embeddings there alone",
)


@narrow.law(
    "A quantized module returns the float module's output within half a quantization step per row.",
    source="torch.ao.nn.quantized.Embedding, EmbeddingBag: the same interface as torch.nn's",
    must_cover={"bits=8", "bits=4", "layer=embedding", "index_dtype=int32"}
    | {"bag", "batch", "weighted", "include_last_offset"},
)
def quantized_output_is_within_half_a_step(case: QuantizedCase, out: Outcome) -> Finding:
    return within(out.value, *case.expected)


@narrow.law(
    "A table that is packed for the quantized kernels unpacks within half a quantization step per row.",
    source="torch.ops.quantized.embedding_bag_byte_prepack, embedding_bag_4bit_prepack",
    must_cover={"bits=8", "bits=4", "embedding_dim=1"},
)
def packed_table_unpacks_within_half_a_step(case: QuantizedCase, out: Outcome) -> Finding:
    return within(out.unpacked, *case.table)


@narrow.law(
    "The quantized output has one float32 vector of size embedding_dim per index or bag.",
    source="torch.nn.Embedding, torch.nn.EmbeddingBag: Shape",
    of="metadata",
)
def quantized_output_has_documented_shape(case: QuantizedCase, out: Outcome) -> Finding:
    return described(out.value, shape=case.expected[0].shape, dtype="float32")


@narrow.law(
    "Out-of-range indices, out-of-range offsets and too few per_sample_weights raise.",
    source="torch.nn.EmbeddingBag: Args",
    must_cover={f"mistake={name}" for name in MISTAKES},
    refusal=True,
)
def quantized_invalid_calls_raise(case: QuantizedCase, out: Outcome) -> Finding:
    return refuses(out, RuntimeError, ValueError, IndexError)


test_scope, test_product, test_random = narrow.tests()
