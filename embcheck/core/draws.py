"""What Hypothesis draws for a run: the same in every process, whatever else is loaded.

Hypothesis mixes numbers that stand in the local modules into what it draws, so that an edit, a test module that happens
to be loaded or an installation as a wheel would change the cases.
"""

from __future__ import annotations

from hypothesis import strategies as st

#: Numbers below 2³⁰, made of what is mixed with nothing: booleans.
SEEDS: st.SearchStrategy[int] = st.tuples(*[st.booleans()] * 30).map(
    lambda bits: sum(bit << place for place, bit in enumerate(bits))
)
