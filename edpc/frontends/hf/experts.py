"""Experts that a library calls one after another, as many tokens each as the router chose, which no shape says.

Tokens spread evenly: of T tokens with k choices each, min(E, T k) experts read T k / E, and no more than an expert takes of a
sequence. The loop itself stays as the library runs it: finding an expert's tokens, which a host waits for, gathering them, its
layers, adding what they answer.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import signature
from typing import Any

NOTE = "every expert reads its even share of the tokens"


@contextlib.contextmanager
def spread_evenly(model: Any, sequences: int) -> Iterator[list[str]]:
    """The experts of a model are called with their even share while the block runs.

    Args:
        model: of the library.
        sequences: how many a run reads; an expert's `expert_capacity` counts for each.

    Yields:
        What should be said of it; empty until such experts were called, and for models without.
    """
    said: list[str] = []
    capacity = getattr(model.config, "expert_capacity", None)
    most = capacity * sequences if isinstance(capacity, int) and capacity > 0 else None
    loops = [each for each in model.modules() if _chooses(each)]
    for each in loops:
        each.forward = _even(each.forward, _count(each), most, said)
    typed = [each for each in model.modules() if hasattr(each, "classifier") and hasattr(each, "dtype") and _is(each, "Router")]
    for router in typed:  # it converts its classifier at every call, which no export follows
        classifier = router.classifier.to(router.dtype)
        classifier.to = lambda *_, kept=classifier: kept
    try:
        yield said
    finally:
        for each in loops:
            del each.forward
        for router in typed:
            del router.classifier.to


def _is(module: Any, suffix: str) -> bool:
    return type(module).__name__.endswith(suffix)


def _chooses(module: Any) -> bool:
    """Whether it is experts that take tokens, choices and weights."""
    return _is(module, "Experts") and _count(module) > 0 and len(signature(module.forward).parameters) >= 3


def _count(module: Any) -> int:
    counts = (getattr(module, name, None) for name in ("num_experts", "total_experts"))
    return next((count for count in counts if isinstance(count, int)), 0)


def _even(forward: Callable[..., Any], experts: int, most: int | None, said: list[str]) -> Callable[..., Any]:
    """A `forward` of (tokens, choices, weights) whose loop over experts finds the same number of tokens for each."""
    order = signature(forward)

    def even(*given: Any, **named: Any) -> Any:
        hidden, chosen, *_ = order.bind(*given, **named).arguments.values()
        if getattr(chosen, "ndim", 0) < 2 or chosen.shape[1] >= experts:  # no choice of a few
            return forward(*given, **named)
        tokens = hidden.numel() // hidden.shape[-1]
        choices = tokens * chosen.shape[1]
        rows = math.ceil(choices / experts)
        reached = min(experts, choices)
        numbers = [number * experts // reached for number in range(reached)]
        with _found(numbers, rows if most is None else min(rows, most)) as calls:
            result = forward(*given, **named)
        if calls and NOTE not in said:
            said.append(NOTE)
        return result

    return even


class _Number(list[int]):
    """The number of an expert as a loop meets it: a tensor of one element."""

    def item(self) -> int:
        return self[0]


@contextlib.contextmanager
def _found(numbers: list[int], rows: int) -> Iterator[list[Any]]:
    """Answers of what depends on the router: the experts that are chosen at all, and `rows` tokens for each.

    Yields:
        Masks in which tokens were looked for.
    """
    torch = import_module("torch")
    searched: list[Any] = []

    class Answers(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined]
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = kwargs or {}
            if function in (torch.nonzero, torch.Tensor.nonzero) and args[0].dim() == 1 and not named.get("as_tuple"):
                return [_Number([number]) for number in numbers]
            if function is torch.where and len(args) == 1 and not named:
                searched.append(args[0])
                return torch.nonzero_static(args[0], size=rows).unbind(1)
            return function(*args, **named)

    with Answers():
        yield searched
