"""The claims of *Embedding and Linear*."""

from __future__ import annotations

import numpy as np

from embcheck.claims.case import ClaimCase, rows_moved
from embcheck.claims.chance import narrow
from embcheck.claims.claim import claim
from embcheck.claims.conversions import as_linear
from embcheck.claims.costs import elements_for_lookup
from embcheck.claims.embedding_to_linear_conversion import with_bias
from embcheck.claims.lookups import index_kinds, looked_up
from embcheck.claims.starts import keywords
from embcheck.claims.trainings import dense_or_one_hot, differences, fully_connected, improved, one_hot_rows, stepped
from embcheck.core.comparison import every, identical, same
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding

PAGE = "embedding-and-linear.md"


# -- numbers, vectors, one-hot vectors -----------------------------------------------------------------------------


claim("linear.number_to_vector", "An embedding turns a number into a vector of a given length.", f"{PAGE}:9",
      "将一个数字变成一个指定维度的向量", looked_up,
      lambda case, out: same(out.value.meta("shape"), (*case.shape, case.embedding_dim)),
      gloss="turns a number into a vector of a specified dimension",
      tells=lambda case, out: f"numbers of shape {case.shape} give {tuple(out.value.raw.shape)}")  # fmt: skip


@claim("linear.vectors_improve", "Training gives a number a better vector.", f"{PAGE}:9,66",
       "从而数字1会有一个更好的128维向量的表示", improved,
       gloss="so that the number 1 gets a better representation as a 128-dimensional vector",
       fails=("not looked up",), otherwise="the number occurs in training",
       instead=lambda case, out: identical(out.after, out.before.bits),
       tells=lambda case, out: f"squared distance from the target {np.square(out.before.values - 1).sum():.3g} → "
       f"{np.square(out.after.values - 1).sum():.3g}")  # fmt: skip
def vectors_improve(case: ClaimCase, out: Outcome) -> Finding:
    before, after = (float(np.square(field.values - 1).sum()) for field in (out.before, out.after))
    closer = " < ".join(f"({field.path} - 1).square().sum()" for field in (out.after, out.before))
    return HOLDS if after < before else Difference("worse", closer, False, True, f"{before:g} became {after:g}")


claim("linear.special_case", "An embedding is a special case of a fully connected layer.", f"{PAGE}:11",
      "Embedding层是全连接层的特例", as_linear,
      lambda case, out: every(same(out.value, case.rows), same(out.eye, case.weight)),
      gloss="an Embedding layer is a special case of a fully connected layer", fails=("with bias",),
      otherwise="the layer has no bias (and is given one-hot vectors)", instead=with_bias)  # fmt: skip


@claim("linear.eye_is_one_hot", "torch.eye(V) holds the one-hot vectors of all words.", f"{PAGE}:27",
       "vocab_vec=torch.eye(2)#构造one-hot向量", one_hot_rows,
       gloss="vocab_vec=torch.eye(2)  # builds one-hot vectors")  # fmt: skip
def eye_is_one_hot(case: ClaimCase, out: Outcome) -> Finding:
    expected = np.equal.outer(np.arange(case.num_embeddings), np.arange(case.num_embeddings)).astype(float)
    return every(same(out.eye, expected), same(out.one_hot, expected))


claim("linear.one_hot_means_nothing", "One-hot vectors carry no meaning: any two words are equally far apart.",
      f"{PAGE}:33", "one-hot向量没有任何的语义信息", one_hot_rows,
      lambda case, out: same(out.distances, 2 * (1 - np.eye(case.num_embeddings))),
      gloss="one-hot vectors have no semantic information at all",
      tells=lambda case, out: f"squared distances {sorted(set(out.distances.values.reshape(-1).tolist()))}")  # fmt: skip


def one_hot_sizes(case: ClaimCase, out: Outcome, rows: int, width: int) -> Finding:
    """N·V elements of one-hot vectors, N·D of rows."""
    return every(same(out.one_hot, case.numel * rows), same(out.dense, case.numel * width))


@claim("linear.one_hot_is_large",
       "One-hot vectors take much space; the vectors that replace them are of low dimension.", f"{PAGE}:33", "空间庞大",
       dense_or_one_hot, gloss="the space is huge", fails=("D not below V",),
       otherwise="D < V (not in the text's own example, where both are 2)",
       instead=lambda case, out: one_hot_sizes(case, out, case.num_embeddings, case.num_embeddings + case.embedding_dim),
       tells=lambda case, out: f"{out.one_hot.raw} elements against {out.dense.raw}")  # fmt: skip
def one_hot_is_large(case: ClaimCase, out: Outcome) -> Finding:
    smaller = out.dense.raw < out.one_hot.raw
    return (
        HOLDS
        if smaller
        else Difference(
            "large", f"{out.dense.path} < {out.one_hot.path}", False, True, f"{out.one_hot.raw} against {out.dense.raw}"
        )
    )


claim("linear.fc_gives_vectors", "Linear on one-hot vectors gives each word a vector (its column and the bias).",
      f"{PAGE}:35-38", "fc(vocab_vec)", fully_connected,
      lambda case, out: same(out.value, case.weight + np.arange(1, case.embedding_dim + 1)),
      where=("eye",))  # fmt: skip


@claim("linear.fc_vectors_train", "As fc trains, fc(vocab_vec) changes.", f"{PAGE}:38", "由于线性层fc的参数会不断变化",
       fully_connected, gloss="since the parameters of the linear layer fc keep changing",
       where=("after a step",))  # fmt: skip
