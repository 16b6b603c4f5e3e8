r"""Pipelines as text: `parse_pipeline` reads them, `print_pipeline` writes them.

    pipeline ::= [ element ("," element)* ]
    element  ::= pass | "fixpoint" [ "{" "max" "=" integer "}" ] "(" pass ("," pass)* ")"
    pass     ::= name [ "{" ( option "=" value )* "}" ]
    value    ::= item ("," item)*                      several items, or none, for an option that is a tuple
    item     ::= characters other than space , = " \ { } ( )   or a string in double quotes, \ before " and \

White space separates options and is free elsewhere. A fixpoint runs its passes in turn until none of them changes the graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NoReturn

from edpc.errors import UsageError
from edpc.pipeline.base import Pass
from edpc.pipeline.options import read_options, write_options


@dataclass(frozen=True)
class Fixpoint:
    """Passes that run in turn until none of them changes the graph.

    Attributes:
        passes: at least one.
        max: rounds after which a graph that still changes is an error: two passes undo each other, or one never settles.
    """

    name: ClassVar[str] = "fixpoint"

    passes: tuple[Pass, ...]
    max: int = 10


@dataclass(frozen=True)
class _FixpointOptions:
    name: ClassVar[str] = Fixpoint.name

    max: int = Fixpoint.max


Element = Pass | Fixpoint
Pipeline = tuple[Element, ...]

_NAME = re.compile(r"\s*+([A-Za-z0-9_][A-Za-z0-9_.-]*+)\s*+")
_ITEM = r'(?:"(?:[^"\\]|\\.)*+"|[^\s,="\\{}()]++)'
_OPTION = re.compile(rf"\s*+([A-Za-z_][A-Za-z0-9_-]*+)=((?:{_ITEM}(?:,{_ITEM})*+)?+)(?=[\s}}])")
_SPACE = re.compile(r"\s*+")


def parse_pipeline(text: str, extra: Mapping[str, type[Pass]] | None = None) -> Pipeline:
    """The elements that the text names, their options set.

    Args:
        text: in the grammar above.
        extra: passes beside the registered ones, by name (those of `--pass-file`).

    Raises:
        UsageError: the text is not in the grammar, or a pass or an option is not known.
    """
    return _Parser(text, dict(extra or {})).pipeline()


def print_pipeline(pipeline: Iterable[Element]) -> str:
    """The text that `parse_pipeline` reads back; options that have their defaults are left out."""
    return ",".join(_element(each) for each in pipeline)


def passes_of(pipeline: Iterable[Element]) -> list[Pass]:
    """The passes in order, those inside fixpoints among them, each once."""
    return [each for element in pipeline for each in (element.passes if isinstance(element, Fixpoint) else (element,))]


def _element(element: Element) -> str:
    if isinstance(element, Fixpoint):
        return f"{element.name}{write_options(_FixpointOptions(element.max))}({print_pipeline(element.passes)})"
    return f"{element.name}{write_options(element)}"


class _Parser:
    def __init__(self, text: str, extra: dict[str, type[Pass]]) -> None:
        self.text = text
        self.extra = extra
        self.pos = 0

    def pipeline(self) -> Pipeline:
        if not self.text.strip():
            return ()
        elements = [self._element()]
        while self._take(","):
            elements.append(self._element())
        if self.pos < len(self.text):
            self._fail("',' or the end")
        return tuple(elements)

    def _element(self) -> Element:
        name, options = self._head()
        if name != Fixpoint.name:
            return self._pass(name, options)
        maximum = _FixpointOptions(**read_options(_FixpointOptions, options)).max
        if maximum < 1:
            raise UsageError(f"pass fixpoint: option max is at least 1, not {maximum}")
        if not self._take("("):
            self._fail("'(' and the passes of the fixpoint")
        passes = [self._pass(*self._head())]
        while self._take(","):
            passes.append(self._pass(*self._head()))
        if not self._take(")"):
            self._fail("',' or ')'")
        return Fixpoint(tuple(passes), maximum)

    def _pass(self, name: str, options: list[tuple[str, str]]) -> Pass:
        from edpc.registry import find_pass

        if name == Fixpoint.name:
            raise UsageError("a fixpoint holds passes, not another fixpoint")
        cls = find_pass(name, self.extra)
        values = read_options(cls, options)
        try:
            return cls(**values)
        except ValueError as error:
            raise UsageError(f"pass {name}: {error}") from error

    def _head(self) -> tuple[str, list[tuple[str, str]]]:
        """A name and its options as written."""
        found = _NAME.match(self.text, self.pos)
        if found is None:
            self._fail("the name of a pass")
        self.pos = found.end()
        options: list[tuple[str, str]] = []
        if self._take("{"):
            while not self._take("}"):
                option = _OPTION.match(self.text, self.pos)
                if option is None:
                    self._fail("option=value or '}'")
                options.append((option[1], option[2]))
                self.pos = option.end()
        return found[1], options

    def _take(self, char: str) -> bool:
        self._skip()
        if not self.text.startswith(char, self.pos):
            return False
        self.pos += len(char)
        self._skip()
        return True

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.pos)
        self.pos = found.end() if found else self.pos

    def _fail(self, expected: str) -> NoReturn:
        self._skip()
        found = repr(self.text[self.pos : self.pos + 20]) if self.pos < len(self.text) else "the end"
        raise UsageError(f"pipeline, column {self.pos + 1}: expected {expected}, found {found}")
