"""Programs from `.pt2` archives, read as data.

torch's own loader falls back to unpickling whatever the archive holds, and evaluates the sizes it finds as code. So neither is
used: of the archive only the JSON that describes the program and the table of its weights are read, weights and pickles never.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from edpc.errors import ModelError
from edpc.frontends.fx.dtypes import BY_NUMBER
from edpc.frontends.fx.program import Body, Node, Program, Ref, Size, Source, SourceKind, TensorInfo
from edpc.frontends.fx.trace import clean_path
from edpc.frontends.onnx.names import shown
from edpc.frontends.onnx.values import InvalidValueError, checked_shape

# The major version of the schema read here; torch 2.6 and newer write it.
SCHEMA_MAJOR = 8
_WRITERS = "torch 2.6 or newer"
# What the description of a program may come to, unpacked: a node takes about 2 KB.
MAX_DESCRIPTION_BYTES = 1 << 30
MAX_ENTRIES = 1 << 18
_MAX_RATIO = 1000
_OLD_NAME = "serialized_exported_program.json"
_MODEL = ("models/", ".json")
_WEIGHTS = ("data/weights/", "_weights_config.json")
_CONSTANTS = ("data/constants/", "_constants_config.json")

_INPUTS: dict[str, tuple[SourceKind, str]] = {
    "parameter": ("parameter", "parameter_name"),
    "buffer": ("buffer", "buffer_name"),
    "tensor_constant": ("constant", "tensor_constant_name"),
    "custom_obj": ("number", "custom_obj_name"),
    "token": ("number", ""),
}
_NESTED = ("as_tensors", "as_optional_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools", "as_nested_tensors")
_PLAIN = (
    "as_int",
    "as_ints",
    "as_float",
    "as_floats",
    "as_string",
    "as_strings",
    "as_bool",
    "as_bools",
    "as_int_lists",
    "as_float_lists",
)
_MAX_DEPTH = 64


def read_archive(path: str) -> Program:
    """The program in a `.pt2` archive.

    Raises:
        ModelError: the file cannot be read, is no archive of torch.export, is damaged, too large or of another version.
    """
    try:
        return _read(path)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}; check the path") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, RuntimeError):
        raise ModelError(f"{path} is no readable torch.export archive; save it again with torch.export.save") from None
    except Exception as error:  # whatever shape the description of a damaged or hostile archive has
        raise ModelError(
            f"{path} holds a damaged program description ({type(error).__name__}); save it again with torch.export.save"
        ) from None


def _read(path: str) -> Program:
    if not Path(path).is_file():
        raise ModelError(f"{path} cannot be read: {'it is a folder' if Path(path).is_dir() else 'no such file'}; check the path")
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > MAX_ENTRIES:
            raise ModelError(f"{path} has more than {MAX_ENTRIES:,} entries; no torch.export archive has")
        model = _entry(archive, path, *_MODEL) or _named(archive, path, _OLD_NAME)
        if model is None:
            raise ModelError(
                f"{path} holds no exported program; write it with torch.export.save of {_WRITERS} (a compiled package has none)"
            )
        storages = {**_storages(archive, path, *_WEIGHTS), **_storages(archive, path, *_CONSTANTS)}
    _check_version(model, path)
    return _Reader(path, model, storages).program()


def _entry(archive: zipfile.ZipFile, path: str, folder: str, suffix: str) -> Any:
    """The JSON entry of that folder below the archive's own; None where there is none."""
    for info in archive.infolist():
        _, _, inside = info.filename.partition("/")
        if inside.startswith(folder) and inside.endswith(suffix):
            return _parsed(archive, info, path)
    return None


def _named(archive: zipfile.ZipFile, path: str, name: str) -> Any:
    return next((_parsed(archive, info, path) for info in archive.infolist() if info.filename == name), None)


