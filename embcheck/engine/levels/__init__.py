"""CPU levels: what libraries may use at most, and what comes out there."""
