"""Shape rules of edpc's own for standard operators: where the schema has none, or cannot use partly known shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from edpc.frontends.onnx.fold import Partial
from edpc.frontends.onnx.values import Type, dtype_of
from edpc.ir.types import TensorType

Shape = tuple[int | None, ...]


class NoRuleError(LookupError):
    """Neither a rule nor a schema knows the operator."""


@dataclass(slots=True)
class Site:
    """What a rule sees of a node.

    Attributes:
        operator: its type.
        attributes: by name, as `attribute_values` gives them.
        types: of the operands; None where absent or unknown.
        values: of the operands, where folding knows them (wholly or `Partial`).
        results: number of results, absent ones included.
        version: opset of the operator's domain.
        standard: infers another, standard operator on operands of given types with given attributes.
    """

    operator: str
    attributes: dict[str, Any]
    types: Sequence[Type | None]
    values: Sequence[Any]
    results: int
    version: int
    standard: Callable[[str, Sequence[Type | None], dict[str, Any], int], list[Type | None]]

    def tensor(self, slot: int) -> TensorType | None:
        """The operand's tensor type; None where it is absent, unknown or no tensor."""
        kind = self.types[slot] if slot < len(self.types) else None
        return kind if isinstance(kind, TensorType) else None

    def shape(self, slot: int) -> Shape | None:
        """The operand's shape; None where it is not known."""
        kind = self.tensor(slot)
        return None if kind is None else kind.shape

    def dtype(self, slot: int, default: str = "fp32") -> str:
        """The operand's element type, or the default where it is not known."""
        kind = self.tensor(slot)
        return default if kind is None else kind.dtype

    def scalar(self, slot: int) -> int | None:
        """The operand's value as an integer; None where it is not known."""
        value = self.values[slot] if slot < len(self.values) else None
        if value is None or isinstance(value, Partial) or value.size != 1:
            return None
        return int(value.reshape(-1)[0])

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        return int(self.attributes.get(name, default))


Rule = Callable[[Site], list[Type | None]]


def broadcast(a: Shape | None, b: Shape | None) -> Shape | None:
    """The shape of an elementwise result by numpy's rule; an unknown dimension against one above 1 takes that one.

    Raises:
        ValueError: two known dimensions differ and neither is 1.
    """
    if a is None or b is None:
        return None
    size = max(len(a), len(b))
    a, b = (1,) * (size - len(a)) + a, (1,) * (size - len(b)) + b
    result: list[int | None] = []
    for x, y in zip(a, b, strict=True):
        if x == 1 or x == y:
            result.append(y)
        elif y == 1:
            result.append(x)
        elif x is None or y is None:
            result.append(x if y is None else y)
        else:
            raise ValueError(f"shapes {list(a)} and {list(b)} do not broadcast")
    return tuple(result)


def like(slot: int = 0) -> Rule:
    """A rule: every result has the type of that operand."""
    return lambda site: [site.tensor(slot)] * site.results


def elementwise(dtype: str | None = None, a: int = 0, b: int = 1) -> Rule:
    """A rule: the operands in slots `a` and `b` broadcast; the element type is that of `a` unless given."""

    def rule(site: Site) -> list[Type | None]:
        return [TensorType(dtype or site.dtype(a), broadcast(site.shape(a), site.shape(b)))]

    return rule


def _sizes(partial: Partial) -> list[int | None]:
    return [int(size) if known else None for size, known in zip(partial.data, partial.known, strict=True)]


def _reshape(site: Site) -> list[Type | None]:
    source, target = site.tensor(0), site.values[1]
    if source is None or not isinstance(target, Partial):
        raise NoRuleError(site.operator)
    shape = _sizes(target)
    before = source.shape or ()
    if not site.integer("allowzero"):
        shape = [(before[i] if i < len(before) else None) if size == 0 else size for i, size in enumerate(shape)]
    free = [i for i, size in enumerate(shape) if size is None or size == -1]
    rest = prod(size for size in shape if size is not None and size > 0)
    if len(free) == 1 and source.is_static and 0 not in shape and source.numel % rest == 0:
        shape[free[0]] = source.numel // rest
    return [TensorType(source.dtype, tuple(None if size == -1 else size for size in shape))]


