"""``python -m embcheck``: the command line of the interpreter that is asked, whatever stands first on the path."""

from embcheck.cli.main import main

main()
