# The row of the padding token starts with random numbers in ModernVBert, whose nn.Embedding has a padding_idx: the
# table is drawn again after that row was zeroed.
import sys

import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
text = {**sizes, "vocab_size": 9, "pad_token_id": 3}
model = transformers.ModernVBertForMaskedLM(
    transformers.ModernVBertConfig(text_config=text, vision_config=sizes, image_token_id=8)
)
table = model.get_input_embeddings()
got = [table.padding_idx, table.weight[3].count_nonzero().item()]
expected = [3, 0]
wrong = [3, 8]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
