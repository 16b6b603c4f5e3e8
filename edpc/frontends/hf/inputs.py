"""What an architecture is called with, found out from its `forward` and its configuration."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edpc.errors import UsageError
from edpc.frontends.onnx.names import did_you_mean, shown

DEFAULT_TOKENS = 128
_DEFAULT_IMAGE = 224
_DEFAULT_SAMPLES = 16_000  # a second of speech
_DEFAULT_FRAMES = 1_024
_TEXT = "input_ids"
_DECODER_TEXT = "decoder_input_ids"
_INTEGERS = ("_ids", "_mask", "bbox")

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Called:
    """The tensors an architecture is called with.

    Attributes:
        shapes: by name of argument, in the order of `forward`.
        follows_length: whether the length asked for is a dimension of one of them.
    """

    shapes: dict[str, Shape]
    follows_length: bool


class Architecture:
    """A model of the library, and what its `forward` takes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config = model.config
        self.name = type(model).__name__
        parameters = inspect.signature(type(model).forward).parameters.values()
        self.names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"]
        self.required = [p.name for p in parameters if p.name in self.names and p.default is p.empty]
        self.generates = bool(model.can_generate())
        self.has_encoder = bool(getattr(self.config, "is_encoder_decoder", False)) and _DECODER_TEXT in self.names

    @property
    def cache_argument(self) -> str | None:
        """The argument that takes the cache; None where there is none."""
        return next((name for name in ("cache", "past_key_values", "cache_params") if name in self.names), None)

    @property
    def tokens_argument(self) -> str:
        """The argument that takes the tokens a generation step reads."""
        return _DECODER_TEXT if self.has_encoder else _TEXT

    @property
    def reads_text(self) -> bool:
        """Whether its main input is tokens."""
        return str(self.model.main_input_name) == _TEXT

    @property
    def default_tokens(self) -> int:
        """Tokens where nobody says how many: 128, or what positions there are."""
        return min([DEFAULT_TOKENS, *(each for each in [self.positions] if each)])

    @property
    def positions(self) -> int | None:
        """Tokens the configuration provides positions for; None where it does not say."""
        most = self.field("max_target_positions" if self.has_encoder and not self.reads_text else "max_position_embeddings")
        return most if isinstance(most, int) and most > 0 else None

    def called(self, batch: int, length: int | None, decoder_length: int | None = None) -> Called:
        """The inputs of one call.

        Args:
            batch: sequences, images or recordings at once.
            length: of the main input in its own unit, tokens, frames or samples; None for the configuration's own or a default.
            decoder_length: tokens the decoder of an encoder-decoder reads; None for as many as the encoder's.
        """
        follows = False
        shapes: dict[str, Shape] = {}
        for name in self._wanted():
            if name == _TEXT:
                follows = True
                shapes[name] = (batch, length or self.default_tokens)
            elif name == _DECODER_TEXT:
                shapes[name] = (batch, decoder_length or (length if self.reads_text and length else self.default_tokens))
            elif name in _SIGNALS:
                shape, uses_length = _SIGNALS[name](self.field, length)
                follows |= uses_length
                shapes[name] = (batch, *shape)
        return Called(shapes, follows)

    @contextlib.contextmanager
    def runnable_without_data(self) -> Iterator[None]:
        """The model can run on the meta device while the block does: its experts in a form for all types and strides."""
        before = getattr(self.config, "_experts_implementation", None)
        if before is None:
            yield
            return
        self.model.set_experts_implementation("batched_mm")
        try:
            yield
        finally:
            self.model.set_experts_implementation(before)

    def _wanted(self) -> Iterable[str]:
        """Its main input and those without which `forward` cannot be called; all it knows where it generates nothing."""
        main = str(self.model.main_input_name)
        if main not in self.names:
            main = next((name for name in (_TEXT, *_SIGNALS) if name in self.names), main)
        for name in self.names:
            is_known = name == _TEXT or name in _SIGNALS
            is_modality = is_known and not self.generates and not self.has_encoder
            if name == main or name in self.required or is_modality or (name == _DECODER_TEXT and self.has_encoder):
                yield name

    def field(self, *names: str) -> Any:
        """The first of these fields that the configuration, or a part of it, has."""
        parts = [self.config, *(getattr(self.config, key, None) for key in getattr(self.config, "sub_configs", {}))]
        for part in parts:
            for name in names:
                value = getattr(part, name, None)
                if value is not None:
                    return value
        return None


def _image(field: Any, length: int | None) -> tuple[Shape, bool]:
    size = field("image_size", "input_size", "crop_size")
    if isinstance(size, dict):
        size = [size.get("height", _DEFAULT_IMAGE), size.get("width", _DEFAULT_IMAGE)]
    sides = (size, size) if isinstance(size, int) else tuple(size)[-2:] if size else (_DEFAULT_IMAGE, _DEFAULT_IMAGE)
    channels = field("num_channels", "in_channels", "in_chans")
    image = (channels if isinstance(channels, int) else 3, *sides)
    frames = field("num_frames", "frames_per_clip")
    return ((frames, *image) if isinstance(frames, int) else image), False


def _features(field: Any, length: int | None) -> tuple[Shape, bool]:
    """Log-mel frames: [mels, frames] where the network fixes how many, [frames, features] elsewhere."""
    mels, positions = field("num_mel_bins"), field("max_source_positions")
    width = field("input_feat_per_channel", "feature_projection_input_dim")
    if width is None and isinstance(mels, int) and isinstance(positions, int):
        return (mels, 2 * positions), False  # its first convolution halves the frames, and its positions are all used
    return (length or _DEFAULT_FRAMES, width or mels or 80), True


def _waveform(field: Any, length: int | None) -> tuple[Shape, bool]:
    """Samples of a recording, or the spectrogram of the networks that call it by the same name."""
    mels, frames, channels = field("num_mel_bins"), field("max_length"), field("audio_channels")
    if isinstance(mels, int) and isinstance(frames, int):
        return (length or frames, mels), True
    samples = length or _DEFAULT_SAMPLES
    return ((channels, samples) if isinstance(channels, int) else (samples,)), True


_SIGNALS = {"pixel_values": _image, "pixel_values_videos": _image, "input_features": _features, "input_values": _waveform}


def reshaped(architecture: Architecture, called: Called, shapes: Mapping[str, Sequence[int]], where: str) -> dict[str, Shape]:
    """The shapes of the inputs with those asked for by name in their place.

    Raises:
        UsageError: there is no such argument, its shape follows from --batch and --seq, or a shape is unknown and not given.
    """
    for name in shapes:
        if name not in architecture.names:
            raise UsageError(f"{where} has no input {shown(name)}{did_you_mean(name, architecture.names)}")
        if name == architecture.tokens_argument:
            raise UsageError(f"--shape {name} is not needed: give --batch and --seq")
    found = {**called.shapes, **{name: tuple(shape) for name, shape in shapes.items()}}
    missing = [name for name in architecture.required if name not in found]
    if missing or not found:
        name = missing[0] if missing else str(architecture.model.main_input_name)
        raise UsageError(
            f"{where}: the shape of input {shown(name)} does not follow from the configuration; give --shape {name}=..."
        )
    return found


def tensors(shapes: Mapping[str, Shape], dtype: Any) -> dict[str, Any]:
    """Tensors of these shapes without data; names say which hold whole numbers."""
    torch = import_module("torch")
    return {
        name: torch.empty(shape, dtype=torch.long if name.endswith(_INTEGERS) else dtype, device="meta")
        for name, shape in shapes.items()
    }
