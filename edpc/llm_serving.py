"""What a language model costs where it is served: a step of the batch, its latency between tokens, power, joules per token.

A serving stack decodes a batch of sequences step by step. New requests replace finished ones, so some steps also read prompts:
their number is Poisson distributed. The stack itself adds a gap between steps (scheduler, launch of the sampler, conversion to
text) and the sampler, which sorts the logits of every sequence. Both were fitted to vLLM on one H100 in bf16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from edpc import api, frontends
from edpc.errors import UsageError
from edpc.ir import Graph
from edpc.machine.build import kernelise
from edpc.machine.catalogue import model_of
from edpc.machine.mixed_step import from_memory, heads, prompt_attention, vocabulary, with_tokens
from edpc.machine.model import CostModel
from edpc.machine.table import KernelTable
from edpc.machine.walk import walk
from edpc.target import Target

CHAT_SPREAD = 0.9  # standard deviation over mean of the lengths of chat answers
_RAREST = 1e-6  # steps with more prompts than all but this share are left out
_STACK = "stack-projections,cache-in-place"


def mean_context(prompt: float, output: float, spread: float) -> float:
    """Tokens in the cache of a sequence at a random step: prompt + E[o^2] / (2 E[o]).

    A long answer is met more often than a short one, in proportion to its length, and at a random place of it.

    Args:
        prompt: tokens of a prompt.
        output: mean tokens of an answer.
        spread: standard deviation of an answer's length over its mean; 0 where all are alike.
    """
    return prompt + output * (1.0 + spread * spread) / 2.0


def arrivals(rate: float) -> tuple[float, ...]:
    """Poisson probabilities of 0, 1, 2, ... new requests in a step of `rate` expected ones; they sum to 1.

    The tail beyond a millionth goes to the last one.
    """
    found = [exp(-rate)]
    while 1.0 - sum(found) > _RAREST:
        found.append(found[-1] * rate / len(found))
    found[-1] += 1.0 - sum(found)
    return tuple(found)


def median_arrivals(shares: Sequence[float]) -> int:
    """The number of new requests that half of all steps do not exceed."""
    return int(np.searchsorted(np.cumsum(shares), 0.5))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the batch. Latencies in s; energy in J, idle power included.

    Attributes:
        prompts: prompts read in it. share: of all steps.
        gpu_s: kernels of the network. sampling_s: the sampler. gap_s: the device waits for the stack. energy_j: of all three.
    """

    prompts: int
    share: float
    gpu_s: float
    sampling_s: float
    gap_s: float
    energy_j: float

    @property
    def latency_s(self) -> float:
        """From one token to the next."""
        return self.gpu_s + self.sampling_s + self.gap_s


