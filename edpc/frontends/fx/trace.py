"""Programs from torch's own objects. Nothing here runs the network; tensors are looked at for their type only."""

from __future__ import annotations

import operator
from typing import Any

from edpc.errors import ModelError
from edpc.frontends.fx.dtypes import BY_NAME
from edpc.frontends.fx.program import Body, Node, Program, Ref, Size, Source, SourceKind, TensorInfo

_KINDS: dict[str, SourceKind] = {
    "USER_INPUT": "input",
    "PARAMETER": "parameter",
    "BUFFER": "buffer",
    "CONSTANT_TENSOR": "constant",
    "CUSTOM_OBJ": "number",
    "TOKEN": "number",
}
# How torch.export names what it lifts into arguments; they come before the arguments that a caller passes.
_LIFTED: dict[str, SourceKind] = {"p": "parameter", "b": "buffer", "c": "constant"}
# What torch.export leaves to check its inputs; it computes nothing.
_GUARDS = "_guards_fn"


def trace_program(exported: Any) -> Program:
    """The program of a `torch.export.ExportedProgram`.

    Raises:
        ModelError: a value has no type, or an element type is not known.
    """
    tracer = _Tracer(exported.graph_module)
    body = tracer.body("model", exported.graph)
    tensors = {**exported.constants, **exported.state_dict}
    sources = []
    for spec in exported.graph_signature.input_specs:
        name, target = spec.arg.name, spec.target or ""
        number = getattr(spec.arg, "value", None)
        kind = _KINDS[spec.kind.name]
        if kind == "input" and not isinstance(body.values.get(name), TensorInfo):
            kind = "number"
        number = number if isinstance(number, int | float) else None
        sources.append(Source(name, kind, target, _storage(tensors.get(target)), number))
    specs = [spec.kind.name for spec in exported.graph_signature.output_specs]
    outputs = list(zip(body.outputs, specs, strict=True))
    body.outputs = [each for each, kind in outputs if kind == "USER_OUTPUT"]
    state = [each for each, kind in outputs if kind != "USER_OUTPUT"]
    return Program(body, sources, state, tracer.dimension_names())


def trace_module(module: Any) -> Program:
    """The program of a `torch.fx.GraphModule` of ATen calls whose values carry `meta["val"]`.

    That of an `ExportedProgram` has parameters and buffers as arguments, known by their names; others hold them.

    Raises:
        ModelError: it has calls that are not of ATen, or values without a type.
    """
    tracer = _Tracer(module)
    body = tracer.body(type(module).__name__, module.graph)
    sources: list[Source] = []
    for name in body.inputs:
        is_leading = not tracer.attributes and all(source.kind != "input" for source in sources)
        kind = _LIFTED.get(name.partition("_")[0], "input") if is_leading and "_" in name else "input"
        sources.append(Source(name, kind if isinstance(body.values.get(name), TensorInfo) else "number", name))
    body.inputs += [source.name for source in tracer.attributes]
    return Program(body, [*sources, *tracer.attributes], dimension_names=tracer.dimension_names())


def _storage(tensor: Any) -> str:
    """The same text for tensors that are the same memory seen the same way; also true of tensors without memory."""
    if tensor is None or not hasattr(tensor, "untyped_storage"):
        return ""
    try:
        return f"{tensor.untyped_storage()._cdata}:{tensor.storage_offset()}:{tuple(tensor.shape)}:{tensor.stride()}"
    except (RuntimeError, NotImplementedError, AttributeError):  # tensor subclasses without a storage of their own
        return f"object {id(tensor)}"


