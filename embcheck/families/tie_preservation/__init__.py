"""Operations on a model with tied weights, and what becomes of the tie."""
