# from_pretrained zeroes the row of the padding token in FunnelForMaskedLM, whose head is tied to the table and trains
# that row: a model that is saved and loaded gives another logit for the padding token.
import sys
import tempfile

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"d_model": 2, "n_head": 1, "d_head": 2, "d_inner": 2, "block_sizes": [1], "num_decoder_layers": 1}
model = transformers.FunnelForMaskedLM(transformers.FunnelConfig(**sizes, vocab_size=9, pad_token_id=3))
torch.nn.init.ones_(model.get_input_embeddings().weight)  # as if trained
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    loaded = transformers.FunnelForMaskedLM.from_pretrained(folder)
got = loaded.get_output_embeddings().weight[2:4].tolist()
expected = [[1.0, 1.0], [1.0, 1.0]]
wrong = [[1.0, 1.0], [0.0, 0.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
