# resize_token_embeddings leaves two tables that are read with the same ids: that of the experts of each token in
# DeepSeek-V4, and that of BLT's patcher. A new token raises IndexError.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone


def logits(model):
    model.eval().resize_token_embeddings(12)
    try:
        return model(torch.tensor([[5, 6, 11]]), use_cache=False).logits.shape[-1]
    except IndexError as error:
        return str(error)


sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
heads = dict.fromkeys(("head_dim", "qk_rope_head_dim", "q_lora_rank", "o_lora_rank", "index_head_dim"), 8)
experts = {"moe_intermediate_size": 8, "n_routed_experts": 2, "num_experts_per_tok": 1, "pad_token_id": 3}
layers = {"layer_types": ["heavily_compressed_attention"], "mlp_layer_types": ["hash_moe"]}
deepseek = transformers.DeepseekV4Config(**sizes, **heads, **experts, **layers)
part = {**sizes, "intermediate_size": 8, "hidden_size_global": 8}
parts = {f"{name}_config": part for name in ("patcher", "encoder", "decoder", "global")}
blt = transformers.BltConfig(vocab_size=9, encoder_hash_byte_group_vocab=9, **parts)
got = [logits(transformers.DeepseekV4ForCausalLM(deepseek)), logits(transformers.BltForCausalLM(blt))]
expected = [12, 12]
wrong = ["index 11 is out of bounds for dimension 0 with size 9", "index out of range in self"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
