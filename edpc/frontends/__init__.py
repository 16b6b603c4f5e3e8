"""Frontends: from a model in somebody else's format to the IR. Nothing here knows a pass, a machine or a target."""

from edpc.frontends.dispatch import load

__all__ = ["load"]
