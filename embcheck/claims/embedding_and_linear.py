"""The claims of *Embedding and Linear*."""

import numpy as np

from embcheck.claims import trainings
from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import BY_DISTANCE, Page, alike, narrow, only_if, refuted, told
from embcheck.claims.distributions import around_zero, distributed, drawn_from, from_zero_to_one
from embcheck.claims.embedding_to_linear_conversion import with_bias
from embcheck.claims.lookups import as_linear, elements_for_lookup, index_kinds, looked_up
from embcheck.claims.trainings import (
    dense_or_one_hot,
    differences,
    fully_connected,
    improved,
    keywords,
    one_hot_rows,
    stepped,
)
from embcheck.core.comparison import every, identical, is_false, is_true, same
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding


def vectors_improve(case: ClaimCase, out: Outcome) -> Finding:
    before, after = (float(np.square(field.values - 1).sum()) for field in (out.before, out.after))
    closer = " < ".join(f"({field.path} - 1).square().sum()" for field in (out.after, out.before))
    return told(after < before, closer, f"{before:g} became {after:g}")


def eye_is_one_hot(case: ClaimCase, out: Outcome) -> Finding:
    expected = np.equal.outer(np.arange(case.num_embeddings), np.arange(case.num_embeddings)).astype(float)
    return every(same(out.eye, expected), same(out.one_hot, expected))


def one_hot_sizes(case: ClaimCase, out: Outcome, rows: int, width: int) -> Finding:
    """N·V elements of one-hot vectors, N·D of rows."""
    return every(same(out.one_hot, case.numel * rows), same(out.dense, case.numel * width))


def saves_one_hot(case: ClaimCase, out: Outcome) -> Finding:
    if case.situation == "Embedding":
        return same(out.elements, case.numel * case.embedding_dim)
    least = case.numel * (case.num_embeddings + case.embedding_dim)
    return HOLDS if out.elements.raw >= least else same(out.elements, least)


def joined(case: ClaimCase, out: Outcome) -> Finding:
    singly = identical(out.singly, case.row_bits.reshape(-1, case.embedding_dim))
    return every(singly, identical(out.value, out.singly.bits.reshape(*case.shape, case.embedding_dim)))


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


def assignment(case: ClaimCase, out: Outcome) -> Finding:
    side = max(2, case.embedding_dim)
    rows = side + 1 if case.situation == "V ≠ D" else side
    expected = np.arange(1.0, rows * side + 1).reshape(rows, side)
    return every(same(out.fc, expected), same(out.embedding, expected))


# fmt: off
says = Page("linear", "embedding-and-linear.md",
            "模型的第一层:详解torch.nn.Embedding和torch.nn.Linear",
            "The first layer of a model: torch.nn.Embedding and torch.nn.Linear in detail")
says("number_to_vector", "9", "An embedding turns a number into a vector of a given length.",
     "将一个数字变成一个指定维度的向量", "turns a number into a vector of a specified dimension", looked_up,
     lambda case, out: same(out.value.meta("shape"), (*case.shape, case.embedding_dim)))
says("vectors_improve", "9,66", "Training gives a number a better vector.", "从而数字1会有一个更好的128维向量的表示",
     "so that the number 1 gets a better representation as a 128-dimensional vector", improved, vectors_improve,
     only_if("the number occurs in training", lambda case, out: identical(out.after, out.before.bits), "not looked up"))
says("special_case", "11", "An embedding is a special case of a fully connected layer.", "Embedding层是全连接层的特例",
     "an Embedding layer is a special case of a fully connected layer", as_linear,
     lambda case, out: every(same(out.value, case.rows), same(out.eye, case.weight)),
     only_if("the layer has no bias (and is given one-hot vectors)", with_bias, "with bias"))
says("eye_is_one_hot", "27", "torch.eye(V) holds the one-hot vectors of all words.",
     "vocab_vec=torch.eye(2)#构造one-hot向量", "vocab_vec=torch.eye(2)  # builds one-hot vectors", one_hot_rows,
     eye_is_one_hot)
