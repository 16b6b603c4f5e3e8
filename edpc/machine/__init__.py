"""Cost models of the architecture classes, on numpy columns. Nothing here walks a model's graph twice or knows a frontend."""