def fc_vectors_train(case: ClaimCase, out: Outcome) -> Finding:
    # Each weight gets the gradient 1, each bias one from each word.
    return same(out.value, case.weight - 1 + np.arange(1, case.embedding_dim + 1) - case.num_embeddings)


@claim("linear.saves_one_hot", "An embedding needs no one-hot matrix and saves its memory.", f"{PAGE}:42",
       "不用…需要多存储一个one-hot的矩阵", elements_for_lookup, gloss="there is no need … to store a one-hot matrix in addition",
       tells=lambda case, out: f"N {case.numel}, V {case.num_embeddings}, D {case.embedding_dim}: "
       f"{out.elements.raw:,} elements made")  # fmt: skip
def saves_one_hot(case: ClaimCase, out: Outcome) -> Finding:
    if case.situation == "Embedding":
        return same(out.elements, case.numel * case.embedding_dim)
    least = case.numel * (case.num_embeddings + case.embedding_dim)
    return HOLDS if out.elements.raw >= least else same(out.elements, least)


# -- nn.Embedding --------------------------------------------------------------------------------------------------


@claim("linear.keywords", "The keywords are vocab_size and emb_size.", f"{PAGE}:45",
       "torch.nn.Embedding(vocab_size=2,emb_size=2)", keywords, where=("vocab_size=, emb_size=",),
       fails=("vocab_size=, emb_size=",), otherwise="a TypeError; they are num_embeddings and embedding_dim",
       instead=lambda case, out: same(out.failed, "TypeError"),
       tells=lambda case, out: out.failed.raw or "accepted")  # fmt: skip
def keywords_of_embedding(case: ClaimCase, out: Outcome) -> Finding:
    return every(same(out.failed, ""), same(out.shape, [case.num_embeddings, case.embedding_dim]))


claim("linear.positions", "The first argument is the number of words, the second the length of a vector.",
      f"{PAGE}:46-47,77", "torch.nn.Embedding(vocab_size,emb_size)", keywords,
      lambda case, out: keywords_of_embedding(case, out),
      where=("vocab_size, emb_size", "num_embeddings=, embedding_dim="))  # fmt: skip

claim("linear.int64_needed", "Indices must be of dtype int64.", f"{PAGE}:51-52", "dtype=torch.int64", index_kinds,
      lambda case, out: same(out.accepted, case.situation == "int64"), where=("int64", "int32", "float32"),
      fails=("int32",), otherwise="int32 is not counted, which is accepted and gives the same rows",
      instead=lambda case, out: same(out.value, case.weight[np.minimum(case.tokens, 1)]),
      tells=lambda case, out: "accepted" if out.accepted.raw else f"refused ({out.failed.raw})")  # fmt: skip

claim("linear.backward_name", "The output's grad_fn is an EmbeddingBackward.", f"{PAGE}:58",
      "grad_fn=<EmbeddingBackward>", looked_up,
      lambda case, out: same(out.graph, "EmbeddingBackward"), fails=("",), otherwise="its name is EmbeddingBackward0",
      instead=lambda case, out: same(out.graph, "EmbeddingBackward0"),
      tells=lambda case, out: out.graph.raw)  # fmt: skip


@claim("linear.joined", "[0, 1] gives what [0] and [1] give, one below the other.", f"{PAGE}:61-64", "我们也可以合并起来得到",
       looked_up, gloss="we can also put them together and get")  # fmt: skip
def joined(case: ClaimCase, out: Outcome) -> Finding:
    singly = identical(out.singly, case.row_bits.reshape(-1, case.embedding_dim))
    return every(singly, identical(out.value, out.singly.bits.reshape(*case.shape, case.embedding_dim)))


claim("linear.training_moves", "Training changes the embedding's parameters.", f"{PAGE}:66", "训练后,Embedding层的参数会随之改变",
      stepped,
      lambda case, out: same(out.after, case.weight - case.scattered),
      gloss="after training, the parameters of the Embedding layer have changed with it", where=("backward and step",),
      tells=rows_moved)  # fmt: skip


def differ(case: ClaimCase, out: Outcome) -> Finding:
    """What the two layers have."""
    rows, width = case.num_embeddings, case.embedding_dim
    if case.situation == "first values":  # deviations √(1/3V) and 1
        apart = out.linear.raw < 0.5 < out.embedding.raw
        path = f"{out.linear.path} < 0.5 < {out.embedding.path}"
        return HOLDS if apart else Difference("spread", path, False, True, "about the same spread")
    linear, embedding = {"bias": (True, False), "shape of the weight": ([width, rows], [rows, width]),
                         "sparse gradient": (False, True), "NaN in a row that is not looked "
                         "up": (True, False)}[str(case.situation)]  # fmt: skip
    return every(same(out.linear, linear), same(out.embedding, embedding))


claim("linear.only_input_differs", "Embedding and Linear differ in nothing but their input.", f"{PAGE}:70",
      "区别就在于:输入不同", differences,
      lambda case, out: same(out.embedding, out.linear.raw), gloss="the difference is this: the input differs",
      chance=narrow(64 * 256, 0.26),
      fails=("bias", "shape of the weight", "first values", "sparse gradient", "NaN in a row that is not looked up"),
      otherwise="bias, shape, first values, sparse gradients and special values differ too", instead=differ,
      tells=lambda case, out: f"Linear {out.linear.raw}, Embedding {out.embedding.raw}")  # fmt: skip
