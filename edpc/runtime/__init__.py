"""ONNX Runtime as seen from edpc: the graph it executes, and how long that takes.

The room above the frontends: it opens sessions on models without weights and hands what it finds to the ONNX frontend.
onnxruntime is imported when a session is opened and not before. No file of the model but the graph itself is opened, and no
library of custom operators is loaded.
"""