@dataclass(frozen=True, slots=True)
class Served:
    """A language model being served.

    Attributes:
        model, target, precision: names. batch: sequences decoded at once. context: tokens in a sequence's cache, mean.
        steps: by number of prompts read; the first reads none.
        notes: what a reader must know.
    """

    model: str
    target: str
    precision: str
    batch: int
    prompt: int
    output: float
    context: float
    steps: tuple[Step, ...]
    notes: tuple[str, ...]

    @property
    def inter_token_s(self) -> float:
        """Inter-token latency, median: that of a step with a median number of prompts."""
        return self.steps[median_arrivals([step.share for step in self.steps])].latency_s

    @property
    def step_s(self) -> float:
        """Mean latency of a step."""
        return sum(step.share * step.latency_s for step in self.steps)

    @property
    def power_w(self) -> float:
        """Mean board power."""
        return sum(step.share * step.energy_j for step in self.steps) / self.step_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens decoded per second, all sequences together."""
        return self.batch / self.step_s

    @property
    def energy_per_token_j(self) -> float:
        """Joules per decoded token, the reading of prompts included."""
        return self.power_w / self.tokens_per_s

    def to_dict(self) -> dict[str, Any]:
        """SI figures without rounding."""
        names = ("model", "target", "precision", "batch", "prompt", "output", "context", "inter_token_s", "step_s", "power_w")
        found: dict[str, Any] = {name: getattr(self, name) for name in (*names, "tokens_per_s", "energy_per_token_j")}
        parts = ("prompts", "share", "gpu_s", "sampling_s", "gap_s", "latency_s", "energy_j")
        found["steps"] = [{name: getattr(step, name) for name in parts} for step in self.steps]
        return {"schema": "edpc/serving-v1", **found, "notes": list(self.notes)}


def serve(
    source: api.Model,
    target: str | Target = "h100",
    *,
    prompt: int,
    output: float,
    batch: int,
    spread: float = CHAT_SPREAD,
    precision: str | None = "bf16",
    set: api.Settings = (),
) -> Served:
    """What a decoder costs where it is served.

    Args:
        source: `hf:PATH`, `block:llama-decoder?...`, or a network that is a decode step already (then of that batch and context).
        target: a GPU.
        prompt: tokens of a prompt.
        output: mean tokens of an answer.
        batch: sequences decoded at once.
        spread: of the answers' lengths, as of `mean_context`.
        precision: as of `edpc.compile`.
        set: as of `edpc.compile`; `serving=off` leaves the stack out: no gap, no sampler, no prompts.

    Raises:
        UsageError: a length is not positive, or the target has no serving stack.
        ModelError: the model cannot be read.
    """
    for name, value in (("prompt", prompt), ("output", output), ("batch", batch)):
        if value < 1:
            raise UsageError(f"{name} is 1 or more, not {value:g}")
    if spread < 0.0:
        raise UsageError(f"spread is not negative; {spread:g} is")
    machine = api.configure(target, set)
    if "serving" not in machine.settings:
        raise UsageError(f"target {machine.name} describes no serving stack; h100 and h200 do")
    context = mean_context(prompt, output, spread)
    graph, notes = _decode_step(source, batch, max(round(context), 1))
    before, cut, _ = machine.pipeline.partition(",annotate-cost")
    if not cut:
        raise UsageError(f"target {machine.name}: its pipeline has no annotate-cost to stop before")
    api.run(graph, machine, precision=precision, pipeline=before.replace("import-cleanup", f"import-cleanup,{_STACK}", 1))
    table = from_memory(kernelise(walk(graph), graph.groups, machine))
    on = machine.setting("serving") == "on"
    shares = arrivals(batch / output) if on else (1.0,)
    priced = _Priced(model_of(machine), machine, table, batch, prompt)
    steps = tuple(priced.step(prompts, share, on) for prompts, share in enumerate(shares))
    return Served(
        model=graph.info.source or graph.name,
        target=machine.name,
        precision=graph.info.precision,
        batch=batch,
        prompt=prompt,
        output=output,
        context=context,
        steps=steps,
        notes=(*notes, *((machine.settings["serving"].doc,) if on else ("the bare network: serving is off",)), *graph.info.notes),
    )


def _decode_step(source: api.Model, batch: int, past: int) -> tuple[Graph, list[str]]:
    """The graph of one step of the batch with so many tokens in every cache."""
    if isinstance(source, str) and source.startswith("block:"):
        head, _, query = source.partition("?")
        told = dict(parse_qsl(query)) | {"phase": "decode", "past": str(past), "batch": str(batch)}
        return api.load(f"{head}?{urlencode(told)}"), []
    if isinstance(source, str) and source.startswith("hf:"):
        options: dict[str, Any] = {"batch": batch, "phase": "decode", "past": past}
        return frontends.load(source, **options), []
    graph = api.load(source)
    if graph.info.batch != batch:
        raise UsageError(f"{graph.info.source or graph.name} is a step of {graph.info.batch} sequences, not of {batch}")
    return graph, ["the network is taken as it is: the context of its cache is its own"]


@dataclass(frozen=True)
class _Priced:
    """A decode step and what steps that also read prompts cost."""

    model: CostModel
    target: Target
    table: KernelTable
    batch: int
    prompt: int

    def step(self, prompts: int, share: float, on: bool) -> Step:
        """A step that reads so many prompts; with the stack's own share where it is on."""
        c = self._constants
        tokens = prompts * self.prompt
        gpu, energy = self._cost(with_tokens(self.table, self.batch, tokens) if prompts else self.table)
        if prompts:
            for head in heads(self.table, self.batch):
                latency, joules = self._cost(prompt_attention(head, prompts, self.prompt, self.target))
                again = c["serving.mixed_attention"]
                gpu += head.kernels * (latency + again)
                energy += head.kernels * (joules + again * (c["static_power"] + c["power.active"]))
        sampling = c["serving.sampling"] * self.batch * vocabulary(self.table) if on else 0.0
        gap = c["serving.step_gap"] + prompts * c["serving.prompt_stall"] if on else 0.0
        sort = c["serving.sampling_bandwidth"] * c["dram.read_energy"]
        energy += sampling * (c["static_power"] + c["power.active"] + sort) + gap * c["static_power"]
        return Step(prompts, share, gpu, sampling, gap, energy)

    @property
    def _constants(self) -> dict[str, float]:
        """The target's constants, with what DRAM takes while serving."""
        c = self.target.constants()
        return c | dict.fromkeys(("dram.read_energy", "dram.write_energy"), c["serving.dram_energy"])

    def _cost(self, table: KernelTable) -> tuple[float, float]:
        """Latency (s) and energy (J), idle power included, of all kernels of a table."""
        found = self.model.evaluate(table, self.target, self._constants, self.model.plan(table, self.target))
        latency = float((found.compute_s + found.memory_s + found.overhead_s).sum())
        dynamic = float((found.compute_j + found.on_chip_j + found.dram_j + found.overhead_j).sum())
        return latency, dynamic + self.target.static_power.value * latency