def _parsed(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> Any:
    if info.file_size > MAX_DESCRIPTION_BYTES or info.file_size > _MAX_RATIO * max(info.compress_size, 1):
        raise ModelError(f"{path}: the entry {shown(info.filename)} unpacks to {info.file_size:,} bytes, which is not believable")
    with archive.open(info) as stream:
        data = stream.read(MAX_DESCRIPTION_BYTES + 1)
    return json.loads(data)


def _storages(archive: zipfile.ZipFile, path: str, folder: str, suffix: str) -> dict[str, str]:
    """Where each tensor of the module is stored, by its name: the same text for shared ones."""
    config = _entry(archive, path, folder, suffix) or {}
    found = {}
    for name, payload in config.get("config", {}).items():
        meta = payload.get("tensor_meta") or {}
        if (meta.get("device") or {}).get("type") == "meta":  # no data: torch stores all of them as one empty entry
            found[name] = f"{folder}{name}"
            continue
        seen = [meta.get("sizes"), meta.get("strides"), meta.get("storage_offset")]
        found[name] = f"{folder}{payload.get('path_name')}:{json.dumps(seen)}"
    return found


def _check_version(model: Any, path: str) -> None:
    version = model.get("schema_version") or {}
    major = version.get("major")
    if major != SCHEMA_MAJOR:
        by = model.get("torch_version")
        by = f", by torch {by}" if isinstance(by, str) and by.isprintable() and len(by) < 40 else ""
        raise ModelError(
            f"{path} was written in version {shown(major)[1:-1]} of torch.export's format{by}; "
            f"this version of edpc reads version {SCHEMA_MAJOR}: export it again with {_WRITERS}"
        )


class _Reader:
    """From the description to the program."""

    def __init__(self, path: str, model: Any, storages: dict[str, str]) -> None:
        self.path = path
        self.model = model
        self.storages = storages

    def program(self) -> Program:
        module = self.model["graph_module"]
        signature = module["signature"]
        body = self.body(Path(self.path).stem, module["graph"], 0)
        sources = [self._source(spec, body) for spec in signature["input_specs"]]
        body.inputs = [source.name for source in sources]
        outputs = [(next(iter(spec)), next(iter(spec.values()))) for spec in signature["output_specs"]]
        body.outputs = [self._argument(held["arg"], 0) for kind, held in outputs if kind == "user_output"]
        state = [Ref(held["arg"]["name"]) for kind, held in outputs if kind != "user_output"]
        return Program(body, sources, state)

    def _source(self, spec: Any, body: Body) -> Source:
        (kind, held), *_ = spec.items()
        if kind == "user_input":
            name = next(iter(_names(held["arg"])), None) or ""
            known = isinstance(body.values.get(name), TensorInfo)
            return Source(name, "input" if known else "number")
        if kind == "constant_input":
            value = next(iter((held.get("value") or {}).values()), None)
            return Source(held["name"], "number", number=value if isinstance(value, int | float) else None)
        source, attribute = _INPUTS[kind]
        target = str(held.get(attribute, ""))
        return Source(held["arg"]["name"], source, target, self.storages.get(target, ""))

    def body(self, name: str, graph: Any, depth: int) -> Body:
        """A graph of the description."""
        if depth > _MAX_DEPTH:
            raise ModelError(f"{self.path} nests graphs more than {_MAX_DEPTH} deep, which no exported program does")
        out = Body(name)
        out.values.update({key: _tensor(meta, key, self.path) for key, meta in graph["tensor_values"].items()})
        out.values.update({key: _size(size) for key, size in graph.get("sym_int_values", {}).items()})
        out.inputs = [name or "" for each in graph["inputs"] for name in _names(each)]
        for node in graph["nodes"]:
            made = self._node(node, depth)
            if made is not None:
                out.nodes.append(made)
        out.outputs = [self._argument(each, depth) for each in graph["outputs"]]
        return out

    def _node(self, node: Any, depth: int) -> Node | None:
        target = str(node["target"])
        results = [name for each in node["outputs"] for name in _names(each)]
        parts = target.removeprefix("torch.ops.").split(".")
        if target.startswith(("_operator", "math.", "torch.sym_")) or parts[:2] == ["aten", "sym_size"]:
            return None
        name = node.get("name") or next((each for each in results if each), None) or target
        arguments: dict[str, Any] = {}
        for position, each in enumerate(node["inputs"]):
            arguments[each["name"] or str(position)] = self._argument(each["arg"], depth)
        path = _module_path(node.get("metadata") or {})
        operator = ".".join(parts[:2]) if target.startswith("torch.ops.") else target
        return Node(str(name), operator, arguments, tuple(results), path)

    def _argument(self, argument: Any, depth: int) -> Any:
        (kind, value), *_ = argument.items()
        if kind == "as_tensor":
            return Ref(value["name"])
        if kind in _PLAIN:
            return value
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
            return self._symbolic(value)
        if kind == "as_nested_tensors":
            return [[Ref(each["name"]) for each in part] for part in value]
        if kind in _NESTED:
            return [self._symbolic(each) for each in value]
        if kind == "as_graph":
            return self.body(str(value["name"]), value["graph"], depth + 1)
        if kind == "as_scalar_type":
            return BY_NUMBER.get(value)
        if kind == "as_string_to_argument":
            return {key: self._argument(each, depth) for key, each in value.items()}
        return None

    def _symbolic(self, value: Any) -> Any:
        """A value by name, or a number: `{"as_name": ..}`, `{"as_int": ..}`, `{"name": ..}`, `{"as_tensor": {"name": ..}}`."""
        if "name" in value:
            return Ref(value["name"])
        (kind, held), *_ = value.items()
        if kind == "as_name":
            return Ref(held)
        if kind == "as_tensor":
            return Ref(held["name"])
        return None if kind == "as_none" else held


def _names(argument: Any) -> list[str | None]:
    """Names of the values an output or an input of a graph declares."""
    (kind, value), *_ = argument.items()
    if kind in ("as_tensor", "as_custom_obj"):
        return [value["name"]]
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return [value.get("as_name")]
    if kind in _NESTED:
        return [name for each in value for name in (_names({"as_tensor": each}) if "name" in each else _names(each))]
    return [None]


def _tensor(meta: Any, name: str, path: str) -> TensorInfo:
    dtype = BY_NUMBER.get(meta["dtype"])
    if dtype is None:
        raise ModelError(f"{path}: value {shown(name)} has the unknown element type {shown(meta['dtype'])}; export it again")
    sizes = tuple(map(_size, meta["sizes"]))
    try:
        checked_shape(tuple(size if isinstance(size, int) else None for size in sizes))
    except InvalidValueError as error:
        raise ModelError(f"{path}: value {shown(name)} {error}; export it again") from None
    return TensorInfo(dtype, sizes, tuple(map(_size, meta["strides"])))


def _size(size: Any) -> Size:
    if "as_int" in size:
        number = size["as_int"]
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise ValueError("no size")
        return number
    return str(size["as_expr"]["expr_str"])


def _module_path(metadata: dict[str, str]) -> str:
    """The path in the last of the entries `key,path,type`."""
    last = str(metadata.get("nn_module_stack", "")).rpartition(";")[2].split(",")
    return clean_path(last[1]) if len(last) > 2 and not last[1].startswith("_empty_nn_module_stack") else ""
