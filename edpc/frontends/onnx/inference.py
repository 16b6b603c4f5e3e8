"""Result types of one node: by a rule of edpc's own, or by the schema of the operator, remembered by all they depend on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import onnx

from edpc.frontends.onnx.contrib_shapes import CONTRIB_RULES
from edpc.frontends.onnx.fold import Partial
from edpc.frontends.onnx.rules import CHECKS, PARTIAL_RULES, STANDARD_RULES, NoRuleError, Rule, Site
from edpc.frontends.onnx.values import Type, attribute_values, checked_shape, from_proto, to_proto, to_tensor
from edpc.ir.types import DTYPE_BITS, FLOAT_DTYPES, TensorType

# Above every version of every domain.
_NEWEST = 2**31 - 1
_NARROW = FLOAT_DTYPES - {"fp32", "fp64"}
_STANDARD_DOMAINS = frozenset({"", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training"})
# Operators whose result type no operand value can change: their values stay out of the memo's key, so that layers match.
# fmt: off
_VALUE_FREE = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Clip", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual",
    "And", "Or", "Where", "Gather", "GatherElements", "GatherND", "ScatterND", "ScatterElements", "Concat", "Cast", "Identity",
    "Transpose", "CumSum", "Trilu", "MatMul", "Gemm", "Conv", "PRelu", "BatchNormalization", "LayerNormalization",
    "RMSNormalization", "InstanceNormalization", "GroupNormalization", "QuantizeLinear", "DequantizeLinear", "QLinearConv",
    "QLinearMatMul", "MatMulInteger", "ConvInteger", "LSTM", "GRU", "RNN", "Attention", "RotaryEmbedding", "MatMulNBits",
})
# fmt: on


# What a rule or a schema raises on operands it cannot take.
CONTRADICTIONS = (
    *(onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError),
    *(ValueError, TypeError, IndexError, KeyError, AttributeError, ZeroDivisionError, OverflowError),
)


class Inferrer:
    """Result types under the opsets of one model."""

    def __init__(self, opsets: dict[str, int]) -> None:
        self.opsets = opsets
        self.memo: dict[tuple[Any, ...], list[Type | None]] = {}
        self.schemas: dict[tuple[str, str], onnx.defs.OpSchema | None] = {}
        self.imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]

    def infer(self, node: onnx.NodeProto, domain: str, types: Sequence[Type | None], values: Sequence[Any]) -> list[Type | None]:
        """The types of the node's results; None where they do not follow from the operands.

        Args:
            node: the node; of its names only that some are absent matters.
            domain: its domain, '' for the default one.
            types: of the operands.
            values: of the operands, where folding knows them.

        Raises:
            Exception: the operands contradict the operator; what onnx or a rule raises, see `CONTRADICTIONS`.
        """
        key = (
            node.op_type,
            domain,
            tuple(attribute.SerializeToString() for attribute in node.attribute),
            tuple(types),
            tuple(map(bool, node.output)),
            () if node.op_type in _VALUE_FREE else tuple(map(_key, values)),
        )
        results = self.memo.get(key)
        if results is None:
            try:
                results = self._run(node, node.op_type, domain, types, values, len(node.output))
            except NoRuleError:
                results = [None] * len(node.output)
            check = None if domain else CHECKS.get(node.op_type)
            if check is not None:
                check(self._site(node, node.op_type, domain, types, values, len(node.output)), results)
            for kind in results:
                if isinstance(kind, TensorType) and kind.shape is not None:
                    checked_shape(kind.shape)
            self.memo[key] = results
        return results

    def _run(
        self, proto: onnx.NodeProto, operator: str, domain: str, types: Sequence[Type | None], values: Sequence[Any], results: int
    ) -> list[Type | None]:
        rule = self._rule(operator, domain)
        if operator in PARTIAL_RULES and not domain and any(isinstance(value, Partial) for value in values):
            rule = PARTIAL_RULES[operator]
        if rule is not None:
            site = self._site(proto, operator, domain, types, values, results)
            return (rule(site) + [None] * results)[:results]
        if domain in _STANDARD_DOMAINS:
            attributes = list(proto.attribute)
            return self._schema(operator, domain, attributes, types, values, [bool(name) for name in proto.output])
        try:
            # An operator of another domain that bears the name of a standard one mostly is that one.
            return self._schema(operator, "", list(proto.attribute), types, values, [True] * results)
        except (NoRuleError, onnx.shape_inference.InferenceError):
            raise NoRuleError(operator) from None

    def _site(
        self, proto: onnx.NodeProto, operator: str, domain: str, types: Sequence[Type | None], values: Sequence[Any], results: int
    ) -> Site:
        version = self.opsets.get(domain, 1)
        return Site(operator, attribute_values(proto), types, values, results, version, self.standard)

    def _rule(self, operator: str, domain: str) -> Rule | None:
        if domain not in _STANDARD_DOMAINS:
            return CONTRIB_RULES.get(operator)
        # ONNX Runtime puts some of its own operators into the standard domain.
        return STANDARD_RULES.get(operator) or (CONTRIB_RULES.get(operator) if self._find(operator, domain) is None else None)

    def standard(
        self, operator: str, types: Sequence[Type | None], attributes: dict[str, Any], results: int
    ) -> list[Type | None]:
        """Result types of a standard operator, by its schema."""
        made = [onnx.helper.make_attribute(name, value) for name, value in attributes.items()]
        return self._schema(operator, "", made, types, (), [True] * results)

    def _find(self, operator: str, domain: str) -> onnx.defs.OpSchema | None:
        """The schema at the model's version, else (for an operator used before its time) the newest."""
        key = operator, domain
        if key not in self.schemas:
            schema = None
            with contextlib.suppress(onnx.defs.SchemaError):
                schema = onnx.defs.get_schema(operator, domain)
            with contextlib.suppress(onnx.defs.SchemaError):
                schema = onnx.defs.get_schema(operator, self.opsets.get(domain, _NEWEST), domain)
            self.schemas[key] = schema
        return self.schemas[key]

    def _schema(
        self,
        operator: str,
        domain: str,
        attributes: list[onnx.AttributeProto],
        types: Sequence[Type | None],
        values: Sequence[Any],
        wanted: Sequence[bool],
    ) -> list[Type | None]:
        schema = self._find(operator, domain)
        if schema is None:
            raise NoRuleError(operator)
        # Slots get names of their own, since a node may read one value twice. Attributes that the standard does not know are the
        # mark of some tool and mean nothing here.
        names = [f"i{slot}" if kind is not None else "" for slot, kind in enumerate(types)]
        outputs = [f"o{slot}" if want else "" for slot, want in enumerate(wanted)]
        known = schema.attributes
        node = onnx.NodeProto(op_type=operator, domain=domain, input=names, output=outputs)
        node.attribute.extend(attribute for attribute in attributes if attribute.name in known)
        data = {
            name: to_tensor(value)
            for name, value in zip(names, values, strict=False)
            if name and value is not None and not isinstance(value, Partial)
        }

        def run(kinds: Sequence[Type | None]) -> list[Type | None]:
            protos = {name: to_proto(kind) for name, kind in zip(names, kinds, strict=True) if kind is not None}
            inferred = onnx.shape_inference.infer_node_outputs(schema, node, protos, data, opset_imports=self.imports)
            return [from_proto(inferred[name]) if name in inferred else None for name in outputs]

        try:
            return run(types)
        except onnx.checker.ValidationError:
            # Models run operators in formats that the standard's version of them does not list (bf16 convolutions, for one), and
            # what follows an unknown operator has a guessed type. Shapes do not depend on either.
            low = next((kind.dtype for kind in types if isinstance(kind, TensorType) and kind.dtype in _NARROW), "")
            results = run(_allowed(schema, types))
            return [
                _retyped(kind, low) if low and isinstance(kind, TensorType) and kind.dtype == "fp32" else kind for kind in results
            ]


def _retyped(kind: Type, dtype: str) -> Type:
    return TensorType(dtype, kind.shape) if isinstance(kind, TensorType) else kind


def _allowed(schema: onnx.defs.OpSchema, types: Sequence[Type | None]) -> list[Type | None]:
    """The operand types with element types that agree where the schema wants that, narrow floats as fp32."""
    agreed: dict[str, str] = {}
    result: list[Type | None] = []
    for slot, kind in enumerate(types):
        if isinstance(kind, TensorType) and schema.inputs:
            formal = schema.inputs[min(slot, len(schema.inputs) - 1)].type_str
            fixed = formal.removeprefix("tensor(").removesuffix(")")
            dtype = agreed.setdefault(formal, fixed if fixed in DTYPE_BITS else kind.dtype)
            kind = _retyped(kind, "fp32" if dtype in _NARROW else dtype)
        result.append(kind)
    return result


def _key(value: Any) -> Any:
    """What the memo compares a value by; large ones and tensors of higher rank carry no shape."""
    if value is None:
        return None
    if isinstance(value, Partial):
        return value.data.tobytes(), value.known.tobytes()
    return (value.tobytes(), value.dtype.str) if value.ndim <= 1 else None
