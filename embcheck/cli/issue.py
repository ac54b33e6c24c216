"""``embcheck issue``: a cause as a text for the upstream tracker."""

from typing import Annotated

import typer

from embcheck.cli.known import cause_named, shipped_known
from embcheck.known.issue import elsewhere, text


def issue(name: Annotated[str, typer.Argument(help="A cause, as `embcheck known` lists them.")]) -> None:
    """Prints a text for the upstream tracker's bug form: what is wrong, a script, releases, versions. It files nothing."""
    cause = cause_named(name)
    from torch.utils.collect_env import get_pretty_env_info

    found = shipped_known()
    for line in elsewhere(found, cause):
        typer.echo(line, err=True)
    typer.echo(text(found, cause, get_pretty_env_info()), nl=False)
