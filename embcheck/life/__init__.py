"""The life of tied weights: a model of names, Parameters and memory, and what each operation does to it."""
