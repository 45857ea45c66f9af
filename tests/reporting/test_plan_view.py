from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from orchestrator.data.manifest import Manifest
from orchestrator.reporting.plan_view import show_plan
from orchestrator.sweep.cost import estimate
from orchestrator.sweep.plan import Inventory, Plan
from orchestrator.sweep.planning import make_plan
from orchestrator.sweep.space import load_space

MIDS = tuple(f"tr{i}" for i in range(6))
MANIFEST = Manifest(
    source="manifest.csv",
    mids=MIDS,
    paths=tuple(f"/videos/{mid}.mp4" for mid in MIDS),
    genres=("action", "drama"),
    labels=np.array([[1, 0], [0, 1]] * 3, np.uint8),
    splits=np.array([[0], [0], [1], [1], [2], [2]], np.int8),
)


def shown(plan: Plan, width: int = 80) -> str:
    out = io.StringIO()
    show_plan(plan, estimate(plan, {}, {}, frozenset()), Console(file=out, width=width, highlight=False))
    return out.getvalue()


def study(manifest: Manifest = MANIFEST) -> Plan:
    return make_plan(load_space("study"), manifest, Inventory({}, {}, (), frozenset()))


def test_a_plan_of_the_study_fits_a_terminal_of_eighty_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    told = shown(study())
    lines = told[: told.index("pretrained weights that are not")].splitlines()  # addresses are not broken
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["f", "baselines", "(Table", "11)", "5", "5", "5", "32", "32", "19"] for line in lines)
    assert not any(line.strip() == "6)" for line in lines), "no name wraps"
    assert not any("…" in line for line in lines), "nothing is cut"
    assert any(line.startswith("swin_3d shot-24 24fps") and line.split()[6] == "10" for line in lines)


def test_sharing_is_said_in_decodes_and_backbone_passes() -> None:
    text = " ".join(shown(study(), 200).split())
    assert "each trailer is decoded once, not 32 times, and goes through 18 backbone passes, not 33" in text
    assert "saves 186 decodes and 90 backbone passes" in text


def test_sets_that_no_video_can_give_are_named() -> None:
    text = shown(study(replace(MANIFEST, paths=(None,) * 6)), 200)
    assert "can't be made, since the manifest names no video" in text and "  vgg16_2d even-200 of 6 trailers" in text
    assert "no decoding pass" in text and "to do:\n" not in text
