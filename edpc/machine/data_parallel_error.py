"""What measured GPU kernels came to over their predictions, by kernel family: nominally 1, drawn for intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edpc.machine.model import Constants
from edpc.machine.table import Floats, Names

FAMILIES: Mapping[str, str] = {
    "gemm": "16-bit and TF32 products",
    "gemm.long": "16-bit and TF32 products of 100 us and more",
    "gemm8": "8-bit products and their quantisers",
    "conv8": "8-bit convolutions",
    "ffma": "fp32 products on the vector lanes",
    "attention.prefill": "causal attention",
    "attention.encoder": "attention without a mask",
    "attention.decode": "attention of one query against a cache",
    "vector": "kernels without products",
    "rowwise": "softmax and normalisation",
}
PARAMETERS: Mapping[str, tuple[str, str]] = {
    **{f"{name}.error": ("1", f"measured over predicted latency of {what}") for name, what in FAMILIES.items()},
    "power.error": ("1", "measured over predicted board power below the cap"),
    "power.capped.error": ("1", "the same of kernels that the cap holds down"),
}


_LONG_S = 100e-6


def latency_error(family: Names, latency: Floats, c: Constants) -> Floats:
    """The factor on every kernel's latency, shape (..., g).

    Args:
        family: a key of `FAMILIES` for every kernel, shape (g,).
        latency: s, shape (..., g).
        c: constants; an error may differ by kernel, (variants, g).
    """
    found = np.ones_like(latency)
    for name in FAMILIES:
        found = np.where(family == name, c[f"{name}.error"], found)
    return np.where((family == "gemm") & (latency >= _LONG_S), c["gemm.long.error"], found)
