"""Predictions against measured GPU kernels, on layers that no fit has seen; skipped where the measurements are not at hand."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from edpc.cli.targets import targets_command
from targets._fitted import FITTED
from targets.h100 import TARGET as H100
from tools.fit_families import FAMILIES
from tools.validate import sets
from tools.validate.__main__ import main
from tools.validate.measured import FOLDER
from tools.validate.rows import ROWS, Row
from tools.validate.score import Score, score

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the measured data is not beside the project"),
]
SCORES: dict[str, Score] = {}
# Whole networks are few rows, and judged in tests/test_validate_networks.py.
CLAIMED = [row for row in ROWS if not all(map(math.isnan, row.goal)) and "-networks-" not in row.name]
# Rows whose kernels have model errors of their own, and enough of them to tell 85 from 95 %.
COVERED = [row for row in ROWS if row.covered]


def scored(row: Row) -> Score:
    if row.name not in SCORES:
        SCORES[row.name] = score(row.case())
    return SCORES[row.name]


@pytest.mark.parametrize("row", CLAIMED, ids=[row.name for row in CLAIMED])
def test_errors_on_layers_kept_apart_are_within_the_goal(row: Row) -> None:
    found = scored(row)
    assert found.rows >= (4 if row.name.startswith("a100-") else 30)
    assert row.met(found.ours), f"{row.name}: {found.ours} against {row.goal}"


@pytest.mark.parametrize("row", CLAIMED, ids=[row.name for row in CLAIMED])
def test_predictions_beat_the_trivial_baseline(row: Row) -> None:
    found = scored(row)
    assert found.ours.mean < found.trivial.mean


@pytest.mark.parametrize("row", COVERED, ids=[row.name for row in COVERED])
def test_nine_of_ten_measurements_lie_inside_their_interval(row: Row) -> None:
    assert 85.0 <= scored(row).coverage <= 95.0


def test_rows_of_a_layer_fall_on_one_side_of_the_split() -> None:
    rows = sets.gemm16(H100).rows
    side: dict[tuple[float, float], bool] = {}
    for n, k, apart in zip(rows.axis("N"), rows.axis("K"), rows.held_out, strict=True):
        assert side.setdefault((n, k), apart) == apart
    assert 0.4 < sum(side.values()) / len(side) < 0.6


def test_every_fitted_constant_names_its_data_its_points_and_its_split() -> None:
    for family in FAMILIES.values():
        rows = sum(int((~s.rows.held_out).sum()) for s in family.sets())
        assert any(
            f"fit of {len(family.constants)} constants to {rows:,} rows of " in quantity.source
            and family.data in quantity.source
            and "layers of odd hash held out" in quantity.source
            for constants in FITTED.values()
            for quantity in constants.values()
        ), family.data
    shown = CliRunner().invoke(targets_command, ["h100"]).output
    for key, quantity in FITTED["h100"].items():
        assert key in shown
        assert quantity.source in shown


def test_the_command_prints_what_the_tests_judge() -> None:
    done = CliRunner().invoke(main, ["--only", "h100-attention-encoder", "--emit", "json"])
    assert done.exit_code == 0
    (record,) = json.loads(done.output)
    row = next(row for row in ROWS if row.name == record["name"])
    assert record["ours_mean"] == scored(row).ours.mean
    assert record["held_out_rows"] == scored(row).rows
    assert CliRunner().invoke(main, ["--only", "nothing"]).exit_code == 2
    csv = CliRunner().invoke(main, ["--only", row.name, "--emit", "csv"]).output
    assert csv.splitlines()[0].startswith("name,what,timing")
