"""The GPU backend: the model in PyTorch on an NVIDIA GPU, eagerly and compiled, with the board's energy from NVML."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from edpc import api
from edpc.blocks import PREFIX, build, parse_block
from edpc.errors import UsageError
from edpc.report import build_report
from edpc.runtime.session import lowest_mean
from edpc.target import Target
from edpc.validation.results import ModelResult

_WARM_UP = 5
_LEAST_RUNS = 20
# NVML averages power over about a second and samples it every 100 ms: shorter runs have no energy of their own.
_ENERGY_S = 2.0
# How the target's setting `launch` runs what PyTorch calls eager and compiled.
_LAUNCH = {"eager": "eager", "compiled": "graph"}


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU: PyTorch, NVML (None where it is not installed) and its handle of the device."""

    target: Target
    torch: ModuleType
    nvml: ModuleType | None
    handle: Any

    def validate(
        self,
        source: str,
        *,
        batch: int | None = None,
        dims: Mapping[str, int] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        seconds: float = 3.0,
    ) -> list[ModelResult]:
        """Predicted and measured latency and energy of a model, eager and compiled.

        Args:
            source: `block:NAME?parameter=value`.
            batch: leading dimension of the inputs.
            dims: refused, PyTorch modules state their own.
            shapes: refused likewise.
            seconds: how long to run it for, at least.

        Raises:
            UsageError: the model is not one that PyTorch runs.
        """
        if dims or shapes:
            raise UsageError("--dim and --shape apply to ONNX models; set the parameters of the module instead")
        module, inputs = self._module(source, batch)
        results = []
        for mode in _LAUNCH:
            run = module if mode == "eager" else self.torch.compile(module)
            latency, joules = self.time(partial(run, *inputs), seconds)
            target = self.target
            if "launch" in target.settings:
                target = target.with_setting("launch", _LAUNCH[mode])
            graph = api.load(source, batch=batch)
            api.run(graph, target)
            report = build_report(graph, target)
            peak = target.units[0].rate[_precision(target, graph.info.precision)].value
            results.append(
                ModelResult(
                    source,
                    mode,
                    graph.info.batch,
                    report.latency_s,
                    latency,
                    report.model.flops / peak,
                    (),
                    report.energy_j,
                    joules,
                )
            )
        return results

    def time(self, run: Callable[[], Any], seconds: float) -> tuple[float, float | None]:
        """Latency of one run in s between CUDA events, the mean of the lowest, and its energy in J where NVML counts it."""
        cuda = self.torch.cuda
        with self.torch.inference_mode():
            for _ in range(_WARM_UP):
                run()
            cuda.synchronize()
            times: list[float] = []
            while len(times) < _LEAST_RUNS or sum(times) < seconds:
                start, end = (cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                run()
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end) * 1e-3)
            return lowest_mean(np.array(times)), self._energy(run)

    def _energy(self, run: Callable[[], Any]) -> float | None:
        """Energy of one run, over as many as fill two seconds."""
        if self.nvml is None:
            return None
        before, start, runs = self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle), time.perf_counter(), 0
        while time.perf_counter() - start < _ENERGY_S:
            run()
            runs += 1
            self.torch.cuda.synchronize()
        millijoules = self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle) - before
        return float(millijoules) * 1e-3 / runs

    def _module(self, source: str, batch: int | None) -> tuple[Any, tuple[Any, ...]]:
        """The module and its inputs on the GPU, with made-up weights."""
        if not source.startswith(PREFIX):
            raise UsageError(f"{source} cannot be run on a GPU here; give a building block, block:NAME, which PyTorch runs")
        name, parameters = parse_block(source)
        module, inputs = build(name, **({**parameters, "batch": batch} if batch is not None else parameters))
        there = module.to_empty(device="cuda")
        with self.torch.no_grad():
            for parameter in there.parameters():
                parameter.uniform_(-0.05, 0.05)
        return there, tuple(_made(self.torch, x) for x in inputs)


def open_gpu(target: Target) -> Gpu:
    """The first NVIDIA GPU of this machine.

    Raises:
        UsageError: PyTorch is not installed, or it finds no GPU.
    """
    try:
        import torch
    except ImportError:
        raise UsageError(f"target {target.name} is measured with PyTorch; install it with: pip install edpc[torch]") from None
    if not torch.cuda.is_available():
        raise UsageError(
            f"target {target.name} needs an NVIDIA GPU with its driver, and this machine has none that PyTorch can use"
        )
    try:
        import pynvml

        pynvml.nvmlInit()
        return Gpu(target, torch, pynvml, pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device()))
    except Exception:  # not installed, or the driver hides its counters: latency is measured all the same
        return Gpu(target, torch, None, None)


def _precision(target: Target, served: str) -> str:
    """The arithmetic format of contractions at the precision the network is served in."""
    there = target.precisions.get(served)
    rates = target.units[0].rate
    return there.compute if there is not None and there.compute in rates else next(iter(rates))


def _made(torch: ModuleType, x: Any) -> Any:
    """An input of that shape on the GPU: random numbers, or ones where it holds tokens or flags."""
    if x.dtype.is_floating_point:
        return torch.randn(x.shape, dtype=x.dtype, device="cuda")
    return torch.ones(x.shape, dtype=x.dtype, device="cuda")
