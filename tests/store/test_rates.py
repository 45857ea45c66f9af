from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store.files import FileTree
from orchestrator.store.rates import Rates, Work


def test_a_kind_that_was_never_measured_has_no_rate(tree: FileTree) -> None:
    assert Rates(tree).load() == {}
    Rates(tree).record({})
    assert tree.names() == []


def test_rates_are_seconds_a_unit(tree: FileTree) -> None:
    Rates(tree).record({"decode": Work(10.0, 4000), "embed swin_3d": Work(30.0, 60)})
    assert Rates(tree).load() == {"decode": 10 / 4000, "embed swin_3d": 0.5}


def test_a_newer_run_counts_more_and_a_tiny_one_little(tree: FileTree) -> None:
    rates = Rates(tree)
    rates.record({"decode": Work(100.0, 100)})
    rates.record({"decode": Work(200.0, 100)})
    assert rates.load()["decode"] == pytest.approx((50 + 200) / 150)
    before = rates.load()["decode"]
    rates.record({"decode": Work(50.0, 1)})
    assert before < rates.load()["decode"] < before * 1.5


@pytest.mark.parametrize("torn", [b"{", b'{"decode": {"seconds": 1}}', b'{"decode": 3}', b"[]"])
def test_a_torn_file_is_measured_anew(tree: FileTree, torn: bytes, caplog: pytest.LogCaptureFixture) -> None:
    tree.write_bytes("rates.json", torn)
    assert Rates(tree).load() == {}
    assert "rates.json" in caplog.text
    Rates(tree).record({"decode": Work(1.0, 2)})
    assert Rates(tree).load() == {"decode": 0.5}


@pytest.mark.parametrize(("seconds", "units"), [(-1.0, 1), (1.0, 0), (math.nan, 1), (1.0, math.inf)])
def test_work_that_cannot_be_is_refused(seconds: float, units: float) -> None:
    with pytest.raises(ValueError, match="work needs seconds >= 0 and units > 0"):
        Work(seconds, units)


MEASURE = """
import sys
from pathlib import Path
from orchestrator.store.rates import Rates, Work
from orchestrator.store.files import FileTree

(Path(sys.argv[1]) / f"{sys.argv[2]}.ready").touch()
while len([*Path(sys.argv[1]).glob("*.ready")]) < 2:
    pass
for i in range(100):
    Rates(FileTree(sys.argv[1])).record({f"{sys.argv[2]}{i}": Work(1.0, 2)})
"""


def test_two_processes_that_measure_at_once_keep_the_rates_of_both(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", MEASURE, str(tmp_path), who]) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(Rates(FileTree(tmp_path)).load()) == 200
