"""Prints predicted against measured for every claim.

    python -m tools.validate [--only ROW[,ROW...]] [--emit md|json|csv]

Constants are fitted by `python -m tools.fit` on one half of the layers; figures are of the other half, which no fit has seen.
"""

from __future__ import annotations

import sys

import click

from tools.validate import show
from tools.validate.measured import FOLDER
from tools.validate.rows import ROWS
from tools.validate.score import score

EMIT = {"md": show.markdown, "json": show.as_json, "csv": show.as_csv}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", metavar="ROW[,ROW...]", help="Print these rows only; '?' lists them.")
@click.option("--emit", type=click.Choice(list(EMIT)), default="md", show_default=True, help="What to print.")
def main(only: str | None, emit: str) -> None:
    """Print how far predictions are off measured kernels, on layers that no fit has seen."""
    if only == "?":
        click.echo("\n".join(f"{row.name}  {row.what}" for row in ROWS))
        return
    if not FOLDER.is_dir():
        click.echo(f"nothing to validate against: the measurements are not at {FOLDER.parent.name}/{FOLDER.name}", err=True)
        sys.exit(1)
    wanted = only.split(",") if only else [row.name for row in ROWS]
    if strangers := sorted(set(wanted) - {row.name for row in ROWS}):
        raise click.BadParameter(f"no row {', '.join(strangers)}; --only '?' lists them", param_hint="--only")
    found = [(row, score(row.case())) for row in ROWS if row.name in wanted]
    click.echo(EMIT[emit](found), nl=False)


if __name__ == "__main__":
    main()
