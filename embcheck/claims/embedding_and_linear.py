"""The claims of *Embedding and Linear*."""

from __future__ import annotations

import numpy as np

from embcheck.claims import starts
from embcheck.claims.case import ClaimCase
from embcheck.claims.chance import BY_DISTANCE, alike, narrow
from embcheck.claims.claim import claim, told
from embcheck.claims.conversions import as_linear
from embcheck.claims.costs import elements_for_lookup
from embcheck.claims.distributions import around_zero, distributed, from_zero_to_one
from embcheck.claims.drawing import drawn_from
from embcheck.claims.embedding_to_linear_conversion import with_bias
from embcheck.claims.lookups import index_kinds, looked_up
from embcheck.claims.starts import keywords
from embcheck.claims.trainings import dense_or_one_hot, differences, fully_connected, improved, one_hot_rows, stepped
from embcheck.core.comparison import every, identical, is_false, is_true, same
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding

PAGE = "embedding-and-linear.md"


# -- numbers, vectors, one-hot vectors -----------------------------------------------------------------------------


claim("linear.number_to_vector", "An embedding turns a number into a vector of a given length.", f"{PAGE}:9",
      "将一个数字变成一个指定维度的向量", looked_up,
      lambda case, out: same(out.value.meta("shape"), (*case.shape, case.embedding_dim)),
      gloss="turns a number into a vector of a specified dimension")  # fmt: skip


@claim("linear.vectors_improve", "Training gives a number a better vector.", f"{PAGE}:9,66",
       "从而数字1会有一个更好的128维向量的表示",
       improved, gloss="so that the number 1 gets a better representation as a 128-dimensional vector",
       fails=("not looked up",), otherwise="the number occurs in training",
       instead=lambda case, out: identical(out.after, out.before.bits))  # fmt: skip
def vectors_improve(case: ClaimCase, out: Outcome) -> Finding:
    before, after = (float(np.square(field.values - 1).sum()) for field in (out.before, out.after))
    closer = " < ".join(f"({field.path} - 1).square().sum()" for field in (out.after, out.before))
    return told(after < before, closer, f"{before:g} became {after:g}")


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
      gloss="one-hot vectors have no semantic information at all")  # fmt: skip


def one_hot_sizes(case: ClaimCase, out: Outcome, rows: int, width: int) -> Finding:
    """N·V elements of one-hot vectors, N·D of rows."""
    return every(same(out.one_hot, case.numel * rows), same(out.dense, case.numel * width))


claim("linear.one_hot_is_large",
      "One-hot vectors take much space; the vectors that replace them are of low dimension.", f"{PAGE}:33", "空间庞大",
      dense_or_one_hot,
      lambda case, out: told(out.dense.raw < out.one_hot.raw, f"{out.dense.path} < {out.one_hot.path}", "no smaller"),
      gloss="the space is huge", fails=("D not below V",),
      otherwise="D < V (not in the text's own example, where both are 2)",
      instead=lambda case, out: one_hot_sizes(case, out, case.num_embeddings,
          case.num_embeddings + case.embedding_dim))  # fmt: skip
claim("linear.fc_gives_vectors", "Linear on one-hot vectors gives each word a vector (its column and the bias).",
      f"{PAGE}:35-38", "fc(vocab_vec)", fully_connected,
      lambda case, out: same(out.value, case.weight + np.arange(1, case.embedding_dim + 1)), where=("eye",))  # fmt: skip
claim("linear.fc_vectors_train", "As fc trains, fc(vocab_vec) changes.", f"{PAGE}:38", "由于线性层fc的参数会不断变化",
      fully_connected,
      lambda case, out: same(out.value, case.weight - 1 + np.arange(1, case.embedding_dim + 1) - case.num_embeddings),
      gloss="since the parameters of the linear layer fc keep changing", where=("after a step",))  # fmt: skip


@claim("linear.saves_one_hot", "An embedding needs no one-hot matrix and saves its memory.", f"{PAGE}:42",
       "不用…需要多存储一个one-hot的矩阵", elements_for_lookup,
       gloss="there is no need … to store a one-hot matrix in addition")  # fmt: skip
