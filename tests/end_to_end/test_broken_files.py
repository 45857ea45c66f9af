"""A folder with one good trailer and ten kinds of broken file: ten named failures, the good one embedded."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from orchestrator import Workspace

SPACE = "fixed: {backbone: shufflenet_2d, weights: random, clip_strategy: seq-24}\n"
RATE = 16000


def write_video(path: Path, frames: int = 72, *, faststart: bool = False, codec: str = "libx264") -> Path:
    """Moving stripes at 24 frames a second."""
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        container.start_encoding()  # so that there is a file even without frames
        rng = np.random.default_rng(0)
        picture = rng.integers(0, 255, (180, 320, 3), np.uint8)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 5 * i, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE)
        stream.layout = "mono"
        for i in range(20):
            samples = np.sin(np.arange(1024, dtype=np.float32) / 9 + i)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def break_in_ten_ways(folder: Path) -> list[str]:
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(50_000))
    cut(write_video(folder / "cut_index_first.mp4", faststart=True), 0.5)
    cut(write_video(folder / "cut_index_last.mp4"), 0.5)
    cut(write_video(folder / "cut.mkv"), 0.5)
    cut(write_video(folder / "header.mp4", faststart=True), 0.01)
    write_sound(folder / "sound.mp4")
    write_video(folder / "no_frames.mkv", frames=0)
    middle = write_video(folder / "corrupt.mp4", faststart=True)
    content = bytearray(middle.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = np.random.default_rng(2).bytes(20_000)
    middle.write_bytes(content)
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    names = [*break_in_ten_ways(tmp_path / "videos"), write_video(tmp_path / "videos" / "good.mp4").name]
    assert len(names) == 11
    rows = [f"{Path(name).stem},videos/{name},{i % 2},1" for i, name in enumerate(names)]
    (tmp_path / "manifest.csv").write_text("\n".join(["mid,path,action,drama", *rows]) + "\n")
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path


def test_ten_broken_files_are_ten_named_failures_and_the_good_one_is_embedded(
    folder: Path, divita: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = divita("extract", "space.yaml", "-d", "manifest.csv", "--stall", "20", cwd=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "trailers decoded: 1" in done.stdout
    assert "trailers that failed: 10" in done.stdout
    workspace = Workspace(folder / "workspace")
    reasons = {f.mid: f.reason for f in workspace.failures.load()}
    broken = {p.stem for p in (folder / "videos").iterdir()} - {"good"}
    assert set(reasons) == broken
    for mid, reason in reasons.items():
        assert f"  {mid}: " in done.stdout and len(reason) > 10, (mid, reason)
        assert "Traceback" not in reason and str(folder) not in reason, reason
    (key,) = workspace.embeddings.keys()
    assert len(workspace.embeddings.load(key, ["good"]).vectors) == 3
