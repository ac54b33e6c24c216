"""Wrong implementations of embeddings, one module for each place in which they are planted."""
