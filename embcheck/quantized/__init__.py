"""Tables of eight and four bits: `torch.ao.nn.quantized`."""
