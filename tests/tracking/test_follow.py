from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from orchestrator.tracking import follow
from orchestrator.tracking.follow import Follower
from orchestrator.tracking.view import MlflowView


@pytest.fixture
def follower(shown, made):
    """Of the configs made so far."""

    def make(configs=None) -> Follower:
        return Follower(shown.view(), made.configs if configs is None else configs, made.workspace.ledger, 100)

    return make


def test_configs_are_shown_as_they_finish_and_all_of_them_at_the_end(shown, made, follower) -> None:
    first, _ = made.add("swin_3d"), made.add("swin_2d")
    with follower() as following:
        following.add(first.key)
        while len(shown.parents()) < 1 or shown.parents()[0].info.status != "FINISHED":
            time.sleep(0.2)
    assert len(shown.parents()) == 1
    assert following.finish() and len(shown.parents()) == 2


def test_a_config_that_a_search_draws_on_the_way_joins_the_sweep(shown, made, follower) -> None:
    made.add("swin_3d")
    with follower() as following:
        drawn = replace(made.add("swin_2d"), number=7)
        following.expect(drawn)
        following.add(drawn.key)
    assert following.finish()
    assert sorted(r.data.tags.get("divita.search", "") for r in shown.parents()) == ["", "7"]


def test_only_what_its_own_search_pruned_is_shown(shown, made, follower) -> None:
    config = made.add(status="pruned", reason="too low", search="mine", test={}, per_genre={}, best_epoch=None)
    for other in (None, "other"):  # a grid, which has yet to train it, and a search with other settings
        assert follower([replace(config, search=other)]).finish() and shown.runs() == []
    assert follower([config]).finish() and {r.info.status for r in shown.runs()} == {"KILLED"}
    assert follower([replace(config, search=None)]).finish() and shown.runs() == [], "a grid asks for it now"


def test_a_config_is_shown_by_the_name_it_has_beside_all_others(shown, made, follower) -> None:
    made.add("swin_2d", weights="pretrained")
    random = made.add("swin_2d", weights="random")
    with follower([made.configs[0]]) as following:
        following.expect(random)
        following.add(random.key)
        while not any(run.info.status == "FINISHED" for run in shown.parents()):
            time.sleep(0.2)
    (parent,) = shown.parents()
    assert parent.info.run_name.endswith(" random")


def test_finishing_tags_what_the_sweep_no_longer_asks_for(shown, made, follower) -> None:
    first, second = made.add("swin_3d"), made.add("swin_2d")
    assert follower().finish()
    assert follower([second]).finish()
    tags = {r.data.tags["divita.config_key"]: r.data.tags["divita.left_out"] for r in shown.runs()}
    assert tags == {first.key: "yes", second.key: "no"}


def test_an_error_does_not_wait_for_a_server_that_hangs(made, monkeypatch) -> None:
    monkeypatch.setattr(follow, "GRACE_S", 0.2)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    made.add()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        view = MlflowView(f"http://127.0.0.1:{silent.getsockname()[1]}", "x")
        following = Follower(view, made.configs, made.workspace.ledger, 100)
        with pytest.raises(KeyboardInterrupt), following:
            held, _ = silent.accept()  # the thread has begun to ask, and its connection stays open
            stopped = time.monotonic()
            raise KeyboardInterrupt
        left = time.monotonic()
        following._thread.join()
        assert left - stopped < time.monotonic() - left, "it left while the server was still waited for"
        held.close()
