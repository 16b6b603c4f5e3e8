"""The cache of a generation: what one run leaves, as inputs and outputs of the next.

The tensors of a cache (keys and values, states of convolutions and recurrences) become inputs of the program. Keys and values are
kept as serving does it: in memory with room for the new tokens too, which are written in place. The library's own growing cache
copies all of the past for every token, which nobody who serves a model does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

Path = tuple[Any, ...]
_LIBRARY = "transformers"


def find_cache(outputs: Any) -> Any | None:
    """The cache among what a model answers; None where it keeps none."""
    kind = import_module("transformers.cache_utils").Cache
    values = outputs.values() if isinstance(outputs, MutableMapping) else ()
    return next((value for value in values if isinstance(value, kind)), None)


class Template:
    """A cache as a run left it, from which programs make theirs.

    Attributes:
        shapes: a tensor of every input the cache makes, by name; those of keys and values with room for the new tokens.
    """

    def __init__(self, cache: Any, new: int) -> None:
        """Takes the cache after the past, and how many tokens a run adds."""
        self._cache = cache
        self._lengths: dict[int, tuple[int, tuple[int, int]]] = {}
        grown = self._growing(cache)
        for number, layer in grown.items():
            self._lengths[number] = (layer.get_seq_length(), layer.get_mask_sizes(new))
        room = {(id(layer), name): self._lengths[number][1][0] for number, layer in grown.items() for name in ("keys", "values")}
        self._paths: dict[str, Path] = {}
        self.shapes: dict[str, Any] = {}
        for path, holder, tensor in _tensors(cache, ()):
            name = "_".join(["past", *(str(part) for part in path if part != "layers")])
            slots = room.get((id(holder), path[-1]))
            self._paths[name] = path
            self.shapes[name] = tensor if slots is None else tensor.new_empty((*tensor.shape[:-2], slots, tensor.shape[-1]))

    def made(self, tensors: dict[str, Any]) -> Any:
        """A cache that holds these tensors; what a run does to it leaves the template as it is."""
        cache = _twin(self._cache)
        for name, path in self._paths.items():
            *way, last = path
            holder = cache
            for part in way:
                holder = _get(holder, part)
            _set(holder, last, tensors[name])
        for number, layer in self._growing(cache).items():
            _keep_in_place(layer, *self._lengths[number])
        return cache

    @staticmethod
    def _growing(cache: Any) -> dict[int, Any]:
        """The layers that append keys and values, by number; those of a decoder's self-attention, as the other never grows."""
        library = import_module("transformers.cache_utils")
        updates = (library.DynamicLayer.update, library.DynamicSlidingWindowLayer.update)
        layers = getattr(cache, "self_attention_cache", cache).layers
        return {
            number: layer
            for number, layer in enumerate(layers)
            if getattr(type(layer), "update", None) in updates and getattr(layer, "keys", None) is not None and layer.keys.numel()
        }


def cache_tensors(cache: Any) -> list[Any]:
    """The tensors a cache holds."""
    return [tensor for _, _, tensor in _tensors(cache, ())]


def _keep_in_place(layer: Any, past: int, sizes: tuple[int, int]) -> None:
    """The layer writes new keys and values into memory it has; which slots they take changes no cost."""

    def update(keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        for held, new in ((layer.keys, keys), (layer.values, values)):
            held[..., -new.shape[-2] :, :].copy_(new)
        return layer.keys, layer.values

    layer.update = update
    layer.get_seq_length = lambda *_: past
    layer.get_mask_sizes = lambda *_: sizes


def _tensors(value: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Every floating tensor with elements: how it is reached, what holds it, and itself."""
    torch = import_module("torch")
    for part, item in _items(value):
        if isinstance(item, torch.Tensor):
            if item.numel() and (item.is_floating_point() or item.is_complex()):
                yield (*path, part), value, item
        elif item is not value:
            yield from _tensors(item, (*path, part))


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    return list(vars(value).items()) if _is_ours(value) else []


def _is_ours(value: Any) -> bool:
    """Whether it is an object of the library's caches, not a class, a number or a module."""
    return type(value).__module__.partition(".")[0] == _LIBRARY and hasattr(value, "__dict__") and not hasattr(value, "forward")


def _twin(value: Any) -> Any:
    """A copy with holders of its own and the same tensors."""
    if isinstance(value, dict):
        made = copy.copy(value)
        made.update((key, _twin(item)) for key, item in value.items())
        return made
    if isinstance(value, list | tuple):
        return type(value)(_twin(item) for item in value)
    if not _is_ours(value):
        return value
    made = copy.copy(value)
    vars(made).update((name, _twin(item)) for name, item in vars(value).items())
    return made


def _get(holder: Any, part: Any) -> Any:
    return holder[part] if isinstance(holder, dict | list | tuple) else getattr(holder, part)


def _set(holder: Any, part: Any, value: Any) -> None:
    if isinstance(holder, dict | list):
        holder[part] = value
    else:
        setattr(holder, part, value)
