# resize_token_embeddings of EsmForMaskedLM leaves the head's bias as long as it was: the next forward pass raises.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 2}
model = transformers.EsmForMaskedLM(transformers.EsmConfig(**sizes, pad_token_id=1, mask_token_id=8)).eval()
model.resize_token_embeddings(12)
expected = [1, 2, 12]
wrong = "The size of tensor a (12) must match the size of tensor b (9)"
try:
    got = list(model(torch.tensor([[5, 6]])).logits.shape)
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
