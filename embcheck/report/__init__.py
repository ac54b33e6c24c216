"""What people look at: every report is a fold over verdicts."""
