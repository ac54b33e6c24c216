"""The families of cases: which cases there are, which torch programs run them, and what the definitions expect."""
