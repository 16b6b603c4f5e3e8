"""Tokens of the text form: names, strings and numbers, how they are quoted, and a scanner that says where it stands.

Every pattern is possessive, so scanning is linear in the text whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from edpc.errors import ModelError

T = TypeVar("T")

# White space and comments, allowed before every token.
SKIP = r"(?:[ \t\r\n]++|//[^\n]*+)*+"
STRING = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
# Names never hold two slashes in a row unquoted: those open a comment.
BARE = r"/?+[A-Za-z0-9_.$\-]++(?:/[A-Za-z0-9_.$\-]++)*+"
NAME = rf"(?:{STRING}|{BARE})"
WORD = r"[A-Za-z_][A-Za-z0-9_.]*+(?:-[A-Za-z0-9_.]++)*+"
SYMBOL = rf"(?:{STRING}|{WORD})"
INTEGER = r"-?+[0-9]++(?![0-9.eE])"
FLOAT = r"-?+(?:[0-9]++(?:\.[0-9]*+)?+(?:[eE][+-]?+[0-9]++)?+|inf\b|nan\b)"

_NAME = re.compile(BARE)
_WORD = re.compile(WORD)
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|(.))")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_ESCAPED = {char: f"\\{letter}" for letter, char in _ESCAPES.items()}
_ANY_TOKEN = re.compile(rf"{STRING}|{BARE}|[%@]{NAME}|->|.", re.DOTALL)
_LONGEST_SHOWN = 40


def quote(text: str) -> str:
    """The text between double quotes, with everything escaped that would not show."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    shown = (_ESCAPED.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text)
    return f'"{"".join(shown)}"'


def name(text: str) -> str:
    """An operator or graph name, quoted only where it must be."""
    return text if _NAME.fullmatch(text) else quote(text)


def symbol(text: str) -> str:
    """A kind, rule or attribute name, quoted only where it must be."""
    return text if _WORD.fullmatch(text) else quote(text)


def token(pattern: str) -> re.Pattern[str]:
    """The compiled pattern, with white space and comments before it."""
    return re.compile(f"{SKIP}(?:{pattern})")


class Phrase:
    """Tokens in a row: matched by one expression where the text is right, one by one where the error must be found."""

    def __init__(self, *parts: tuple[str, str]) -> None:
        """Takes (pattern, what it is called in an error) pairs."""
        self.whole = re.compile("".join(f"{SKIP}(?:{pattern})" for pattern, _ in parts))
        self.parts = [(token(pattern), what) for pattern, what in parts]


_SPACE = re.compile(SKIP)


class Scanner:
    """A text, and how far it has been read.

    Attributes:
        text: all of it. file: what errors call it. pos: the first character not read yet.
    """

    __slots__ = ("file", "pos", "text")

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.pos = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Reads the pattern if it comes next."""
        found = pattern.match(self.text, self.pos)
        if found is not None:
            self.pos = found.end()
        return found

    def expect(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        """Reads the pattern; a ModelError where something else comes next."""
        return self.take(pattern) or self.fail_here(what)

    def phrase(self, phrase: Phrase) -> re.Match[str]:
        """Reads all parts of the phrase; a ModelError at the first part that is missing."""
        found = self.take(phrase.whole)
        if found is None:
            for pattern, what in phrase.parts:
                self.expect(pattern, what)
            raise AssertionError("a phrase is its parts in a row")
        return found

    def once(self, extent: re.Pattern[str], known: dict[str, T], read: Callable[[], T]) -> T:
        """What `read` answers here, or what it answered before for the same text; networks repeat their layers word by word.

        Args:
            extent: matches the whole construct, at least where it is laid out as printed.
            known: answers so far, by text; they must be immutable and depend on the text only.
            read: reads the construct.
        """
        start = self.pos
        found = extent.match(self.text, start)
        if found is not None and found[0] in known:
            self.pos = found.end()
            return known[found[0]]
        answer = read()
        known[self.text[start : self.pos]] = answer
        return answer

    def skip(self) -> int:
        """Moves over white space and comments; answers where the next token starts."""
        self.pos = _SPACE.match(self.text, self.pos).end()  # type: ignore[union-attr]  # the pattern matches the empty text
        return self.pos

    def fail_here(self, expected: str) -> NoReturn:
        """Raises the ModelError that says what was expected here and what stands here."""
        start = self.skip()
        found = _ANY_TOKEN.match(self.text, start)
        if found is None:
            self.fail(start, f"expected {expected}, found the end of the text")
        shown = found[0] if len(found[0]) <= _LONGEST_SHOWN else found[0][:_LONGEST_SHOWN] + "..."
        self.fail(start, f"expected {expected}, found {shown if shown.startswith(chr(34)) else quote(shown)}")

    def fail(self, at: int, message: str) -> NoReturn:
        """Raises a ModelError that names file, line and column (both from 1) of the position."""
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        raise ModelError(f"{self.file}:{line}:{column}: {message}")

    def unquote(self, text: str, at: int) -> str:
        """What a name or string token means.

        Args:
            text: the token.
            at: where it starts, for errors about its escapes.
        """
        if not text.startswith('"'):
            return text
        if "\\" not in text:
            return text[1:-1]

        def meaning(found: re.Match[str]) -> str:
            if found[1] and int(found[1], 16) <= 0x10FFFF:
                return chr(int(found[1], 16))
            if found[2] in _ESCAPES:
                return _ESCAPES[found[2]]
            return self.fail(at + 1 + found.start(), f'expected one of \\n \\t \\r \\" \\\\ \\u{{hex}}, found {quote(found[0])}')

        return _ESCAPE.sub(meaning, text[1:-1])

    def integer(self, text: str, at: int) -> int:
        """The value of an integer token; one beyond what Python converts is a ModelError."""
        try:
            return int(text)
        except ValueError:
            self.fail(at, f"expected an integer of reasonable length, found one of {len(text)} digits")
