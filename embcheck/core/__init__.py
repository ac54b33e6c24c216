"""Cases, outcomes, oracles, bounds, laws, verdicts and the ledger: numpy only, nothing here imports torch."""
