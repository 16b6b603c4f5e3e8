"""From an ONNX file to the IR, in three rooms: reading (`reader`), typing (`shapes`) and lowering (`lower`).

Nothing here loads a weight, opens external data, or knows a pass, a machine or a target. `typed` is what the second room hands to
the third.
"""