def saves_one_hot(case: ClaimCase, out: Outcome) -> Finding:
    if case.situation == "Embedding":
        return same(out.elements, case.numel * case.embedding_dim)
    least = case.numel * (case.num_embeddings + case.embedding_dim)
    return HOLDS if out.elements.raw >= least else same(out.elements, least)


# -- nn.Embedding --------------------------------------------------------------------------------------------------


claim("linear.keywords", "The keywords are vocab_size and emb_size.", f"{PAGE}:45",
      "torch.nn.Embedding(vocab_size=2,emb_size=2)", keywords,
      lambda case, out: every(same(out.failed, ""), same(out.shape, [case.num_embeddings, case.embedding_dim])),
      where=("vocab_size=, emb_size=",),
      fails=("vocab_size=, emb_size=",), otherwise="a TypeError; they are num_embeddings and embedding_dim",
      instead=lambda case, out: same(out.failed, "TypeError"))  # fmt: skip
claim("linear.positions", "The first argument is the number of words, the second the length of a vector.",
      f"{PAGE}:46-47,77", "torch.nn.Embedding(vocab_size,emb_size)", keywords,
      lambda case, out: every(same(out.failed, ""), same(out.shape, [case.num_embeddings, case.embedding_dim])),
      where=("vocab_size, emb_size", "num_embeddings=, embedding_dim="))  # fmt: skip
claim("linear.int64_needed", "Indices must be of dtype int64.", f"{PAGE}:51-52", "dtype=torch.int64", index_kinds,
      lambda case, out: same(out.accepted, case.situation == "int64"), where=("int64", "int32", "float32"),
      fails=("int32",), otherwise="int32 is not counted, which is accepted and gives the same rows",
      instead=lambda case, out: same(out.value, case.weight[np.minimum(case.tokens, 1)]))  # fmt: skip
claim("linear.backward_name", "The output's grad_fn is an EmbeddingBackward.", f"{PAGE}:58",
      "grad_fn=<EmbeddingBackward>", looked_up,
      lambda case, out: same(out.graph, "EmbeddingBackward"), fails=("",), otherwise="its name is EmbeddingBackward0",
      instead=lambda case, out: same(out.graph, "EmbeddingBackward0"))  # fmt: skip


@claim("linear.joined", "[0, 1] gives what [0] and [1] give, one below the other.", f"{PAGE}:61-64", "我们也可以合并起来得到",
       looked_up, gloss="we can also put them together and get")  # fmt: skip
def joined(case: ClaimCase, out: Outcome) -> Finding:
    singly = identical(out.singly, case.row_bits.reshape(-1, case.embedding_dim))
    return every(singly, identical(out.value, out.singly.bits.reshape(*case.shape, case.embedding_dim)))


claim("linear.training_moves", "Training changes the embedding's parameters.", f"{PAGE}:66",
      "训练后,Embedding层的参数会随之改变",
      stepped,
      lambda case, out: same(out.after, case.weight - case.scattered),
      gloss="after training, the parameters of the Embedding layer have changed with it",
      where=("backward and step",))  # fmt: skip


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
      otherwise="bias, shape, first values, sparse gradients and special values differ too", instead=differ)  # fmt: skip


claim("linear.initialised_at_once", "Both layers are initialised when they are defined.", f"{PAGE}:74",
      "上述我们在做定义的时候,里面的参数是初始化的", starts.initialised_at_once,
      lambda case, out: every(is_true(out.differs, "two layers are alike"), identical(out.again, out.first.bits)),
      gloss="when we make the definitions above, the parameters in them are initialised", chance=alike(17 * 8))  # fmt: skip
claim("linear.rand_uniform", "Parameter(torch.rand(…)) is uniformly distributed on (0, 1).", f"{PAGE}:82",
      "(0,1)均匀分布的参数", starts.drawn,
      lambda case, out: every(is_false(out.same, "the old Parameter"), distributed(out.values, from_zero_to_one(case), case)),
      gloss="parameters uniformly distributed on (0,1)", chance=BY_DISTANCE, where=("Parameter(rand)",),
      **drawn_from(from_zero_to_one))  # fmt: skip


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
      instead=lambda case, out: every(is_true(out.one, "two Parameters"), is_true(out.changed, "not changed")))  # fmt: skip
