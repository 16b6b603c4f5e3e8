"""Typed records as text, generically from their dataclass fields: a new fact field needs no change here.

A field is written by its declared type: int, float, bool, str, another record, `tuple[T, ...]`, `tuple[T, T]` or `T | None`.
Fields that hold their default are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from edpc.ir.lexer import FLOAT, INTEGER, STRING, Scanner, quote, token

_OPEN = token("<")
_CLOSE = token(">")
_LIST = token(r"\[")
_LIST_END = token(r"\]")
_COMMA = token(",")
_BEHIND = token("([,>])")
_EQUALS = token("=")
_NONE = token(r"none\b")
_EQUALS_NONE = token(r"=[ ]*+none\b")
_BOOL = token(r"(true|false)\b")
_INTEGER = token(f"({INTEGER})")
_FLOAT = token(f"({FLOAT})")
_STRING = token(f"({STRING})")
_FIELD = token(r"([a-z_][a-z0-9_]*+)")
_VALUE = token(rf"(?P<bool>true\b|false\b)|(?P<int>{INTEGER})|(?P<float>{FLOAT})|(?P<str>{STRING})|(?P<list>\[)")

# The form the printer writes for plain fields, read many at once: this is what makes large texts fast.
# Its values mean the same to `float` and `int` as to the grammar; `nan`, escapes and other layouts go the careful way.
_NUMBER = r"-?+(?:[0-9]++(?:\.[0-9]++)?+(?:e[+-]?+[0-9]++)?+|inf)"
_PLAIN = rf"[a-z_][a-z0-9_]*+=(?:{_NUMBER}|true|false|none|\"[^\"\\\n]*+\"|\[(?:{_NUMBER}(?:, {_NUMBER})*+)?+\])(?=[,>])"
_PLAIN_RUN = re.compile(rf"[ ]?+({_PLAIN}(?:, {_PLAIN})*+)(>|, (?=[a-z])|)")
_PLAIN_FIELD = re.compile(r"([a-z_][a-z0-9_]*+)=(\"[^\"]*+\"|\[[^\]]*+\]|[^,]++)")


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """How values of one declared type are written and read.

    Attributes:
        write: from a value to its text; a TypeError where the value is not of the declared type and `write_any` must do it.
        read: the value that comes next; a ModelError where it is none of this type.
        convert: from a token of `_PLAIN` to its value; a ValueError or KeyError sends the reader the careful way, to `read`.
        write_any: from any value that may stand in for one of the declared type (numpy's scalars, an int for a float).
        is_record: whether a field of this type is written `name<...>` rather than `name=...`.
    """

    write: Callable[[Any], str]
    read: Callable[[Scanner], Any]
    convert: Callable[[str], Any]
    write_any: Callable[[Any], str]
    is_record: bool = False


class Record:
    """How a dataclass is written and read: `<field=value, nested<...>>`."""

    def __init__(self, cls: type, without: frozenset[str] = frozenset()) -> None:
        """Takes the dataclass, and which of its fields are written elsewhere."""
        self.cls = cls
        hints = get_type_hints(cls)
        known = [f for f in fields(cls) if f.name not in without]
        self.codecs: dict[str, Codec] = {f.name: codec_of(hints[f.name]) for f in known}
        self.required = [f.name for f in known if f.default is MISSING]
        self._writers = [codec.write for codec in self.codecs.values()]
        self._heads = [name if codec.is_record else f"{name}=" for name, codec in self.codecs.items()]
        self._defaults = [None if f.default is MISSING else self.codecs[f.name].write(f.default) for f in known]
        # attrgetter answers a bare value for a single field; the constant keeps it a tuple.
        self._values = attrgetter(*self.codecs, "__class__")

    def write(self, value: Any) -> str:
        """The record's fields, those that hold their default left out."""
        values = self._values(value)[:-1]
        try:
            texts = [write(item) for write, item in zip(self._writers, values, strict=True)]
        except TypeError:
            texts = [codec.write_any(item) for codec, item in zip(self.codecs.values(), values, strict=True)]
        shown = [h + t for h, t, default in zip(self._heads, texts, self._defaults, strict=True) if t != default]
        return f"<{', '.join(shown)}>"

    def read(self, scanner: Scanner) -> Any:
        """The record that comes next; a ModelError where it is malformed."""
        return self.cls(**self.read_fields(scanner))

    def read_fields(self, scanner: Scanner) -> dict[str, Any]:
        """The fields written between `<` and `>`; a ModelError where one is unknown, written twice or missing."""
        scanner.expect(_OPEN, "'<'")
        start = scanner.pos - 1
        found: dict[str, Any] = {}
        closed = bool(scanner.take(_CLOSE))
        while not closed:
            behind = self._read_plain(scanner, found)
            if behind is None:
                self._read_field(scanner, found)
            closed = (behind or scanner.expect(_BEHIND, "',' or '>'")[1]) == ">"
        for name in self.required:
            if name not in found:
                scanner.fail(start, f"expected the field {name!r} of {self.cls.__name__.lower()}, found none")
        return found

    def _read_plain(self, scanner: Scanner, found: dict[str, Any]) -> str | None:
        """Reads a run of plain fields and what stands behind it; None, having read nothing, where one needs the careful way."""
        run = _PLAIN_RUN.match(scanner.text, scanner.pos)
        if run is None:
            return None
        pairs = _PLAIN_FIELD.findall(run[1])
        try:
            new = {name: self.codecs[name].convert(text) for name, text in pairs}
        except (KeyError, ValueError):
            return None
        if len(new) != len(pairs) or not found.keys().isdisjoint(new):
            return None
        found.update(new)
        scanner.pos = run.end()
        return run[2]

    def _read_field(self, scanner: Scanner, found: dict[str, Any]) -> None:
        name = scanner.expect(_FIELD, f"a field of {self.cls.__name__.lower()}")
        codec = self.codecs.get(name[1])
        if codec is None:
            close = get_close_matches(name[1], self.codecs, 1)
            meant = f"{close[0]!r}" if close else f"one of {', '.join(self.codecs)}"
            scanner.fail(name.start(1), f"expected {meant}, found {name[1]!r}, which is no field of {self.cls.__name__.lower()}")
        if name[1] in found:
            scanner.fail(name.start(1), f"expected each field once, found {name[1]!r} again")
        if not (codec.is_record or scanner.take(_EQUALS)):
            scanner.fail_here("'='")
        found[name[1]] = codec.read(scanner)


def _read_float(scanner: Scanner) -> float:
    return _float(scanner.expect(_FLOAT, "a number")[1])


def _float(text: str) -> float:
    """The float of a token; every `nan` is the same object, so that records which hold it compare equal."""
    return math.nan if text.endswith("nan") else float(text)


def _read_int(scanner: Scanner) -> int:
    found = scanner.expect(_INTEGER, "an integer")
    return scanner.integer(found[1], found.start(1))


def _read_bool(scanner: Scanner) -> bool:
    return scanner.expect(_BOOL, "true or false")[1] == "true"


def _read_str(scanner: Scanner) -> str:
    found = scanner.expect(_STRING, "a string")
    return scanner.unquote(found[1], found.start(1))


def _convert_str(text: str) -> str:
    if not text.startswith('"'):
        raise ValueError(text)
    return text[1:-1]


def _write_bool(value: Any) -> str:
    return "true" if value else "false"


def _write_float(value: Any) -> str:
    return float.__repr__(value) if isinstance(value, float) else str(value)


def _never_plain(text: str) -> Any:
    raise ValueError(text)


_CONVERT_BOOL = {"true": True, "false": False}.__getitem__
_SCALARS: dict[Any, Codec] = {
    int: Codec(int.__repr__, _read_int, int, str),
    float: Codec(float.__repr__, _read_float, float, _write_float),
    bool: Codec(_write_bool, _read_bool, _CONVERT_BOOL, _write_bool),
    str: Codec(quote, _read_str, _convert_str, quote),
}


def _tuple_of(item: Codec, length: int | None) -> Codec:
    def write(value: Any) -> str:
        return f"[{', '.join(map(item.write, value))}]"

    def write_any(value: Any) -> str:
        return f"[{', '.join(map(item.write_any, value))}]"

    def read(scanner: Scanner) -> tuple[Any, ...]:
        scanner.expect(_LIST, "'['")
        start = scanner.pos - 1
        found = _read_list(scanner, item.read)
        if length is not None and len(found) != length:
            scanner.fail(start, f"expected {length} values, found {len(found)}")
        return found

    def convert(text: str) -> tuple[Any, ...]:
        if not text.startswith("["):
            raise ValueError(text)
        found = tuple(map(item.convert, text[1:-1].split(", "))) if len(text) > 2 else ()
        if length is not None and len(found) != length:
            raise ValueError(text)
        return found

    return Codec(write, read, convert, write_any)


def _optional(item: Codec) -> Codec:
    # A record stands behind its field's name without '=', so its absence brings its own.
    nothing, absent = ("=none", _EQUALS_NONE) if item.is_record else ("none", _NONE)

    def write(value: Any) -> str:
        return nothing if value is None else item.write(value)

    def write_any(value: Any) -> str:
        return nothing if value is None else item.write_any(value)

    def read(scanner: Scanner) -> Any:
        return None if scanner.take(absent) else item.read(scanner)

    def convert(text: str) -> Any:
        return None if text == "none" else item.convert(text)

    return Codec(write, read, convert, write_any, item.is_record)


def _read_list(scanner: Scanner, read: Callable[[Scanner], Any]) -> tuple[Any, ...]:
    """The values up to `]`; the `[` has been read."""
    found: list[Any] = []
    while not scanner.take(_LIST_END):
        if found:
            scanner.expect(_COMMA, "',' or ']'")
        found.append(read(scanner))
    return tuple(found)


@cache
def codec_of(declared: Any) -> Codec:
    """The codec of a declared type.

    Raises:
        TypeError: the text form has no way to write such a type.
    """
    if declared in _SCALARS:
        return _SCALARS[declared]
    if isinstance(declared, type) and is_dataclass(declared):
        record = Record(declared)
        return Codec(record.write, record.read, _never_plain, record.write, is_record=True)
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is tuple and len(set(arguments) - {Ellipsis}) == 1:
        return _tuple_of(codec_of(arguments[0]), None if Ellipsis in arguments else len(arguments))
    if origin is UnionType and len(arguments) == 2 and NoneType in arguments:
        return _optional(codec_of(next(a for a in arguments if a is not NoneType)))
    raise TypeError(f"the text form knows no way to write {declared}")


def write_attribute(value: Any) -> str:
    """The text of an attribute: a bool, int, float or str, or a tuple of them.

    Raises:
        TypeError: the value is none of these.
    """
    if isinstance(value, bool):
        return _write_bool(value)
    if isinstance(value, int | float):
        return _write_float(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(write_attribute, value))}]"
    raise TypeError(f"an attribute is a bool, int, float, str or a tuple of them, not {type(value).__name__}")


def read_attribute(scanner: Scanner) -> Any:
    """The attribute value that comes next."""
    return _attribute(scanner, nested=False)


def _attribute(scanner: Scanner, nested: bool) -> Any:
    found = scanner.take(_VALUE)
    if found is None or (nested and found["list"]):
        if found is not None:
            scanner.pos = found.start("list")
        scanner.fail_here("a number, a string, true or false" if nested else "a number, a string, true, false or '['")
    if found["bool"]:
        return found["bool"] == "true"
    if found["int"]:
        return scanner.integer(found["int"], found.start("int"))
    if found["float"]:
        return _float(found["float"])
    if found["str"]:
        return scanner.unquote(found["str"], found.start("str"))
    return _read_list(scanner, lambda inner: _attribute(inner, nested=True))
