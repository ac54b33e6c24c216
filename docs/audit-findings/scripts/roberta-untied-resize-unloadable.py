# A checkpoint of an untied RobertaForMaskedLM that was resized can't be loaded: lm_head.bias is as long as it was.
import sys
import tempfile

import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 2}
model = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**sizes, tie_word_embeddings=False))
model.resize_token_embeddings(12)
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    try:
        got = len(transformers.RobertaForMaskedLM.from_pretrained(folder).get_output_embeddings().bias)
    except RuntimeError as error:
        got = [len(model.lm_head.bias), str(error).partition(",")[0]]
expected = 12
wrong = [9, "You set `ignore_mismatched_sizes` to `False`"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
