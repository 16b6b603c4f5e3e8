"""The text form: `print_graph` writes it, `parse_graph` reads it, and reading what was written gives the same graph.

    graph     ::= "graph" "@" name "{" [ "info" record ] [ "estimate" record ] operator* group* "}"
    operator  ::= "%" name "=" symbol "(" [ operand ("," operand)* ] ")" [ "{" attribute ("," attribute)* "}" ]
                  ":" signature ( fact record )* [ location ]
    operand   ::= "%" name [ "#" number-of-the-result ]
    attribute ::= symbol "=" ( scalar | "[" [ scalar ("," scalar)* ] "]" )
    signature ::= [ types "->" ] ( type | types )         without an arrow: operand types are those of the results read
    types     ::= "(" [ type ("," type)* ] ")"
    type      ::= dtype "[" ( "*" | [ size ("," size)* ] ) "]"             "?" is a size, "*" a rank that is not known
    location  ::= "loc" "(" string ("," string)* ")"                       source name, type, module path, call
    fact      ::= a field of Operator that holds a record: "work", "cost", "separate", "share"
    group     ::= "group" "@" name "=" symbol "(" [ "%" name ("," "%" name)* ] ")" record       rule, members, the rest
    record    ::= "<" [ field ("," field)* ] ">"           a field that is left out has its default
    field     ::= word "=" value | word record             by the field's declared type
    value     ::= scalar | "none" | record | "[" [ value ("," value)* ] "]"
    scalar    ::= integer | float | "inf" | "-inf" | "nan" | "true" | "false" | string
    name      ::= [A-Za-z0-9_.$-] words joined by single "/", or a string
    symbol    ::= word | string

An operator stands below the operators it reads. Strings escape as backslash n, t, r, quote, backslash, and u{hexadecimal}.
White space separates tokens (a type is one token) and means nothing else; `//` comments run to the end of the line.
Nesting is bounded by the declared types, so no text can exhaust the stack.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import partial
from typing import Any, NoReturn

from edpc.ir.collector import collector_paused
from edpc.ir.facts import Estimate, Group, ModelInfo
from edpc.ir.graph import Graph
from edpc.ir.lexer import NAME, SKIP, STRING, SYMBOL, Phrase, Scanner, name, quote, symbol, token
from edpc.ir.operator import Location, Operator, Value
from edpc.ir.records import Record, codec_of, read_attribute, write_attribute
from edpc.ir.types import TensorType

_INFO = codec_of(ModelInfo)
_ESTIMATE = Record(Estimate, frozenset({"elasticities", "draws"}))
# What has a notation of its own; every other field is written as a fact or a record field.
_FACTS = Record(Operator, frozenset({"kind", "inputs", "outputs", "attributes", "location"})).codecs
_GROUP = Record(Group, frozenset({"name", "rule", "members"}))

_GRAPH = Phrase((r"graph\b", "'graph'"), (f"@({NAME})", "'@' and the graph's name"), (r"\{", "'{'"))
_OPERATOR = Phrase(
    (f"%({NAME})", "an operator, a group or '}'"), ("=", "'='"), (f"({SYMBOL})", "an operator kind"), (r"\(", "'('")
)
_FIRST_OPERAND = token(rf"%({NAME})(?:#([0-9]{{1,9}}+))?+")
_OPERAND = token(rf",{SKIP}%({NAME})(?:#([0-9]{{1,9}}+))?+")
_ATTRIBUTE = Phrase((f"({SYMBOL})", "an attribute's name"), ("=", "'='"))
_GROUP_HEAD = Phrase(
    (r"group\b", "'group'"),
    (f"@({NAME})", "'@' and the group's name"),
    ("=", "'='"),
    (f"({SYMBOL})", "a fusion rule's name"),
    (r"\(", "'('"),
)
_FIRST_MEMBER = token(f"%({NAME})")
_MEMBER = token(f",{SKIP}%({NAME})")
_SIZE = r"(?:\?|-?+[0-9]++)"
_TYPE_TEXT = rf"([A-Za-z_]\w*+)\[[ ]*+(\*|{_SIZE}(?:[ ]*+,[ ]*+{_SIZE})*+|)[ ]*+\]"
_TYPE = token(_TYPE_TEXT)
_FACT = token(r"([a-z_]\w*+)(?=[ ]*+<)")
# Extents of what repeats from layer to layer, laid out as printed.
_ATTRIBUTES_EXTENT = re.compile(rf" \{{(?:[^{{}}\"]++|{STRING})*+\}}")
_SIGNATURE_EXTENT = re.compile(rf" : \([^()]*+\) -> (?:\([^()]*+\)|{_TYPE_TEXT})")
_FACT_EXTENT = re.compile(rf"<(?:[^<>\"]++|{STRING}|<[^<>]*+>)*+>")
_LOCATION = token(r"loc\b")
_LOCATION_PARTS = token(rf"\({SKIP}({STRING})" + rf"(?:{SKIP},{SKIP}({STRING}))?+" * 3 + rf"{SKIP}\)")
_INFO_TAG = token(r"info\b")
_ESTIMATE_TAG = token(r"estimate\b")
_GROUP_TAG = token(r"(?=group\b)")
_STRING = token(f"({STRING})")
_OPEN = token(r"\(")
_CLOSE = token(r"\)")
_BRACE = token(r"\{")
_BRACE_END = token(r"\}")
_COMMA = token(",")
_COLON = token(":")
_ARROW = token("->")
_END = token(r"\Z")
# Beyond so many names, looking for one that is close takes longer than a person waits for an error.
_MOST_COMPARED = 10_000


def print_graph(graph: Graph) -> str:
    """The graph as text, operators in topological order, ending in a newline.

    Raises:
        TypeError: an attribute has a value that the IR does not know.
        networkx.NetworkXUnfeasible: the graph has a cycle.
    """
    types: dict[TensorType, str] = {}
    names = {each: f"%{name(each)}" for each in graph.dag}

    def show(each: TensorType) -> str:
        if each not in types:
            types[each] = str(each)
        return types[each]

    lines = [f"graph @{name(graph.name)} {{"]
    if graph.info != ModelInfo():
        lines.append(f"  info{_INFO.write(graph.info)}")
    if graph.estimate is not None:
        lines.append(f"  estimate{_ESTIMATE.write(graph.estimate)}")
    for each in graph.order():
        op = graph.op(each)
        operands = ", ".join(names[v.node] if v.result == 0 else f"{names[v.node]}#{v.result}" for v in graph.operands(each))
        line = f"  {names[each]} = {symbol(op.kind)}({operands})"
        if op.attributes:
            line += f" {{{', '.join(f'{symbol(key)} = {write_attribute(value)}' for key, value in op.attributes)}}}"
        outputs = show(op.outputs[0]) if len(op.outputs) == 1 else f"({', '.join(map(show, op.outputs))})"
        line += f" : ({', '.join(map(show, op.inputs))}) -> {outputs}" if op.inputs or operands else f" : {outputs}"
        for fact, codec in _FACTS.items():
            value = getattr(op, fact)
            if value is not None:
                line += f" {fact}{codec.write(value)}"
        if op.location is not None:
            line += f" loc({_location(op.location)})"
        lines.append(line)
    for group in graph.groups:
        members = ", ".join(names.get(m) or f"%{name(m)}" for m in group.members)
        lines.append(f"  group @{name(group.name)} = {symbol(group.rule)}({members}) {_GROUP.write(group)}")
    return "\n".join([*lines, "}", ""])


def parse_graph(text: str, file: str = "<text>") -> Graph:
    """The graph that the text describes. Its structure holds; `edpc.ir.verify` checks the rest.

    Args:
        text: the text form of one graph.
        file: what errors call it.

    Raises:
        ModelError: file, line and column, what was expected there and what was found.
    """
    with collector_paused():
        return _Parser(Scanner(text, file)).graph()


def _location(location: Location) -> str:
    parts = [location.source_name, location.source_type, location.module_path, location.call]
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return ", ".join(map(quote, parts))


_Types = tuple[TensorType, ...]


class _Parser:
    def __init__(self, scanner: Scanner) -> None:
        self.scan = scanner
        self.types: dict[str, TensorType] = {}
        self.attributes: dict[str, tuple[tuple[str, Any], ...]] = {}
        self.signatures: dict[str, tuple[_Types | None, _Types]] = {}
        self.facts: dict[str, dict[str, Any]] = {fact: {} for fact in _FACTS}
        self.outputs: dict[str, _Types] = {}

    def graph(self) -> Graph:
        scan = self.scan
        head = scan.phrase(_GRAPH)
        graph = Graph(scan.unquote(head[1], head.start(1)))
        if scan.take(_INFO_TAG):
            graph.info = _INFO.read(scan)
        if scan.take(_ESTIMATE_TAG):
            graph.estimate = _ESTIMATE.read(scan)
        groups = []
        while not scan.take(_BRACE_END):
            if scan.take(_GROUP_TAG):
                groups.append(self._group())
            elif not groups:
                self._operator(graph)
            else:
                scan.fail_here("a group or '}'")
        graph.groups = groups
        scan.expect(_END, "the end of the text")
        return graph

    def _operator(self, graph: Graph) -> None:
        scan = self.scan
        head = scan.phrase(_OPERATOR)
        each = scan.unquote(head[1], head.start(1))
        if each in self.outputs:
            scan.fail(head.start(1) - 1, f"expected a new name, found %{name(each)}, which is defined above")
        operands = self._operands()
        attributes = scan.once(_ATTRIBUTES_EXTENT, self.attributes, self._attributes)
        inputs, outputs = scan.once(_SIGNATURE_EXTENT, self.signatures, self._signature)
        if inputs is None:
            inputs = tuple(self.outputs[node][result] for node, result in operands)
        facts: dict[str, Any] = {}
        while (found := scan.take(_FACT)) is not None:
            if found[1] not in _FACTS or found[1] in facts:
                what = "is there already" if found[1] in facts else "is none"
                scan.fail(found.start(1), f"expected a fact ({', '.join(_FACTS)}), found {found[1]!r}, which {what}")
            facts[found[1]] = scan.once(_FACT_EXTENT, self.facts[found[1]], partial(_FACTS[found[1]].read, scan))
        location = self._location() if scan.take(_LOCATION) else None
        kind = scan.unquote(head[2], head.start(2))
        graph.add(each, Operator(kind, inputs, outputs, attributes, location, **facts), operands)
        self.outputs[each] = outputs

    def _operands(self) -> list[Value]:
        scan = self.scan
        operands: list[Value] = []
        while (found := scan.take(_OPERAND if operands else _FIRST_OPERAND)) is not None:
            node = scan.unquote(found[1], found.start(1))
            result = int(found[2] or 0)
            if result >= len(self.outputs.get(node, ())):
                self._no_such_value(node, result, found.start(1) - 1)
            operands.append(Value(node, result))
        scan.expect(_CLOSE, "')' or ',' and an operand" if operands else "an operand or ')'")
        return operands

    def _no_such_value(self, node: str, result: int, at: int) -> NoReturn:
        if node in self.outputs:
            count = len(self.outputs[node])
            self.scan.fail(at, f"expected a result of %{name(node)}, which has {count}, found #{result}")
        close = get_close_matches(node, self.outputs, 1) if len(self.outputs) <= _MOST_COMPARED else []
        hint = f"; did you mean %{name(close[0])}?" if close else ""
        self.scan.fail(at, f"expected an operator defined above, found %{name(node)}, which is not{hint}")

    def _attributes(self) -> tuple[tuple[str, Any], ...]:
        scan = self.scan
        attributes: list[tuple[str, Any]] = []
        if scan.take(_BRACE):
            while not scan.take(_BRACE_END):
                if attributes:
                    scan.expect(_COMMA, "',' or '}'")
                found = scan.phrase(_ATTRIBUTE)
                attributes.append((scan.unquote(found[1], found.start(1)), read_attribute(scan)))
        return tuple(attributes)

    def _signature(self) -> tuple[_Types | None, _Types]:
        """Operand types, None where they follow from the operands, and result types."""
        scan = self.scan
        scan.expect(_COLON, "':' and the types")
        if not scan.take(_OPEN):
            return None, (self._type("a type or '('"),)
        first = self._types()
        if not scan.take(_ARROW):
            return None, first
        return first, self._types() if scan.take(_OPEN) else (self._type("a type or '('"),)

    def _types(self) -> _Types:
        scan = self.scan
        found: list[TensorType] = []
        while not scan.take(_CLOSE):
            if found:
                scan.expect(_COMMA, "',' or ')'")
            found.append(self._type("a type or ')'"))
        return tuple(found)

    def _type(self, what: str) -> TensorType:
        found = self.scan.expect(_TYPE, f"{what}, as in bf16[4,?] or fp32[*]")
        text = self.scan.text[found.start(1) : found.end()]
        if text not in self.types:
            sizes = [size.strip() for size in found[2].split(",")] if found[2] else []
            shape = tuple(None if size == "?" else self.scan.integer(size, found.start(2)) for size in sizes if size != "*")
            self.types[text] = TensorType(found[1], None if found[2] == "*" else shape)
        return self.types[text]

    def _location(self) -> Location:
        scan = self.scan
        found = scan.take(_LOCATION_PARTS)
        if found is None:
            scan.expect(_OPEN, "'('")
            scan.expect(_STRING, "a string")
            scan.fail_here("')', or up to three more strings after ','")
        return Location(*(scan.unquote(part, found.start(i)) for i, part in enumerate(found.groups(), 1) if part is not None))

    def _group(self) -> Group:
        scan = self.scan
        head = scan.phrase(_GROUP_HEAD)
        members: list[str] = []
        while (found := scan.take(_MEMBER if members else _FIRST_MEMBER)) is not None:
            members.append(scan.unquote(found[1], found.start(1)))
        scan.expect(_CLOSE, "')' or ',' and a member" if members else "a member or ')'")
        rest = _GROUP.read_fields(scan)
        return Group(
            name=scan.unquote(head[1], head.start(1)),
            rule=scan.unquote(head[2], head.start(2)),
            members=tuple(members),
            **rest,
        )
