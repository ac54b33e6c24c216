"""Executes cases with torch, evaluates laws on what came out, reduces counterexamples and writes their scripts."""