def _expand(site: Site) -> list[Type | None]:
    target = site.values[1]
    if not isinstance(target, Partial):
        raise NoRuleError(site.operator)
    return [TensorType(site.dtype(0), broadcast(site.shape(0), tuple(_sizes(target))))]


def _constant_of_shape(site: Site) -> list[Type | None]:
    value = site.attributes.get("value")
    return [TensorType("fp32" if value is None else dtype_of(value.data_type), tuple(_sizes(site.values[0])))]


def _compress(site: Site) -> list[Type | None]:
    source, condition = site.tensor(0), site.values[1] if len(site.values) > 1 else None
    if source is None:
        return [None]
    length = None if condition is None or isinstance(condition, Partial) else int(condition.sum())
    if "axis" not in site.attributes:
        return [TensorType(source.dtype, (length,))]
    if source.shape is None:
        return [source]
    axis = site.integer("axis") % max(1, len(source.shape))
    return [TensorType(source.dtype, (*source.shape[:axis], length, *source.shape[axis + 1 :]))]


def _dropout(site: Site) -> list[Type | None]:
    mask = TensorType("bool" if site.version >= 10 else site.dtype(0), site.shape(0))
    return [site.tensor(0), mask]


def _rows(site: Site) -> int | None:
    shape = site.shape(0)
    if shape is None:
        return None
    return shape[0] if len(shape) > 1 else 1


def _regressor(attribute: str) -> Rule:
    return lambda site: [TensorType("fp32", (_rows(site), site.integer(attribute, 1)))]


def _classifier(site: Site) -> list[Type | None]:
    words = site.attributes.get("classlabels_strings")
    labels = words or site.attributes.get("classlabels_int64s") or []
    return [TensorType("string" if words else "int64", (_rows(site),)), TensorType("fp32", (_rows(site), len(labels) or None))]


def _as_fp32(site: Site) -> list[Type | None]:
    return [TensorType("fp32", site.shape(0))]


def _feature_vectorizer(site: Site) -> list[Type | None]:
    return [TensorType("fp32", (_rows(site), sum(site.attributes.get("inputdimensions", [])) or None))]


# For operands whose value is a `Partial`, which schemas know nothing of.
PARTIAL_RULES: dict[str, Rule] = {"Reshape": _reshape, "Expand": _expand, "ConstantOfShape": _constant_of_shape}

# By operator of the standard domains: these win over the schema.
STANDARD_RULES: dict[str, Rule] = {
    "Cast": lambda site: [TensorType(dtype_of(site.integer("to")), site.shape(0))],
    "Compress": _compress,
    "Dropout": _dropout,
    "MeanVarianceNormalization": like(),
    "GroupNormalization": like(),
    "GreaterOrEqual": elementwise("bool"),
    "LessOrEqual": elementwise("bool"),
    "Gradient": lambda site: [site.tensor(slot) for slot in range(site.results)],
    "Imputer": like(),
    "Scaler": _as_fp32,
    "Normalizer": _as_fp32,
    "FeatureVectorizer": _feature_vectorizer,
    "LinearRegressor": _regressor("targets"),
    "SVMRegressor": _regressor(""),
    "TreeEnsembleRegressor": _regressor("n_targets"),
    "TreeEnsembleClassifier": _classifier,
}


def _same_elements(site: Site, results: list[Type | None]) -> None:
    before, after = site.tensor(0), results[0]
    if before is None or not before.is_static or not isinstance(after, TensorType) or not after.is_static:
        return
    if before.numel != after.numel:
        raise ValueError(f"{list(before.dims())} and {list(after.dims())} have different numbers of elements")


def _same_channels(site: Site, results: list[Type | None]) -> None:
    x, w = site.shape(0), site.shape(1)
    if x is None or w is None or len(x) < 2 or len(w) < 2:
        return
    channels = w[0] if site.operator == "ConvTranspose" else (None if w[1] is None else w[1] * site.integer("group", 1))
    if None not in (x[1], channels) and x[1] != channels:
        raise ValueError(f"the data has {x[1]} channels and the filter reads {channels}")


# What schemas let pass although no runtime would; each raises ValueError.
CHECKS: dict[str, Callable[[Site, list[Type | None]], None]] = {
    "Reshape": _same_elements,
    "Conv": _same_channels,
    "ConvTranspose": _same_channels,
}
