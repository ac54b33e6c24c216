# Funnel raises AttributeError when ids end with the padding token and no attention_mask is given: the check that
# wants to warn asks the configuration for a bos_token_id, which FunnelConfig lacks.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"d_model": 2, "n_head": 1, "d_head": 2, "d_inner": 2, "block_sizes": [1], "num_decoder_layers": 1}
model = transformers.FunnelForMaskedLM(transformers.FunnelConfig(**sizes, vocab_size=9, pad_token_id=3)).eval()
expected = [1, 4, 9]
wrong = "'FunnelConfig' object has no attribute 'bos_token_id'"
try:
    got = list(model(torch.tensor([[5, 6, 7, 3]])).logits.shape)
except AttributeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
