"""Every way to be broken that we know becomes one TrailerError with a reason, and the next file decodes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from orchestrator.errors import TrailerError

GRAIN = {"noise": 60, "size": (320, 180)}
FRONT = {"container_options": {"movflags": "faststart"}, "sound": 2.5}
HEVC = {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none"}}
VP9 = {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime", "b": "800k"}}


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def overwrite(data: bytes, share: float, count: int) -> bytes:
    at = int(len(data) * share)
    noise = np.random.default_rng(3).integers(0, 256, count, np.uint8).tobytes()
    return data[:at] + noise + data[at + count :]


def zero(data: bytes, share: float, count: int) -> bytes:
    at = int(len(data) * share)
    return data[:at] + bytes(count) + data[at + count :]


# name of the source file, how it is made, how it is broken, and what the error must say
DAMAGED: dict[str, tuple[str, dict, Callable[[bytes], bytes], str]] = {
    "MP4 cut, index in front": ("a.mp4", FRONT, lambda b: cut(b, 0.6), r"cut short or damaged: 3\d of the 60 frames"),
    "MP4 without its last bytes": ("a.mp4", FRONT, lambda b: cut(b, 0.99), r"cut short or damaged: 1 broken packet"),
    "MP4 cut, index missing": ("b.mp4", {}, lambda b: cut(b, 0.6), r"^read: the MP4 file is cut short or was never"),
    "MP4 with its first bytes only": ("b.mp4", {}, lambda b: b[:40], r"^read: the MP4 file is cut short or was never"),
    "MP4 in fragments, cut": (
        "c.mp4",
        {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
        lambda b: cut(b, 0.6),
        r"cut short or damaged",
    ),
    "Matroska cut in the middle": ("d.mkv", {"sound": 2.5}, lambda b: cut(b, 0.5), r"it declares 2\.5 s and its video"),
    "Matroska without its last bytes": ("d.mkv", {"sound": 2.5}, lambda b: cut(b, 0.97), r"cut short"),
    "WebM cut in the middle": ("e.webm", VP9, lambda b: cut(b, 0.5), r"cut short"),
    "AVI cut in the middle": ("f.avi", {"codec": "mpeg4"}, lambda b: cut(b, 0.5), r"\d+ of the 60 frames that it"),
    "MP4 with noise inside": ("a.mp4", FRONT, lambda b: overwrite(b, 0.5, 4000), r"video is damaged: h264: "),
    "MP4 with zeros inside": ("a.mp4", FRONT, lambda b: zero(b, 0.5, 20000), r"video is damaged: h264: "),
    "MP4 with a piece missing": ("a.mp4", FRONT, lambda b: cut(b, 0.4) + b[int(len(b) * 0.5) :], r"damaged"),
    "HEVC with noise inside": ("g.mp4", HEVC, lambda b: overwrite(b, 0.4, 8000), r"video is damaged: hevc: "),
    "Matroska with zeros inside": ("d.mkv", {"sound": 2.5}, lambda b: zero(b, 0.4, 30000), r"video is damaged"),
    "AVI with noise inside": ("f.avi", {"codec": "mpeg4"}, lambda b: overwrite(b, 0.5, 2000), r"damaged"),
    "transport stream with noise inside": ("h.ts", {}, lambda b: overwrite(b, 0.5, 4000), r"damaged"),
    "Motion JPEG with noise inside": (
        "i.avi",
        {"codec": "mjpeg", "pixels": "yuvj420p"},
        lambda b: overwrite(b, 0.5, 4000),
        r"damaged",
    ),
}


def reason_of(decoder, path: str | Path) -> str:
    with pytest.raises(TrailerError) as caught:
        decoder.decode(str(path))
    return str(caught.value)


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_or_cut_file_says_so(video, numbers, decoder, tmp_path: Path, capfd, kind: str) -> None:
    name, options, damage, expected = DAMAGED[kind]
    source = video(name, 60, 24, **GRAIN | options)
    assert numbers(source) == list(range(60))
    broken = tmp_path / name
    broken.write_bytes(damage(source.read_bytes()))
    assert re.search(expected, reason_of(decoder, broken))
    assert numbers(source) == list(range(60))
    assert capfd.readouterr().err == ""


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_text(path: Path) -> None:
    path.write_text("It was a dark and stormy night.\n" * 200)


def write_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes())


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=48000)
        for start in range(0, 48000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48000, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def write_no_frames(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        file.start_encoding()


def write_still(path: Path) -> None:
    codec, pixels = {".png": ("png", "rgb24")}.get(path.suffix, ("mjpeg", "yuvj420p"))
    with av.open(str(path), "w", format="image2") as file:
        stream = file.add_stream(codec, rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixels
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        file.mux(stream.encode(frame.reformat(format=pixels)))
        file.mux(stream.encode())


def write_playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n")


OTHER: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.mp4": (write_nothing, r"^read: the file is empty \(0 bytes\)$"),
    "text.mp4": (write_text, r"^read: this is not a video file"),
    "text.txt": (write_text, r"^read: this is not a video file"),
    "noise.mp4": (write_noise, r"^read: this is not a video file"),
    "noise.mkv": (write_noise, r"^read: this is not a video file"),
    "sound.mp4": (write_sound, r"^read: the file has sound but no video$"),
    "no frames.mp4": (write_no_frames, r"^(read: the file has no video|decode: the video has no frames)"),
    "still.png": (write_still, r"^read: this is not a video file .*png"),
    "still.jpg": (write_still, r"^read: this is not a video file .*(jpeg|image2)"),
    "still.mp4": (write_still, r"^read: this is not a video file .*(jpeg|image2)"),
    "list.m3u8": (write_playlist, r"^read: this is not a video file"),
    "folder.mp4": (Path.mkdir, r"^read: this is a directory, not a video file$"),
    "pipe.mp4": (os.mkfifo, r"^read: this is a pipe, a socket or a device, not a video file$"),
    "missing.mp4": (lambda path: None, r"^read: there is no such file: .*missing\.mp4$"),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_is_no_video_says_what_it_is(decoder, tmp_path: Path, capfd, name: str) -> None:
    make, expected = OTHER[name]
    make(tmp_path / name)
    assert re.search(expected, reason_of(decoder, tmp_path / name))
    assert capfd.readouterr().err == ""


def test_a_picture_far_too_long_is_refused(video, decoder) -> None:
    strip = video("strip.mp4", 3, size=(1600, 32))
    assert reason_of(decoder, strip) == "decode: its picture of 1600 x 32 is over 10 times as long as wide"


def test_a_file_that_lasts_hours_is_no_trailer(video, decoder) -> None:
    film = video("film.mkv", 2, stamps=[0, 9_000_000])
    assert re.search(r"the video lasts \d+ s; more than 7200 s is no trailer", reason_of(decoder, film))
