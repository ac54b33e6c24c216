# No configuration builds Gemma4AssistantForCausalLM: Gemma4AssistantConfig has all layers share the keys and values
# of another model, and Gemma4TextConfig, which each layer asks, wants a layer of each kind that has its own.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
kinds = {"layer_types": ["full_attention"], "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
config = transformers.Gemma4AssistantConfig(text_config=transformers.Gemma4TextConfig(**sizes, **kinds))
expected = "built"
wrong = "The set of layer types producing a cache is different than the set of layer types using them"
try:
    with torch.device("meta"):
        transformers.Gemma4AssistantForCausalLM(config)
    got = "built"
except ValueError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
