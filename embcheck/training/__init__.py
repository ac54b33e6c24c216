"""Training: optimizers and schedules, the formulas that they follow, and the programs that train tied pairs and companies."""