claim("linear.same_vectors", "With one weight both ways give a word the same vector.", f"{PAGE}:23,82-86",
      "我们要把这两个字变成向量,有两种做法", starts.assigned,
      lambda case, out: same(out.products, out.table.values),
      gloss="we want to turn these two characters into vectors; there are two ways to do it",
      where=("one Parameter for both",), fails=("one Parameter for both",),
      otherwise="fc(one_hot(i)) is column i, embedding(i) row i",
      instead=lambda case, out: same(out.products, out.table.values.T))  # fmt: skip
claim("linear.parameter_fits_both", "One Parameter fits both layers.", f"{PAGE}:84-86", "embedding.weight=myemb#修改",
      starts.assigned,
      lambda case, out: same(out.products.meta("shape"), tuple(out.table.raw.shape)),
      gloss="embedding.weight=myemb  # change it", where=("one Parameter for both", "V ≠ D"), fails=("V ≠ D",),
      otherwise="V = D: else Linear accepts it, and fails in forward",
      instead=lambda case, out: same(out.products.meta("shape"), (0, 0)))  # fmt: skip
claim("linear.data_uniform", "weight.data.uniform_(-1, 1) makes the weight uniform on (−1, 1), in place.", f"{PAGE}:91",
      "又改成(-1,1)的均匀分布", starts.drawn,
      lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, around_zero(case), case)),
      gloss="changed again, to the uniform distribution on (-1,1)", chance=BY_DISTANCE, where=("data.uniform_(-1, 1)",),
      **drawn_from(around_zero))  # fmt: skip
claim("linear.both_ways_for_both", "Assignment and .data serve Embedding and Linear alike.", f"{PAGE}:95",
      "以上两种方法对于Embedding和Linear都适用", starts.either_way,
      lambda case, out: every(same(out.weight, case.weight), is_true(out.requires_grad, "frozen")),
      gloss="the two methods above work for both Embedding and Linear")  # fmt: skip
claim("linear.pretrained_only_embedding", "from_pretrained is Embedding's alone.", f"{PAGE}:95",
      "接下来的一个方法只适用于Embedding", starts.others_pretrained,
      lambda case, out: is_false(out.has, "it has from_pretrained"), gloss="the next method works for Embedding only",
      fails=("EmbeddingBag",), otherwise="it is Linear that it is compared with; EmbeddingBag has it too",
      instead=lambda case, out: same(out.given, case.weight))  # fmt: skip
claim("linear.pretrained_values", "from_pretrained(a) makes a layer whose weight is a.", f"{PAGE}:97-99",
      "embedding=nn.Embedding.from_pretrained(a)", starts.pretrained,
      lambda case, out: same(out.given, case.weight))  # fmt: skip
claim("linear.pretrained_initialises", "from_pretrained initialises a layer that then trains.", f"{PAGE}:79,93-98",
      "想要按照我们的来指定", starts.pretrained,
      lambda case, out: every(is_true(out.requires_grad, "frozen"), same(out.after, case.weight - case.scattered)),
      gloss="want to specify it our own way", fails=("from_pretrained",),
      otherwise="freeze=False is given: by default it freezes",
      instead=lambda case, out: every(is_false(out.requires_grad, "trains"), same(out.after, case.weight)))  # fmt: skip
claim("linear.pretrained_copies", "The layer gets values of a: a itself stays what it is.", f"{PAGE}:97-98",
      "a=torch.tensor([[1,2],[2,2]],dtype=torch.float32)", starts.pretrained,
      lambda case, out: every(is_false(out.shares, "a's memory"), same(out.table, case.weight)),
      fails=("from_pretrained", "freeze=False"),
      otherwise="the weight shares a's memory: what is written to the one is in the other",
      instead=lambda case, out: every(is_true(out.shares, "a copy"), same(out.table[0, 0], 77)))  # fmt: skip
claim("linear.pretrained_needs_floats", "The table must hold floating-point numbers.", f"{PAGE}:97",
      "dtype=torch.float32", starts.tables_of_numbers,
      lambda case, out: same(out.works, "float32" in str(case.situation)), fails=("int64, looked up",),
      otherwise="it is to be trained: integers are looked up all the same",
      instead=lambda case, out: same(out.value, case.rows))  # fmt: skip
