"""`lit tests/filecheck` runs the same files as pytest does."""

import sys
from pathlib import Path

import lit.formats

root = Path(__file__).parents[2]
config.name = "edpc"  # noqa: F821  # lit defines `config`
config.suffixes = [".edp"]  # noqa: F821
config.test_format = lit.formats.ShTest()  # noqa: F821
config.environment["PYTHONPATH"] = str(root)  # noqa: F821
config.substitutions += [  # noqa: F821
    (r"\bedpc-opt\b", f"{sys.executable} -m edpc.cli.opt"),
    (r"\bfilecheck\b", f"{sys.executable} -m filecheck"),
]
