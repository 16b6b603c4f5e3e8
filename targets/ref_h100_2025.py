"""NVIDIA H100 PCIe as a single-roofline estimator of 2025 had it: a historical reference, no model of the machine.

It fuses nothing, and every operator pays a fixed 5 us on top of the longer of its arithmetic and its bytes.
"""

from __future__ import annotations

from targets.ref_kpu_2025 import reference

TARGET = reference(
    "ref-h100-2025",
    "historical reference: the H100 PCIe of a single-roofline estimator of 2025, a fixed 5 us per operator",
    80e9,
    {"peak": 60e12, "flop": 0.501e-12, "bandwidth": 2.0e12, "byte": 15e-12, "static": 105.0, "launch": 5e-6},
)
