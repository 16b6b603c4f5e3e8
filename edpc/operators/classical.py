"""Classical machine learning: models whose coefficients stand in attributes of the node rather than in tensors.

Coefficients are no operands, so their bytes do not appear in the reads.
"""

from __future__ import annotations

from edpc.ir import Contraction, Operator, Work
from edpc.operators.counting import counted, log2_steps, positive
from edpc.operators.kind import Family, OperatorKind


def _samples(op: Operator) -> tuple[int, int]:
    """(samples, features) of the first operand; a vector is one sample."""
    dims = op.inputs[0].dims() or (1,)
    return op.inputs[0].numel // max(dims[-1], 1), dims[-1]


def _linear_model(op: Operator) -> Work:
    """Scores are the last result's last axis (of a classifier results are labels and scores); an intercept is added to each."""
    samples, features = _samples(op)
    scores = op.outputs[-1].numel
    return counted(
        op,
        vector_ops=scores,
        contractions=(Contraction(1, samples, scores // max(samples, 1), features),),
        arithmetic=op.outputs[-1:],
    )


def _svm(op: Operator) -> Work:
    """A product with every support vector, its kernel (a transcendental and 2 operations), and the vote of each score."""
    samples, features = _samples(op)
    vectors = positive(op, "support_vectors", 1)
    scores = op.outputs[-1].numel // max(samples, 1)
    spaces = (Contraction(1, samples, vectors, features), Contraction(1, samples, scores, vectors))
    return counted(
        op,
        vector_ops=2 * samples * vectors,
        transcendentals=samples * vectors,
        contractions=spaces,
        arithmetic=op.outputs[-1:],
    )


def _tree_ensemble(op: Operator) -> Work:
    """Every sample descends every tree, one comparison per level, and adds the leaves."""
    samples, _ = _samples(op)
    trees, depth = positive(op, "trees", 1), positive(op, "depth", 1)
    return counted(op, vector_ops=samples * trees * (depth + 1), arithmetic=op.inputs[:1])


def _scaler(op: Operator) -> Work:
    return counted(op, vector_ops=2 * op.inputs[0].numel, arithmetic=op.outputs[:1])


def _imputer(op: Operator) -> Work:
    return counted(op, vector_ops=2 * op.inputs[0].numel, arithmetic=op.inputs[:1])


def _label_encoder(op: Operator) -> Work:
    return counted(op, vector_ops=op.inputs[0].numel * max(log2_steps(positive(op, "labels", 2)), 1), arithmetic=op.inputs[:1])


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.OTHER, rule, summary)
        for name, rule, summary in (
            (
                "linear_model",
                _linear_model,
                "x [samples, features]; results [labels,] scores: a product with the coefficients, 1 operation per score.",
            ),
            (
                "svm",
                _svm,
                "x [samples, features]; support_vectors: a product with every support vector, its kernel, and the votes.",
            ),
            (
                "tree_ensemble",
                _tree_ensemble,
                "x [samples, features]; trees, depth: depth comparisons and an addition per sample and tree.",
            ),
            ("scaler", _scaler, "x: (x - offset) * scale, 2 operations per element."),
            ("imputer", _imputer, "x: replaces missing values, a comparison and a selection per element."),
            ("label_encoder", _label_encoder, "x; labels: a binary search per element."),
        )
    ),
)
