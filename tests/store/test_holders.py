from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import pytest

from orchestrator.store.holders import Holder

ODD_NAME = """
import ctypes, json
from dataclasses import asdict
from orchestrator.store.holders import Holder

ctypes.CDLL(None).prctl(15, b"a) S 1 (b", 0, 0, 0)  # PR_SET_NAME
print(json.dumps(asdict(Holder.of_this_process())), flush=True)
input()
"""


def test_a_process_lives_until_it_ends_whatever_its_name() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ODD_NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    holder = Holder.from_json(json.loads(process.stdout.readline()))
    assert holder.process == process.pid
    assert holder.is_neighbour_of(Holder.of_this_process())
    assert holder.lives()
    assert not replace(holder, started=holder.started + 1).lives(), "another process that got its number"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not holder.lives(), "a zombie works no more"
    process.wait()
    assert not holder.lives()


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"machine": "another boot"}])
def test_processes_of_another_machine_boot_or_container_are_strangers(change: dict[str, Any]) -> None:
    me = Holder.of_this_process()
    assert me.is_neighbour_of(Holder.of_this_process())
    assert not replace(me, **change).is_neighbour_of(me)


@pytest.mark.parametrize("change", [{"process": "1"}, {"started": None}, {"colour": "red"}])
def test_a_holder_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    me = asdict(Holder.of_this_process())
    assert Holder.from_json(me) == Holder.of_this_process()
    with pytest.raises(TypeError):
        Holder.from_json(me | change)
