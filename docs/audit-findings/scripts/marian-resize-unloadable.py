# After resize_token_embeddings(12) a checkpoint of Marian or CPM-Ant can't be loaded: another number in the
# configuration, which says how many rows a table has, is not 12.
import sys
import tempfile

import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone


def rows(model):
    model.resize_token_embeddings(12)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        try:
            return len(type(model).from_pretrained(folder).get_input_embeddings().weight)
        except RuntimeError as error:
            return str(error).partition(",")[0]


sizes = {"d_model": 2, "decoder_layers": 1, "decoder_ffn_dim": 2, "decoder_attention_heads": 1}
marian = transformers.MarianConfig(**sizes, vocab_size=9, decoder_vocab_size=9, pad_token_id=8)
sizes = {"hidden_size": 4, "num_attention_heads": 1, "num_hidden_layers": 1, "dim_head": 4, "dim_ff": 4}
cpmant = transformers.CpmAntConfig(**sizes, vocab_size=9, prompt_types=1, prompt_length=2)  # a table of 11 rows
got = [rows(transformers.MarianForCausalLM(marian)), rows(transformers.CpmAntForCausalLM(cpmant))]
expected = [12, 12]
wrong = ["You set `ignore_mismatched_sizes` to `False`", "You set `ignore_mismatched_sizes` to `False`"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
