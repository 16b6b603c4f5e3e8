"""Measuring this machine: micro-models of edpc's own, the fit of a target's constants to them, and where the target is kept.

No network that edpc is judged on is run here. Nothing is imported from here unless a machine is calibrated or its target is read.
"""
