"""Defaults of options from `edpc.toml`, or from `[tool.edpc]` of `pyproject.toml`, in the working directory."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from edpc.errors import UsageError


def read_defaults(ctx: click.Context) -> dict[str, dict[str, Any]]:
    """Defaults of the compile command by parameter name, as click takes them; `edpc.toml` wins over `pyproject.toml`.

    A list becomes the comma-separated text an option expects, a table the `KEY=VALUE` pairs of a repeatable one.

    Raises:
        UsageError: the file cannot be read, or holds an option that edpc does not have.
    """
    for path, table, mark in ((Path("edpc.toml"), (), b""), (Path("pyproject.toml"), ("tool", "edpc"), b"edpc")):
        content = _read(path, mark)
        for key in table:
            content = content.get(key, {}) if isinstance(content, dict) else {}
        if content:
            return {"compile": _by_parameter(ctx, content, path)}
    return {}


def _read(path: Path, mark: bytes) -> Any:
    """The file's content; nothing where it is absent or does not hold the mark, which is most files of other projects."""
    try:
        data = path.read_bytes()
        if mark not in data:
            return {}
        import tomllib

        return tomllib.loads(data.decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # a UnicodeDecodeError and a TOMLDecodeError are both ValueErrors
        raise UsageError(f"cannot read {path}: {error}") from None


def _by_parameter(ctx: click.Context, content: Any, path: Path) -> dict[str, Any]:
    assert isinstance(ctx.command, click.Group)
    command = ctx.command.get_command(ctx, "compile")
    assert command is not None
    options = {_name(p): p for p in command.params if isinstance(p, click.Option)}
    if not isinstance(content, dict):
        raise UsageError(f"{path}: the settings of edpc must be a table")
    found = {}
    for key, value in content.items():
        name = key.replace("_", "-")
        if name not in options:
            close = get_close_matches(name, options, 1)
            raise UsageError(f"{path}: edpc has no option {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        option = options[name]
        given = _value(value, option.multiple, f"{path}: {key}")
        try:
            option.type_cast_value(ctx, given)
        except click.BadParameter as error:
            raise UsageError(f"{path}: {key}: {error.message}") from None
        found[str(option.name)] = given
    return found


def _name(option: click.Option) -> str:
    """The long name of an option, without its hyphens."""
    return max(option.opts, key=len).lstrip("-")


def _value(value: Any, multiple: bool, where: str) -> Any:
    if isinstance(value, dict):
        value = [f"{key}={item}" for key, item in _leaves(value)]
    if isinstance(value, list):
        if not all(isinstance(item, str | int | float) for item in value):
            raise UsageError(f"{where} must be a list of texts and numbers")
        return value if multiple else ",".join(map(str, value))
    if not isinstance(value, str | int | float):
        raise UsageError(f"{where} must be a text, a number, a truth value, a list or a table")
    return [value] if multiple else value


def _leaves(table: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Entries of nested tables by dotted name: in TOML, `hbm.bandwidth = 1` without quotes is a table in a table."""
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return found