says("one_hot_means_nothing", "33", "One-hot vectors carry no meaning: any two words are equally far apart.",
     "one-hot向量没有任何的语义信息", "one-hot vectors have no semantic information at all", one_hot_rows,
     lambda case, out: same(out.distances, 2 * (1 - np.eye(case.num_embeddings))))
says("one_hot_is_large", "33", "One-hot vectors take much space; the vectors that replace them are of low dimension.",
     "空间庞大", "the space is huge", dense_or_one_hot,
     lambda case, out: told(out.dense.raw < out.one_hot.raw, f"{out.dense.path} < {out.one_hot.path}", "no smaller"),
     only_if("D < V (not in the text's own example, where both are 2)",
             lambda case, out: one_hot_sizes(case, out, case.num_embeddings, case.num_embeddings + case.embedding_dim),
             "D not below V"))
says("fc_gives_vectors", "35-38", "Linear on one-hot vectors gives each word a vector (its column and the bias).",
     "fc(vocab_vec)", "", fully_connected,
     lambda case, out: same(out.value, case.weight + np.arange(1, case.embedding_dim + 1)), where="eye")
says("fc_vectors_train", "38", "As fc trains, fc(vocab_vec) changes.", "由于线性层fc的参数会不断变化",
     "since the parameters of the linear layer fc keep changing", fully_connected,
     lambda case, out: same(out.value, case.weight - 1 + np.arange(1, case.embedding_dim + 1) - case.num_embeddings),
     where="after a step")
says("saves_one_hot", "42", "An embedding needs no one-hot matrix and saves its memory.",
     "不用…需要多存储一个one-hot的矩阵", "there is no need … to store a one-hot matrix in addition",
     elements_for_lookup, saves_one_hot)
says("keywords", "45", "The keywords are vocab_size and emb_size.", "torch.nn.Embedding(vocab_size=2,emb_size=2)", "",
     keywords, lambda case, out: every(same(out.failed, ""), same(out.shape, case.size)),
     refuted("a TypeError; they are num_embeddings and embedding_dim", lambda case, out: same(out.failed, "TypeError")),
     where="vocab_size=, emb_size=")
says("positions", "46-47,77", "The first argument is the number of words, the second the length of a vector.",
     "torch.nn.Embedding(vocab_size,emb_size)", "", keywords,
     lambda case, out: every(same(out.failed, ""), same(out.shape, case.size)),
     where=("vocab_size, emb_size", "num_embeddings=, embedding_dim="))
says("int64_needed", "51-52", "Indices must be of dtype int64.", "dtype=torch.int64", "", index_kinds,
     lambda case, out: same(out.accepted, case.situation == "int64"),
     only_if("int32 is not counted, which is accepted and gives the same rows",
             lambda case, out: same(out.value, case.weight[np.minimum(case.tokens, 1)]), "int32"),
     where=("int64", "int32", "float32"))
says("backward_name", "58", "The output's grad_fn is an EmbeddingBackward.", "grad_fn=<EmbeddingBackward>", "",
     looked_up, lambda case, out: same(out.graph, "EmbeddingBackward"),
     refuted("its name is EmbeddingBackward0", lambda case, out: same(out.graph, "EmbeddingBackward0")))
says("joined", "61-64", "[0, 1] gives what [0] and [1] give, one below the other.", "我们也可以合并起来得到",
     "we can also put them together and get", looked_up, joined)
says("training_moves", "66", "Training changes the embedding's parameters.", "训练后,Embedding层的参数会随之改变",
     "after training, the parameters of the Embedding layer have changed with it", stepped,
     lambda case, out: same(out.after, case.trained), where="backward and step")
says("only_input_differs", "70", "Embedding and Linear differ in nothing but their input.", "区别就在于:输入不同",
     "the difference is this: the input differs", differences, lambda case, out: same(out.embedding, out.linear.raw),
     refuted("bias, shape, first values, sparse gradients and special values differ too", differ),
     chance=narrow(64 * 256, 0.26))
says("initialised_at_once", "74", "Both layers are initialised when they are defined.",
     "上述我们在做定义的时候,里面的参数是初始化的",
     "when we make the definitions above, the parameters in them are initialised", trainings.initialised_at_once,
     lambda case, out: every(is_true(out.differs, "two layers are alike"), identical(out.again, out.first.bits)),
     chance=alike(17 * 8))
