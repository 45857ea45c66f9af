"""Small real videos whose frames say their own number, and what reads it back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder would print its settings

from orchestrator.video.decode import Decoder

BITS = 12


class VideoMaker(Protocol):
    def __call__(self, name: str, frames: int = 24, fps: float | Fraction = 24, **options: Any) -> Path: ...


def draw(number: int, width: int, height: int) -> np.ndarray:
    """A picture that carries `number` as 4 x 3 black and white fields in its centre square, on three colours."""
    picture = np.full((height, width, 3), 60, np.uint8)
    picture[:, : width // 2, 2] = 200
    picture[: height // 2, :, 0] = 160
    side = min(width, height)
    top, left, field = (height - side) // 2, (width - side) // 2, side // 6
    for bit in range(BITS):
        y, x = top + field * (1 + bit // 4), left + field * (1 + bit % 4)
        picture[y : y + field, x : x + field] = 235 if number >> bit & 1 else 16
    return picture


def read_number(picture: np.ndarray) -> int:
    """The number that `draw` put there, from a picture of any size whose centre square was kept."""
    height, width = picture.shape[:2]
    side = min(width, height)
    top, left, field = (height - side) / 2, (width - side) / 2, side / 6
    number = 0
    for bit in range(BITS):
        y, x = int(top + field * (1.5 + bit // 4)), int(left + field * (1.5 + bit % 4))
        number |= int(picture[y - 1 : y + 2, x - 1 : x + 2].mean() > 128) << bit
    return number


def write_video(
    path: Path,
    frames: int,
    fps: float | Fraction,
    *,
    size: tuple[int, int] = (160, 120),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    stamps: Sequence[int] | None = None,
    tick: Fraction | None = None,
    offset: int = 0,
    sound: float = 0,
    rotation: int | None = None,
    pixel_aspect: Fraction | None = None,
    noise: int = 0,
) -> Path:
    """Encode `frames` numbered pictures, stamped by `stamps` in ticks of `tick` seconds, and `sound` s of silence."""
    grain = np.random.default_rng(0).integers(0, noise + 1, (8, size[1], size[0], 1)).astype(np.int16)
    with av.open(str(path), "w", format=container, options=container_options or {}) as file:
        video = file.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        video.width, video.height = size
        video.pix_fmt = pixels
        # libx264 looks ahead differently from time to time, and then other bytes are hit by a test's damage.
        steady = {"x264-params": "mbtree=0"} if codec == "libx264" else {}
        video.options = steady | (options or {})
        video.codec_context.thread_count = 1  # with the explicit reformat below: the same bytes every time
        if tick:
            video.codec_context.time_base = tick
        if pixel_aspect:
            video.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            video.set_display_rotation(rotation)
        audio = file.add_stream("libopus" if path.suffix in (".mkv", ".webm") else "aac", rate=48000) if sound else None
        for number in range(frames):
            picture = np.clip(draw(number, *size).astype(np.int16) + grain[number % 8], 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts = (stamps[number] if stamps else number) + offset
            if tick:
                frame.time_base = tick
            file.mux(video.encode(frame))
        file.mux(video.encode())
        for start in range(0, int(sound * 48000), 960):
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 960), np.float32), format="fltp", layout="stereo")
            silence.sample_rate, silence.pts, silence.time_base = 48000, start, Fraction(1, 48000)
            assert audio is not None
            file.mux(audio.encode(silence))
        if audio is not None:
            file.mux(audio.encode())
    return path


def trim_start(source: Path, target: Path, frames: int, fps: int = 24) -> Path:
    """A copy of an MP4 file whose edit list hides its first `frames` frames, as trimming without encoding leaves it."""
    data = bytearray(source.read_bytes())
    place = data.index(b"elst") + 12
    duration, start = (int.from_bytes(data[place + 4 * i : place + 4 * i + 4], "big") for i in (0, 1))
    with av.open(str(source)) as file:
        ticks = round(Fraction(frames, fps) / file.streams.video[0].time_base)
    data[place : place + 4] = (duration - 1000 * frames // fps).to_bytes(4, "big")
    data[place + 4 : place + 8] = (start + ticks).to_bytes(4, "big")
    target.write_bytes(data)
    return target


def cut_at_key(source: Path, target: Path, key: int) -> Path:
    """Copy `source` from its `key`-th key picture on without encoding: it may begin with pictures nobody can decode."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy, keys = new.add_stream_from_template(stream), 0
        for packet in old.demux(stream):
            keys += packet.is_keyframe
            if packet.size and keys > key:
                packet.stream = copy
                new.mux(packet)
    return target


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoMaker:
    """Make a numbered video; the same one is made once."""
    folder, made = tmp_path_factory.mktemp("videos"), {}

    def make(name: str, frames: int = 24, fps: float | Fraction = 24, **options: Any) -> Path:
        key = repr((name, frames, fps, sorted(options.items())))
        if key not in made:
            (folder / str(len(made))).mkdir()
            made[key] = write_video(folder / str(len(made)) / name, frames, fps, **options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def decoder() -> Iterator[Decoder]:
    with Decoder(stall_s=60) as one:
        yield one


@pytest.fixture(scope="session")
def numbers(decoder: Decoder):
    """Decode a file and read the number off each of its grid frames."""
    return lambda path: [read_number(frame) for frame in decoder.decode(str(path)).frames]


@pytest.fixture(scope="session")
def read():
    return read_number


@pytest.fixture(scope="session")
def trim():
    return trim_start


@pytest.fixture(scope="session")
def cut():
    return cut_at_key
