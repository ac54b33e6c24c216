"""torch.ao.nn.quantized.Embedding and EmbeddingBag."""
