"""An example of a pass outside the tree: what would folding batch norms into convolutions save?

edpc model.onnx --pass-file fold_batch_norm.py --pass-pipeline \
      import-cleanup,fold-batch-norm,apply-precision,annotate-operators,fuse-operators,annotate-cost,attribute-edp
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edpc.ir import Graph, Value
from edpc.pipeline.base import Fact, Pass, PassContext


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Every batch norm that alone reads a convolution is part of that convolution's weights, as deployment tools make it."""

    name: ClassVar[str] = "fold-batch-norm"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})
    preserves: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})

    at_most: int = 1_000_000  # an option: fold-batch-norm{at-most=3}

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Rewires the readers of each such batch norm to the convolution."""
        folded = 0
        for name in graph.compute_order():
            if graph.op(name).kind != "batch_norm" or folded == self.at_most:
                continue
            convolution = graph.operands(name)[0].node
            if graph.op(convolution).kind != "conv" or sum(1 for _ in graph.uses(convolution)) != 1:
                continue
            for use in list(graph.uses(name)):
                operands = list(graph.operands(use.consumer))
                operands[use.slot] = Value(convolution)
                graph.rewire(use.consumer, operands)
            graph.remove(name)
            folded += 1
        return folded > 0
