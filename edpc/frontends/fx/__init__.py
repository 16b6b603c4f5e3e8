"""PyTorch programs: torch.export's ATen graphs, from memory or from a `.pt2` archive, lowered to the operator vocabulary.

`trace` and `module` are the only modules that import torch, and only when they are called; an archive is read without it.
"""
