"""The two tiers of families: *core*, which a newcomer reads and a screen shows one by one, and *extended*, all others."""

#: A family is core if its laws say what an embedding, its gradient, its padding row, a bag, a conversion from or to a linear
#: layer or a tied pair is by definition, or what tutorials teach of them; a screen shows them in this order.
CORE = (
    *("lookup", "one_hot", "gradient", "gradient_routes", "padding", "padding_row_training", "conversion"),
    *("tied_training", "tie_preservation", "tie_export", "embedding_bag", "max_norm"),
    *("construction", "default_init", "tutorial_claims"),
)


def place_of(family: str) -> int:
    """The place of a core family among all; extended ones come after them."""
    return CORE.index(family) if family in CORE else len(CORE)
