"""A configuration file as the library's own configuration object and model class. The file is untrusted: data, and bounded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edpc.errors import ModelError
from edpc.frontends.fx.module import one_line
from edpc.frontends.hf.library import offline
from edpc.frontends.onnx.names import did_you_mean, shown

PREFIX = "hf:"
FILE = "config.json"
MAX_BYTES = 1 << 20
MAX_LAYERS = 4096
MAX_SIZE = (1 << 31) - 1
_MAX_DEPTH = 32
WRITTEN_OUT = "eager"  # the library's name for attention that calls no fused kernel

# What the library makes something for each of in a loop, and how many of it are believable. A name that says how wide a layer is
# counts none.
_COUNTED = (
    (re.compile(r"(?!.*(size|dim|width|channel)).*(layer|depth|num_blocks|num_stages)", re.IGNORECASE), MAX_LAYERS),
    (re.compile(r"num_labels|num_classes"), 1 << 20),
    (re.compile(r".*positions?\b|.*position_embeddings"), 1 << 24),
)
# What would choose an implementation, fetch something or run somebody's code; the architecture is the same without.
_DROPPED = frozenset(
    {
        "_attn_implementation",
        "_experts_implementation",
        "attn_implementation",
        "auto_map",
        "device_map",
        "experts_implementation",
        "quantization_config",
        "use_kernels",
        "use_pretrained_backbone",
    }
)
# Tasks whose head a configuration of no named architecture gets, the first that knows its type.
_TASKS = (
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING",
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
)
_ENCODERS = "MODEL_FOR_MASKED_LM_MAPPING"


@dataclass(frozen=True, slots=True)
class Description:
    """A configuration: its object, the class it describes, and what a report should say of the reading.

    Attributes:
        attention_written_out: it asks for attention as products and a softmax (`attn_implementation` is `eager`).
    """

    config: Any
    model_class: Any
    notes: tuple[str, ...]
    attention_written_out: bool = False


def config_path(source: str) -> Path:
    """The file that `hf:PATH` names: PATH, or `config.json` in it where it is a folder."""
    path = Path(source.removeprefix(PREFIX))
    return path / FILE if path.is_dir() else path


def read_config(path: Path, transformers: Any) -> Description:
    """The configuration in a file.

    Raises:
        ModelError: the file cannot be read, is no JSON object, has sizes beyond belief, or describes no architecture that the
            library has.
    """
    content = _content(path)
    notes = []
    if "quantization_config" in content:
        notes.append("the configuration's quantization is not applied; choose how the network is served with --precision")
    cleaned = _cleaned(content, str(path))
    with offline():
        config_class, model_class = _classes(cleaned, "auto_map" in content, path, transformers, notes)
        try:
            config = config_class.from_dict(cleaned)
        except Exception as error:  # the library checks some fields, and computes with all
            raise ModelError(f"{path} is no configuration of {shown(config_class.__name__)}: {one_line(error)}") from None
        if model_class is None:
            model_class = _by_type(config_class, transformers, path, notes)
    notes.insert(
        0, f"{model_class.__name__} of transformers {transformers.__version__}, built from its configuration without weights"
    )
    written_out = any(content.get(key) == WRITTEN_OUT for key in ("attn_implementation", "_attn_implementation"))
    if written_out:
        notes.append("attention is written out, as the configuration asks: products and a softmax, no call of a fused kernel")
    return Description(config, model_class, tuple(notes), written_out)


def _content(path: Path) -> dict[str, Any]:
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a folder without {FILE}; give the path of a configuration")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}; check the path") from None
    if len(data) > MAX_BYTES:
        raise ModelError(f"{path} is larger than {MAX_BYTES:,} bytes; no configuration is")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise ModelError(f"{path} is no JSON; give the {FILE} of a transformers model") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object; give the {FILE} of a transformers model")
    return content


def _cleaned(value: Any, where: str, name: str = "", depth: int = 0) -> Any:
    """The content without what is dropped, its sizes found believable."""
    if depth > _MAX_DEPTH:
        raise ModelError(f"{where} is nested more than {_MAX_DEPTH} levels deep; no configuration is")
    if isinstance(value, dict):
        return {key: _cleaned(item, where, str(key), depth + 1) for key, item in value.items() if key not in _DROPPED}
    if isinstance(value, list):
        return [_cleaned(item, where, name, depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        most = next((most for pattern, most in _COUNTED if pattern.match(name)), MAX_SIZE)
        if abs(value) > most:
            raise ModelError(f"{where}: {shown(name)} is {_digits(value)}, and at most {most:,} is believable")
    return value


def _digits(value: int) -> str:
    return f"{value:,}" if abs(value) < 10**15 else "a number of more than 15 digits"


def _classes(content: dict[str, Any], has_code: bool, path: Path, transformers: Any, notes: list[str]) -> tuple[Any, Any | None]:
    """The configuration's class, and the model's where the file names one."""
    kinds, listed = transformers.CONFIG_MAPPING, content.get("architectures")
    name = listed[0] if isinstance(listed, list) and listed else None
    model_class = _model_class(name, path, has_code, transformers) if name is not None else None
    kind = content.get("model_type")
    if kind is None and model_class is not None:
        return model_class.config_class, model_class
    if not isinstance(kind, str) or kind not in kinds:
        if has_code:
            raise ModelError(
                f"{path} describes {shown(str(kind))} by code of its author, which is never run; {_known(transformers)}"
            )
        what = "names no model_type" if kind is None else f"has the model_type {shown(str(kind))}, which is not known"
        meant = did_you_mean(str(kind), list(kinds)) if kind is not None else ""
        raise ModelError(f"{path} {what}{meant}; {_known(transformers)}")
    config_class = kinds[kind]
    if model_class is not None and not issubclass(config_class, model_class.config_class):
        raise ModelError(
            f"{path}: the architecture {shown(str(name))} is not of the model_type {shown(kind)}; correct one of them"
        )
    return config_class, model_class


def _model_class(name: Any, path: Path, has_code: bool, transformers: Any) -> Any:
    found: Any = getattr(transformers, name, None) if isinstance(name, str) and name.isidentifier() else None
    is_model = isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)
    if is_model and found.config_class is not None:
        return found
    if has_code:
        raise ModelError(f"{path} describes {shown(str(name))} by code of its author, which is never run; {_known(transformers)}")
    meant = did_you_mean(str(name), [each for each in dir(transformers) if each[0].isupper()])
    raise ModelError(f"{path} names the architecture {shown(str(name))}, which is not known{meant}; {_known(transformers)}")


def _known(transformers: Any) -> str:
    return f"only architectures of transformers {transformers.__version__} are"


def _by_type(config_class: Any, transformers: Any, path: Path, notes: list[str]) -> Any:
    """The class for a configuration that names none: with the head it generates text by, or without a head."""
    tasks = [task for task in _TASKS if config_class in getattr(transformers, task)]
    if tasks and tasks[0] == _TASKS[2] and config_class in getattr(transformers, _ENCODERS):
        tasks = []  # an encoder that could be made to generate
    if not tasks and config_class not in transformers.MODEL_MAPPING:
        raise ModelError(f"{path} names no architecture, and its model_type alone stands for none; add architectures to it")
    found = (getattr(transformers, tasks[0]) if tasks else transformers.MODEL_MAPPING)[config_class]
    if isinstance(found, tuple):
        found = found[0]
    notes.append(f"the configuration names no architecture; {found.__name__} was taken for its model_type")
    return found
