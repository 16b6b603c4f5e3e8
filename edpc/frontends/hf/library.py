"""The transformers library, kept from reaching out: no network, no remote code, no message of its own."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from edpc.errors import ModelError, UsageError
from edpc.frontends.fx.module import import_torch, quiet

OLDEST = (5, 24)
INSTALL = "install it with: pip install edpc[hf]"
# How attention runs here: torch's fused call with shared key heads, and masks only where a flag cannot say the same.
ATTENTION = "edpc"
# More modules than any published network has; a configuration that asks for more is refused while it is being built.
MAX_MODULES = 100_000

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_SDPA_FORCE_GQA": "1",
}


def import_transformers(what: str) -> Any:
    """The transformers module, with this module's attention known to it.

    Raises:
        UsageError: torch or transformers is not installed.
    """
    import_torch(what)
    with _environment():
        try:
            transformers = import_module("transformers")
        except ImportError:
            raise UsageError(f"{what} needs transformers; {INSTALL}") from None
        version = str(transformers.__version__)
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
            raise UsageError(f"{what} needs transformers {'.'.join(map(str, OLDEST))} or newer and finds {version}; {INSTALL}")
        masks = import_module("transformers.masking_utils")
        attention = import_module("transformers.integrations.sdpa_attention")
    transformers.AttentionInterface.register(ATTENTION, attention.sdpa_attention_forward)
    transformers.AttentionMaskInterface.register(ATTENTION, _mask_of(masks.sdpa_mask))
    return transformers


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """The library says nothing and asks no network while the block runs."""
    torch = import_module("torch")
    hub: Any = import_module("huggingface_hub.constants")
    before = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = True
    try:
        with _environment(), quiet(torch):
            yield
    finally:
        hub.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def bounded(where: str) -> Iterator[None]:
    """Modules made while the block runs are counted, and too many end it.

    Raises:
        ModelError: the block makes more than `MAX_MODULES`.
    """
    torch = import_module("torch")
    made = 0

    def count(*_: object) -> None:
        nonlocal made
        made += 1
        if made > MAX_MODULES:
            raise ModelError(f"{where} describes more than {MAX_MODULES:,} modules, which is not believable; check its sizes")

    hook = torch.nn.modules.module.register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _mask_of(written_out: Any) -> Any:
    """The library's mask, left out wherever attention's own causal flag says the same.

    The library leaves it out when a network runs and writes it out when one is exported, because the sizes of an export may
    change later. Here they cannot.
    """

    def mask(
        batch_size: int,
        q_length: int,
        kv_length: int,
        *args: Any,
        attention_mask: Any = None,
        local_size: int | None = None,
        allow_is_causal_skip: bool = True,
        allow_is_bidirectional_skip: bool = False,
        **rest: Any,
    ) -> Any:
        is_whole = attention_mask is None and (local_size is None or kv_length < local_size)
        if is_whole and (allow_is_bidirectional_skip or (allow_is_causal_skip and q_length in (1, kv_length))):
            return None
        return written_out(
            batch_size,
            q_length,
            kv_length,
            *args,
            attention_mask=attention_mask,
            local_size=local_size,
            allow_is_causal_skip=False,
            allow_is_bidirectional_skip=False,
            **rest,
        )

    return mask