class _Tracer:
    """Reads the graphs of one module and of those nested in it."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.attributes: list[Source] = []
        self._shape_env: Any = None

    def dimension_names(self) -> dict[str, str]:
        """Names given to free dimensions when the program was exported, by symbol."""
        names = getattr(self._shape_env, "source_name_to_debug_name", None) or {}
        found = {}
        for symbol, sources in (getattr(self._shape_env, "var_to_sources", None) or {}).items():
            given = [names[each] for each in (_source_name(source) for source in sources) if each in names]
            # A dimension nobody named has a name made of its place, which says less than the symbol.
            named = [name for name in given if str(name).isidentifier() and not str(name).startswith("_")]
            if named:
                found[str(symbol)] = str(named[0])
        return found

    def body(self, name: str, graph: Any, root: Any = None) -> Body:
        """The graph as plain data."""
        return _BodyReader(self, Body(name), root if root is not None else self.root).read(graph)

    def info(self, value: Any, name: str) -> TensorInfo | Size | None:
        """The type of a tensor, the size a symbolic integer is, None for anything else."""
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int):
            return value
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            dtype = BY_NAME.get(str(value.dtype).removeprefix("torch."))
            if dtype is None:
                raise ModelError(f"value {name!r} has the element type {value.dtype}, which is not supported; cast it")
            shape = tuple(self.size(each) for each in value.shape)
            return TensorInfo(dtype, shape, self._strides(value))
        return self.size(value) if hasattr(value, "node") else None

    def _strides(self, value: Any) -> tuple[Size, ...] | None:
        try:
            return tuple(self.size(each) for each in value.stride())
        except (RuntimeError, NotImplementedError, AttributeError):  # sparse and nested tensors, results of ShapeProp
            return None

    def size(self, value: Any) -> Size:
        """A size as a number or an expression."""
        if isinstance(value, int):
            return value
        import sympy

        self._shape_env = self._shape_env or getattr(value.node, "shape_env", None)
        expression = value.node.expr
        return int(expression) if expression.is_Integer else str(sympy.srepr(expression))


def _source_name(source: Any) -> str:
    name = getattr(source, "name", "")
    return str(name() if callable(name) else name)


class _BodyReader:
    """Reads one graph."""

    def __init__(self, tracer: _Tracer, body: Body, root: Any) -> None:
        self.tracer = tracer
        self.out = body
        self.root = root
        self.known: dict[str, Any] = {}

    def read(self, graph: Any) -> Body:
        readers = {
            "placeholder": self._placeholder,
            "get_attr": self._attribute,
            "call_function": self._call,
            "call_module": self._module,
            "call_method": self._method,
            "output": self._output,
        }
        for node in graph.nodes:
            readers[node.op](node)
        return self.out

    def _placeholder(self, node: Any) -> None:
        self.known[node.name] = Ref(node.name)
        self.out.inputs.append(node.name)
        self.out.values[node.name] = self.tracer.info(_value_of(node), node.name)

    def _attribute(self, node: Any) -> None:
        held = self.root
        for part in node.target.split("."):
            held = getattr(held, part)
        if hasattr(held, "graph"):
            self.known[node.name] = self.tracer.body(node.target, held.graph, held)
            return
        kind: SourceKind = "parameter" if type(held).__name__ == "Parameter" else "buffer"
        self.out.values[node.name] = self.tracer.info(held, node.name)
        self.known[node.name] = Ref(node.name)
        self.tracer.attributes.append(Source(node.name, kind, node.target, _storage(held)))

    def _call(self, node: Any) -> None:
        if node.target is operator.getitem and isinstance(node.args[0], _node_type()):
            held = self.known.get(node.args[0].name)
            if isinstance(held, list):
                self.known[node.name] = held[node.args[1]] if node.args[1] < len(held) else None
                return
        value = _value_of(node)
        many = isinstance(value, list | tuple)
        results: list[str | None] = []
        for index, each in enumerate(value if many else () if value is None else (value,)):
            name = f"{node.name}#{index}" if many else node.name
            info = self.tracer.info(each, node.name)
            self.out.values[name] = info
            results.append(None if each is None else name)
        refs = [None if name is None else Ref(name) for name in results]
        self.known[node.name] = refs if many else refs[0] if refs else None
        if not many and not isinstance(self.out.values.get(node.name), TensorInfo) and _is_arithmetic(node.target):
            return
        target, arguments = self._arguments(node)
        self.out.nodes.append(Node(node.name, target, arguments, tuple(results), module_path(node.meta)))

    def _module(self, node: Any) -> None:
        if node.target == _GUARDS:
            return
        raise ModelError(f"the graph calls the module {node.target!r} as a whole; export it with torch.export first")

    def _method(self, node: Any) -> None:
        raise ModelError(
            f"the graph calls the method {node.target!r}, which is no ATen operator; export it with torch.export first"
        )

    def _output(self, node: Any) -> None:
        returned = self._argument(node.args[0])
        self.out.outputs = _flat(returned)

    def _arguments(self, node: Any) -> tuple[str, dict[str, Any]]:
        schema = getattr(node.target, "_schema", None)
        if schema is not None:
            target = schema.name.replace("::", ".")
            names = [argument.name for argument in schema.arguments]
        else:
            name = getattr(node.target, "__name__", str(node.target))
            module = getattr(node.target, "__module__", "") or ""
            target = f"higher_order.{name}" if hasattr(node.target, "_name") or "higher_order" in module else f"{module}.{name}"
            names = []
        given = {
            names[position] if position < len(names) else str(position): self._argument(value)
            for position, value in enumerate(node.args)
        }
        given.update({name: self._argument(value) for name, value in node.kwargs.items()})
        return target, given

    def _argument(self, value: Any) -> Any:
        if isinstance(value, _node_type()):
            return self.known.get(value.name)
        if isinstance(value, list | tuple):
            return [self._argument(each) for each in value]
        if isinstance(value, dict):
            return {str(key): self._argument(each) for key, each in value.items()}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if hasattr(value, "node") and hasattr(value.node, "expr"):
            size = self.tracer.size(value)
            return size if isinstance(size, int) else None
        return BY_NAME.get(str(value).removeprefix("torch."))


def module_path(meta: dict[str, Any]) -> str:
    """Dotted path of the innermost module that a node was called in; empty for the whole network."""
    stack = meta.get("nn_module_stack") or {}
    entries = list(stack.values())
    path = str(entries[-1][0]) if entries else ""
    return clean_path(path)


def clean_path(path: str) -> str:
    """The path without what strict exports write in front of it (`L['self'].encoder`)."""
    path = path.removeprefix("L['self']").removeprefix("L__self__").lstrip(".")
    return path.replace("._modules['", ".").replace("['", ".").replace("']", "").lstrip(".")


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [each for part in value for each in _flat(part)]
    if isinstance(value, dict):
        return [each for part in value.values() for each in _flat(part)]
    return [value]


def _value_of(node: Any) -> Any:
    if "val" in node.meta:
        return node.meta["val"]
    if "example_value" in node.meta:
        return node.meta["example_value"]
    if "tensor_meta" in node.meta:
        return node.meta["tensor_meta"]
    if node.op == "placeholder" or hasattr(node.target, "_schema"):
        if hasattr(node.target, "_schema") and not node.target._schema.returns:
            return None
        raise ModelError(f"node {node.name!r} carries no type (meta['val']); export the module with torch.export first")
    return None


def _is_arithmetic(target: Any) -> bool:
    """Whether a call without a tensor result is arithmetic on sizes rather than an operator."""
    return not hasattr(target, "_schema") or target._schema.name.startswith("aten::sym_")


def _node_type() -> Any:
    import torch.fx

    return torch.fx.Node
