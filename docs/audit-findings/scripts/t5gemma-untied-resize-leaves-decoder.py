# resize_token_embeddings of an untied T5Gemma leaves the decoder's table: the head predicts new tokens, with which
# the decoder then raises IndexError.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
part = {**sizes, "num_key_value_heads": 1, "head_dim": 4, "layer_types": ["full_attention"]}
decoder = {**part, "cross_attention_hidden_size": 4}
config = transformers.T5GemmaConfig(encoder=part, decoder=decoder, vocab_size=9, tie_word_embeddings=False)
model = transformers.T5GemmaForConditionalGeneration(config).eval()
model.resize_token_embeddings(12)
ids = torch.tensor([[5, 11]])
expected = [1, 2, 12]
wrong = "index out of range in self"
try:
    got = list(model(ids, decoder_input_ids=ids).logits.shape)
except IndexError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
