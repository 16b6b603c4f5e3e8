"""Graphs from model configurations: what the dispatch of frontends calls."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from math import prod
from typing import Any

from edpc.errors import EdpcError, ModelError, UsageError
from edpc.frontends.fx.lower import lower
from edpc.frontends.fx.module import export, one_line
from edpc.frontends.hf.cache import Template, cache_tensors, find_cache
from edpc.frontends.hf.config import WRITTEN_OUT, Description, config_path, read_config
from edpc.frontends.hf.experts import spread_evenly
from edpc.frontends.hf.inputs import Architecture, reshaped, tensors
from edpc.frontends.hf.library import ATTENTION, bounded, import_transformers, offline
from edpc.ir import Graph
from edpc.ir.collector import collector_paused

PHASES = ("prefill", "decode")


def load_config(
    source: str,
    *,
    batch: int | None = None,
    seq: int | None = None,
    phase: str | None = None,
    past: int | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    trip_count: Mapping[str, int] | None = None,
) -> Graph:
    """The graph of the architecture that `hf:PATH` describes, without weights.

    Args:
        source: `hf:` and the path of a configuration, or of a folder with a `config.json`.
        batch: sequences, images or recordings at once; 1 where nothing is said.
        seq: length of the main input: tokens, or frames or samples of a recording. In decode, tokens a run adds, by default 1.
        phase: of what generates text: `prefill` reads a prompt and leaves a cache, `decode` adds tokens to it; both make the
            logits of the last token only. None reads a prompt and makes the logits of every token, as the library's call does.
        past: tokens in the cache before the run; by default none in prefill, 128 in decode.
        dims: refused: nothing is free.
        shapes: whole shape by name of an input other than tokens.
        trip_count: iterations by name of a loop.

    Raises:
        ModelError: the configuration cannot be read, or what it describes cannot be built or exported.
        UsageError: an option does not fit the architecture, or torch or transformers is not installed.
    """
    transformers = import_transformers(source)
    path = config_path(source)
    description = read_config(path, transformers)
    architecture = Architecture(_built(description, str(path)))
    run = _Run(architecture, source, batch or 1, seq, phase, past, shapes or {})
    with collector_paused(), offline():
        program = run.program()
        graph = lower(program, source, dims=dims, trip_count=trip_count)
    graph.name = architecture.name
    graph.info = replace(
        graph.info,
        format="hf",
        source=str(path),
        batch=run.batch,
        phase=run.phase or "",
        past=run.past,
        tokens=run.tokens,
        notes=(*description.notes, *run.notes, *graph.info.notes),
    )
    return graph


def _built(description: Description, where: str) -> Any:
    """The model on the meta device; attention that the library cannot run fused is written out."""
    torch = import_module("torch")
    failed: Exception | None = None
    for attention in (ATTENTION, WRITTEN_OUT):
        fused = attention == ATTENTION
        if fused and (description.attention_written_out or not getattr(description.model_class, "_supports_sdpa", False)):
            continue
        try:
            with offline(), bounded(where), torch.device("meta"):
                return description.model_class._from_config(description.config, attn_implementation=attention).eval()
        except EdpcError:
            raise
        except Exception as error:  # the library's own code, over sizes that nobody checked
            failed = error
    assert failed is not None
    raise ModelError(f"{where} cannot be built as {description.model_class.__name__}: {one_line(failed)}") from failed


class _Run:
    """One run of an architecture: its phase, its inputs, its program.

    Attributes:
        notes: what a report should say of it.
        tokens: tokens of all sequences that a run reads or writes; 0 where the architecture generates none.
    """

    def __init__(
        self,
        architecture: Architecture,
        where: str,
        batch: int,
        seq: int | None,
        phase: str | None,
        past: int | None,
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        self.architecture, self.where, self.batch, self.seq, self.given = architecture, where, batch, seq, shapes
        self.notes: list[str] = []
        self.tokens = 0
        name = architecture.name
        if (phase is not None or past is not None) and architecture.cache_argument is None:
            raise UsageError(f"{name} of {where} keeps no cache; --phase and --past are for what generates text")
        # A phase that is asked for is that of a server, which wants the logits of the next token only.
        self.is_served = phase is not None or past is not None
        self.phase = phase or (PHASES[0] if architecture.generates and architecture.cache_argument else None)
        if past is not None and self.phase is None:
            self.phase = PHASES[0]
        self.past = past if past is not None else architecture.default_tokens if self.phase == "decode" else 0
        if self.phase == "decode" and not self.past:
            raise UsageError("--phase decode needs a cache; give --past of 1 or more")
        if self.phase == "prefill" and self.past and architecture.has_encoder:
            raise UsageError(f"{name} of {where} reads its prompt in an encoder, which has no past; leave --past out")

    def program(self) -> Any:
        """The exported program."""
        shapes = self._shapes()
        dtype = self.architecture.model.dtype
        inputs = tensors(shapes, dtype)
        template = None
        if self.past:
            kept = self._cache(dtype)
            template = kept[0]
            if self.architecture.has_encoder:
                inputs = {name: value for name, value in inputs.items() if name == self.architecture.tokens_argument} | kept[1]
        if self.phase is not None:
            self._count(shapes)
        model = self.architecture.model
        model.forward = types.MethodType(self._forward(list(inputs), template), model)
        try:
            with spread_evenly(model, self.batch) as said:
                program = export(model, {**inputs, **(template.shapes if template else {})}, where=self.where)
        finally:
            del model.forward
        self.notes += said
        return program

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs of this run."""
        encoder, decode = self.architecture.has_encoder, self.phase == "decode"
        step = self.seq or 1
        if decode and not encoder:
            called = self.architecture.called(self.batch, step)
        else:
            # The prompt of an encoder-decoder goes to the encoder, and the first token to the decoder.
            asked = None if decode else self.seq
            in_text = self.architecture.reads_text
            first = step if decode else None if self.phase is None else 1 if in_text else (self.seq or 1)
            called = self.architecture.called(self.batch, asked if in_text or not encoder else None, first)
        if self.seq is not None and not called.follows_length and not encoder:
            raise UsageError(f"{self.architecture.name} of {self.where} reads no sequence; leave --seq out, or give --shape")
        return reshaped(self.architecture, called, self.given, self.where)

    def _count(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """The tokens this run is for, and remarks."""
        architecture = self.architecture
        prompt = "input_ids" if self.phase == "prefill" and architecture.has_encoder else architecture.tokens_argument
        if prompt in shapes:
            self.tokens = prod(shapes[prompt])
            most, used = architecture.positions, shapes[prompt][-1] + self.past
            if most is not None and used > most:
                self.notes.append(f"{used:,} positions are used, and the configuration provides for {most:,}")
        if self.past:
            self.notes.append("new keys and values are written in place, into a cache with room for them")
        if self._last_only():
            self.notes.append("logits of the last token only, as in generation")

    def _last_only(self) -> bool:
        return self.is_served and "logits_to_keep" in self.architecture.names

    def _options(self) -> dict[str, Any]:
        names = self.architecture.names
        options: dict[str, Any] = {"return_dict": True}
        if self.phase is not None:
            options["use_cache"] = True
        elif "use_cache" in names:
            options["use_cache"] = False
        if self._last_only():
            options["logits_to_keep"] = 1
        return options

    def _cache(self, dtype: Any) -> tuple[Template, dict[str, Any]]:
        """What a run over the past leaves: the cache, and the encoder's result where there is one."""
        torch = import_module("torch")
        architecture = self.architecture
        if architecture.has_encoder:
            called = architecture.called(self.batch, None, self.past)
        else:
            called = architecture.called(self.batch, self.past)
        inputs = tensors(reshaped(architecture, called, self.given, self.where), dtype)
        try:
            with torch.no_grad(), architecture.runnable_without_data(), spread_evenly(architecture.model, self.batch):
                outputs = architecture.model(**self._encoded(inputs), **self._options())
        except Exception as error:  # the library's code, on tensors without data
            raise ModelError(f"{self.where} cannot be run over {self.past} tokens: {one_line(error)}") from error
        cache = find_cache(outputs)
        if cache is None:
            raise UsageError(
                f"{architecture.name} of {self.where} keeps no cache; --phase and --past are for what generates text"
            )
        hidden = outputs.get("encoder_last_hidden_state") if architecture.has_encoder else None
        return Template(cache, self.seq or 1), {} if hidden is None else {"encoder_hidden_state": hidden}

    def _encoded(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the encoder's result in place of its input where `forward` would ask the encoder for a cache too."""
        architecture = self.architecture
        main = architecture.model.main_input_name
        if self.phase is None or not architecture.has_encoder or "use_cache" in architecture.names or main not in arguments:
            return arguments
        rest = {name: value for name, value in arguments.items() if name != main}
        prompt, encoder = arguments[main], architecture.model.get_encoder()
        # When exported, such encoders do not make the mask that they make when they run.
        seen = prompt.new_ones(prompt.shape) if architecture.reads_text else None
        return {**rest, "encoder_outputs": encoder(**{main: prompt}, attention_mask=seen)}

    def _forward(self, names: Sequence[str], template: Template | None) -> Callable[..., list[Any]]:
        """A `forward` that takes and answers tensors only."""
        options, slot = self._options(), self.architecture.cache_argument
        original = type(self.architecture.model).forward
        hidden = import_module("transformers.modeling_outputs").MoEModelOutput

        def forward(model: Any, **given: Any) -> list[Any]:
            arguments = {name: given[name] for name in names if name != "encoder_hidden_state"}
            if "encoder_hidden_state" in names:
                arguments["encoder_outputs"] = hidden(last_hidden_state=given["encoder_hidden_state"])
            if template is not None and slot is not None:
                arguments[slot] = template.made(given)
            outputs = original(model, **self._encoded(arguments), **options)
            cache = find_cache(outputs)
            return _results(outputs, cache) + (cache_tensors(cache) if cache is not None else [])

        return forward


def _results(outputs: Any, cache: Any) -> list[Any]:
    """Every tensor among the outputs but those of the cache, each once."""
    torch = import_module("torch")
    found: dict[int, Any] = {}

    def visit(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.setdefault(id(value), value)
        elif isinstance(value, Mapping):
            for item in value.values():
                visit(item)
        elif isinstance(value, list | tuple):
            for item in value:
                visit(item)

    visit({key: value for key, value in outputs.items() if value is not cache} if isinstance(outputs, Mapping) else outputs)
    return list(found.values())
