"""The JSON Schemas that ship with the package, derived from the report's records.

`python -m edpc.emit.json_schema` writes them anew after the records changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from edpc.report import Comparison, Report
from edpc.report.difference import Difference

FOLDER = Path(__file__).parent / "schema"
FILES: dict[str, type] = {"report-v1.json": Report, "comparison-v1.json": Comparison, "diff-v1.json": Difference}


def json_schema(record: type) -> dict[str, Any]:
    """The schema (draft 2020-12) of a record; every field is required and no other is allowed."""
    (reference,), components = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    for component in components.values():  # docstrings are indented by their source, which Python versions treat differently
        component["description"] = " ".join(component["description"].split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **reference, "$defs": components}


def schema_text(record: type) -> str:
    """The schema as the shipped file has it."""
    return json.dumps(json_schema(record), indent=2) + "\n"


if __name__ == "__main__":
    for name, record in FILES.items():
        (FOLDER / name).write_text(schema_text(record), encoding="utf-8")
