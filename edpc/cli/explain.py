"""`edpc explain MODEL`: what fusion saved and where it was refused, modifiers put to the test, elasticities."""

from __future__ import annotations

from typing import Any

import click

from edpc.cli.compile import SIZES, TARGET, options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@options(TARGET)
@click.option("-e", "--emit", type=click.Choice(["report", "json"]), default="report", show_default=True, help="What to write.")
@options(*SIZES)
@click.option("--top", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="Rows of a table; 0: all.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def explain_command(model: str, emit: str, top: int, **given: Any) -> None:
    """Say why MODEL costs what it does on a target.

    What fusion saved in every subgraph and by which cause, which fusions were refused and what they would have saved, declared
    against modelled modifiers, and how the totals depend on every constant of the machine.
    """
    from edpc.cli.output import show, write_stdout
    from edpc.cli.run import Request, reports_of
    from edpc.emit.account import account_blocks, to_json
    from edpc.report.account import build_account

    given.pop("debug")
    accounts = [build_account(report) for report in reports_of(Request(model=model, **given))]
    if emit == "json":
        write_stdout(to_json(accounts))
        return
    show(block for account in accounts for block in account_blocks(account, top or None))
