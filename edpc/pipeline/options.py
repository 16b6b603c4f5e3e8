"""Options of passes as text, typed by the dataclass fields of the pass: int, float, bool, str, `tuple[T, ...]` or `T | None`.

Hyphens in text are underscores in Python: `max-size=4` is the field `max_size`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from edpc.errors import UsageError

# What stands unquoted as one value, or as one of several between commas.
_BARE = re.compile(r"[^\s,=\"\\{}()]+")
_ITEM = re.compile(r'"((?:[^"\\]|\\.)*+)"|([^\s,"\\]++)')
_BOOLS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
_NONE = "none"


def read_options(owner: type, given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The values of the given options, by field name.

    Args:
        owner: the dataclass; its name in text is its `name`.
        given: (option, value) pairs as written.

    Raises:
        UsageError: an option is unknown, given twice or of another type, or one without a default is missing.
    """
    who = f"pass {owner.name}"  # type: ignore[attr-defined]
    known = {f.name: f for f in fields(owner) if f.init}
    hints = _types(owner)
    found: dict[str, Any] = {}
    for option, value in given:
        field = option.replace("-", "_")
        if field not in known:
            close = get_close_matches(field, known, 1)
            hint = f"; did you mean {_shown(close[0])!r}?" if close else _options_of(known)
            raise UsageError(f"{who} has no option {option!r}{hint}")
        if field in found:
            raise UsageError(f"{who}: option {option!r} is given twice")
        found[field] = _read(hints[field], value, f"{who}: option {_shown(field)}")
    for field, each in known.items():
        if field not in found and each.default is MISSING and each.default_factory is MISSING:
            raise UsageError(f"{who} needs the option {_shown(field)!r}")
    return found


@cache
def _types(owner: type) -> dict[str, Any]:
    """The declared types of a dataclass's fields."""
    return get_type_hints(owner)


def write_options(value: Any) -> str:
    """The options that differ from their defaults, as `{key=value key2=value2}`; empty where none does."""
    parts = []
    for field in fields(value):
        current = getattr(value, field.name)
        if field.init and (type(current), current) != (type(_default(field)), _default(field)):
            parts.append(f"{_shown(field.name)}={_write(current)}")
    return f"{{{' '.join(parts)}}}" if parts else ""


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _shown(field: str) -> str:
    return field.replace("_", "-")


def _options_of(known: dict[str, Any]) -> str:
    return f"; it has {', '.join(map(_shown, known))}" if known else "; it has none"


def _read(declared: Any, text: str, what: str) -> Any:
    """The value of the text in the declared type."""
    if declared in _READERS:
        wanted, read = _READERS[declared]
        items = _items(text)
        try:
            if len(items) == 1:
                return read(items[0])
        except (ValueError, KeyError):
            pass
        raise UsageError(f"{what} is {wanted}, not {text!r}")
    arguments = get_args(declared)
    if get_origin(declared) is UnionType and NoneType in arguments and len(arguments) == 2:
        inner = next(a for a in arguments if a is not NoneType)
        return None if text == _NONE else _read(inner, text, what)
    if get_origin(declared) is tuple and Ellipsis in arguments and arguments[0] in _READERS:
        wanted, read = _READERS[arguments[0]]
        try:
            return tuple(read(item) for item in _items(text))
        except (ValueError, KeyError):
            raise UsageError(f"{what} is a list, each {wanted}, separated by commas, not {text!r}") from None
    raise UsageError(f"{what} has the type {declared}, which has no text form")


def _items(text: str) -> list[str]:
    """The values between commas, unquoted."""
    return [_unquote(found[1]) if found[2] is None else found[2] for found in _ITEM.finditer(text)]


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _write(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_write, value))
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = _BARE.fullmatch(value) and value != _NONE
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return value if plain else f'"{escaped}"'
    return repr(value)


_READERS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("an integer", int),
    float: ("a number", float),
    bool: ("true or false", lambda text: _BOOLS[text.lower()]),
    str: ("a text", str),
}
