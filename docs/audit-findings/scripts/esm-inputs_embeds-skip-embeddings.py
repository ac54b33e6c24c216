# EsmModel adds no position embeddings to inputs_embeds: the rows of the table don't give what their ids give.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 2}
model = transformers.EsmModel(
    transformers.EsmConfig(**sizes, pad_token_id=1, mask_token_id=8), add_pooling_layer=False
).eval()
torch.nn.init.constant_(model.embeddings.word_embeddings.weight, 1.0)
torch.nn.init.constant_(model.embeddings.position_embeddings.weight, 2.0)
ids = torch.tensor([[5]])
inputs = [{"input_ids": ids}, {"inputs_embeds": model.get_input_embeddings()(ids)}]
read = [model(**given, output_hidden_states=True).hidden_states[0] for given in inputs]  # by the first layer
got = [rows.tolist() for rows in read]
expected = [[[[3.0, 3.0]]], [[[3.0, 3.0]]]]
wrong = [[[[3.0, 3.0]]], [[[1.0, 1.0]]]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