says("rand_uniform", "82", "Parameter(torch.rand(…)) is uniformly distributed on (0, 1).", "(0,1)均匀分布的参数",
     "parameters uniformly distributed on (0,1)", trainings.drawn,
     lambda case, out: every(is_false(out.same, "the old Parameter"), distributed(out.values, from_zero_to_one(case), case)),
     where="Parameter(rand)", chance=BY_DISTANCE, **drawn_from(from_zero_to_one))
says("assignment", "84-86", "Assigning a Parameter to weight puts its values in.", "fc.weight=myemb#修改",
     "fc.weight=myemb  # change it", trainings.assigned, assignment)
says("layers_are_separate", "82-86",
     "After both assignments the layers are initialised alike, each with its own weight.",
     "fc.weight=myemb … embedding.weight=myemb", "", trainings.assigned,
     lambda case, out: every(is_false(out.one, "one Parameter for both"), is_false(out.changed, "fc changed")),
     only_if("each is given a Parameter of its own: one for both ties them, so that training one changes the other",
             lambda case, out: every(is_true(out.one, "two Parameters"), is_true(out.changed, "not changed")),
             "one Parameter for both"), where=("one Parameter for both", "a Parameter for each"))
says("parameter_fits_both", "84-86", "One Parameter fits both layers.", "embedding.weight=myemb#修改",
     "embedding.weight=myemb  # change it", trainings.assigned,
     lambda case, out: same(out.products.meta("shape"), tuple(out.table.raw.shape)),
     only_if("V = D: else Linear accepts it, and fails in forward",
             lambda case, out: same(out.products.meta("shape"), (0, 0)), "V ≠ D"),
     where=("one Parameter for both", "V ≠ D"))
says("data_uniform", "91", "weight.data.uniform_(-1, 1) makes the weight uniform on (−1, 1), in place.",
     "又改成(-1,1)的均匀分布", "changed again, to the uniform distribution on (-1,1)", trainings.drawn,
     lambda case, out: every(is_true(out.same, "another Parameter"), distributed(out.values, around_zero(case), case)),
     where="data.uniform_(-1, 1)", chance=BY_DISTANCE, **drawn_from(around_zero))
says("both_ways_for_both", "95", "Assignment and .data serve Embedding and Linear alike.",
     "以上两种方法对于Embedding和Linear都适用", "the two methods above work for both Embedding and Linear",
     trainings.either_way, lambda case, out: every(same(out.weight, case.weight), is_true(out.requires_grad, "frozen")))
says("pretrained_only_embedding", "95", "from_pretrained is Embedding's alone.", "接下来的一个方法只适用于Embedding",
     "the next method works for Embedding only", trainings.others_pretrained,
     lambda case, out: is_false(out.has, "it has from_pretrained"),
     only_if("it is Linear that it is compared with; EmbeddingBag has it too",
             lambda case, out: same(out.given, case.weight), "EmbeddingBag"))
says("pretrained_values", "97-99", "from_pretrained(a) makes a layer whose weight is a.",
     "embedding=nn.Embedding.from_pretrained(a)", "", trainings.pretrained, lambda case, out: same(out.given, case.weight))
says("pretrained_initialises", "79,93-98", "from_pretrained initialises a layer that then trains.",
     "想要按照我们的来指定", "want to specify it our own way", trainings.pretrained,
     lambda case, out: every(is_true(out.requires_grad, "frozen"), same(out.after, case.trained)),
     only_if("freeze=False is given: by default it freezes",
             lambda case, out: every(is_false(out.requires_grad, "trains"), same(out.after, case.weight)),
             "from_pretrained"))
says("pretrained_needs_floats", "97", "The table must hold floating-point numbers.", "dtype=torch.float32", "",
     trainings.tables_of_numbers, lambda case, out: same(out.works, "float32" in str(case.situation)),
     only_if("it is to be trained: integers are looked up all the same", lambda case, out: same(out.value, case.rows),
             "int64, looked up"))
