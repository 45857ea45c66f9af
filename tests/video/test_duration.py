"""A glance at a header gives a length or nothing, whatever lies at the path."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.video.duration import declared_seconds


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"not a video" * 1000])
def test_a_file_that_is_no_video_has_no_length(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.mp4").write_bytes(content)
    assert declared_seconds(str(tmp_path / "broken.mp4")) is None


def test_what_is_not_there_or_remote_has_no_length(tmp_path: Path) -> None:
    assert declared_seconds(str(tmp_path / "gone.mp4")) is None
    assert declared_seconds("s3://bucket/a.mp4") is None
