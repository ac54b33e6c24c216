# A checkpoint of an untied BertForMaskedLM that was resized loses the head's bias: the loaded model starts it at
# zero.
import sys
import tempfile

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 2}
model = transformers.BertForMaskedLM(transformers.BertConfig(**sizes, tie_word_embeddings=False))
torch.nn.init.ones_(model.get_output_embeddings().bias)  # as if trained
model.resize_token_embeddings(12)
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    loaded = transformers.BertForMaskedLM.from_pretrained(folder)
got = loaded.get_output_embeddings().bias[:3].tolist()
expected = [1.0, 1.0, 1.0]
wrong = [0.0, 0.0, 0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
