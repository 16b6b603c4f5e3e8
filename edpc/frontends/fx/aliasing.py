"""Which values share memory, and which of them an in-place call writes: programs of torch.export still do both."""

from __future__ import annotations

from edpc.frontends.fx.program import Body, Node, Ref

# Operators whose result is their first operand's memory seen another way.
VIEWS = frozenset(
    f"aten.{name}"
    for name in [
        "alias",
        "as_strided",
        "chunk",
        "contiguous",
        "detach",
        "diagonal",
        "expand",
        "expand_as",
        "flatten",
        "movedim",
        "moveaxis",
        "mT",
        "narrow",
        "numpy_T",
        "permute",
        "real",
        "reshape",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "swapaxes",
        "swapdims",
        "t",
        "T",
        "tensor_split",
        "to",
        "transpose",
        "unbind",
        "unflatten",
        "unsafe_chunk",
        "unsafe_split",
        "unsqueeze",
        "view",
        "view_as",
        "view_as_real",
        "view_as_complex",
    ]
)


# Calls that work in place on what is known of a tensor, and leave its memory as it is.
_METADATA = frozenset(
    f"aten.{name}_"
    for name in (
        "as_strided",
        "detach",
        "requires_grad",
        "resize",
        "set",
        "squeeze",
        "swapaxes",
        "swapdims",
        "t",
        "transpose",
        "unsqueeze",
    )
)


def functional(target: str) -> str:
    """The operator without the underscore that says it works in place."""
    return target[:-1] if is_in_place(target) else target


def is_in_place(target: str) -> bool:
    """Whether the operator writes its first operand."""
    return target.startswith("aten.") and target.endswith("_") and not target.endswith("__")


def written_argument(node: Node) -> str | None:
    """The value that an in-place call writes."""
    first = next(iter(node.arguments.values()), None)
    return first.name if is_in_place(node.target) and isinstance(first, Ref) else None


def storage_written(body: Body) -> tuple[dict[str, str], frozenset[str]]:
    """(the value each view looks at, the values whose memory a call changes)."""
    bases: dict[str, str] = {}
    written: set[str] = set()
    for node in body.nodes:
        first = next(iter(node.arguments.values()), None)
        if node.target in VIEWS and isinstance(first, Ref):
            bases.update((name, first.name) for name in node.results if name is not None)
        name = None if node.target in _METADATA else written_argument(node)
        while name is not None and name not in written:
            written.add(name)
            name = bases.get(name)
    return bases, frozenset(written)
