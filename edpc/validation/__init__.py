"""Predicted against measured: backends that run a model on this machine, and what their answers come to.

A backend (`cpu`, `gpu`) runs a model the way the target says and answers `ModelResult`s; nothing else here knows how it was run.
"""
