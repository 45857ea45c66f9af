"""What a video file declares and what its packets show, read without decoding more than one picture.

Runs in the decoder's child process. Every packet header is read once (no pictures), which gives the exact
timestamps for the grid and shows whether the file is whole, before any time goes into decoding.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error

from orchestrator.errors import TrailerError
from orchestrator.video.packets import check_whole, lay_out_times, read_packets

MAX_SECONDS = 7200
"""Longest video that is taken for a trailer; a wild timestamp in a damaged file would ask for endless frames."""

MAX_ASPECT = 10
"""Most that a picture may be wider than high or the reverse; beyond it the centre crop means nothing."""

NOT_VIDEO = ("tty", "concat", "concatf", "hls", "dash", "sdp", "rtsp", "lavfi", "image2", "ico", "bin", "srt", "ass")
"""Formats that FFmpeg opens and nobody means: text, lists that point to other files, pictures."""

DECORD_FAILS_ON = ("mpegts", "mpeg", "mpegvideo", "gif")
"""Formats whose last frames (transport streams) or timestamps (program streams) decord 0.6.0 can't handle."""

DECORD_MAX_BYTES = 256 << 20
"""decord reads packets ahead without bound, so it holds a whole file in memory; beyond this PyAV decodes."""

OPENING: dict[str, Any] = {
    "options": {"fflags": "+genpts", "protocol_whitelist": "file"},
    "metadata_errors": "replace",
}
"""How PyAV opens a file: fill in missing timestamps, follow no reference out of it, take titles in any encoding."""

BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp")
"""How an MP4 or QuickTime file may begin, from its fifth byte."""


@dataclass(frozen=True)
class Contents:
    """A whole video file: its pictures' timestamps in ticks of `time_base`, and how they are to be shown."""

    format: str
    codec: str
    stream: int
    """Index of the video stream among all streams."""
    width: int
    height: int
    """Displayed size in square pixels' aspect: rotated, and widened by the pixel aspect."""
    aspect: Fraction
    rotation: int
    """Degrees counter-clockwise by which decoded pictures are turned to be shown: 0, 90, 180 or 270."""
    times: tuple[int, ...]
    """Ascending timestamps of the pictures that are shown; picture i is on screen from times[i]."""
    end: int
    """When the last picture leaves the screen."""
    time_base: Fraction
    stamped: bool
    """Whether every picture has a timestamp of its own; else they count in the order in which they are shown."""
    plain: bool
    """False where decord is known to go wrong, so that PyAV must decode."""

    @property
    def seconds(self) -> float:
        return float((self.end - self.times[0]) * self.time_base)

    @property
    def source(self) -> dict[str, Any]:
        """The facts that people ask for, in plain JSON."""
        return {
            "fps": round(len(self.times) / self.seconds, 3),
            "width": self.width,
            "height": self.height,
            "duration_s": round(self.seconds, 3),
            "frames": len(self.times),
            "codec": self.codec,
            "format": self.format,
            "rotation": self.rotation,
        }


def inspect(path: str, busy: Callable[[], None] = lambda: None) -> Contents:
    """Read the headers of a local file, calling `busy` all along; TrailerError where it is no whole video file."""
    try:
        container = av.open(path, **OPENING)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise TrailerError("read", _why_unopened(path, error)) from None
    with container:
        name = container.format.name
        if name in NOT_VIDEO or name.endswith("_pipe"):
            raise TrailerError("read", f"this is not a video file (FFmpeg takes it for {name.removesuffix('_pipe')})")
        streams = [s for s in container.streams.video if not _is_picture(s)]
        if not streams:
            sound = "has sound but no video" if container.streams.audio else "has no video"
            raise TrailerError("read", f"the file {sound}" + (", only a cover" if container.streams.video else ""))
        stream = container.streams.best("video") if len(streams) > 1 else streams[0]
        stream = stream if stream in streams else streams[0]
        packets = read_packets(container, stream, busy)
        check_whole(container, stream, packets)
        first, tick = _decode_first(path, stream.index), stream.time_base or Fraction(1, 1000)
        times, end = lay_out_times(stream, packets, first.pts)
        if (seconds := float((end - times[0]) * tick)) > MAX_SECONDS:
            raise TrailerError("decode", f"the video lasts {seconds:.0f} s; more than {MAX_SECONDS} s is no trailer")
        rotation = round((first.rotation or 0) / 90) * 90 % 360
        width, height, aspect = _displayed(first, stream.sample_aspect_ratio or Fraction(1), rotation)
        codec = stream.codec_context.codec
        stamped = not packets.untimed and len(set(times)) == len(times)
        return Contents(
            format=name.split(",")[0],
            codec=getattr(codec, "canonical_name", codec.name),
            stream=stream.index,
            width=width,
            height=height,
            aspect=aspect,
            rotation=rotation,
            times=tuple(times),
            end=end,
            time_base=tick,
            stamped=stamped,
            plain=(
                stamped
                and len(times) == packets.count
                and len(streams) == 1
                and name not in DECORD_FAILS_ON
                and os.path.getsize(path) <= DECORD_MAX_BYTES
            ),
        )


def _is_picture(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _why_unopened(path: str, error: Exception) -> str:
    with open(path, "rb") as file:
        start = file.read(12)
    if start[4:8] in BOXES:
        return "the MP4 file is cut short or was never finished: its index (moov) is missing"
    return f"this is not a video file that FFmpeg knows ({getattr(error, 'strerror', None) or error})"


def _decode_first(path: str, index: int) -> Any:
    """The first picture that decodes."""
    try:
        with av.open(path, **OPENING) as container:
            frame = next(container.decode(container.streams[index]), None)
    except (av.error.FFmpegError, ValueError) as error:
        raise TrailerError("decode", f"the video is damaged: no picture can be decoded ({error})") from None
    if frame is None:
        raise TrailerError("decode", "the video is damaged: no picture can be decoded")
    return frame


def _displayed(frame: Any, shape: Fraction, rotation: int) -> tuple[int, int, Fraction]:
    """Width, height and aspect as shown, for pixels `shape` times as wide as high."""
    width, height, aspect = round(frame.width * shape), frame.height, Fraction(frame.width, frame.height) * shape
    if rotation in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    if max(aspect, 1 / aspect) > MAX_ASPECT:
        raise TrailerError("decode", f"its picture of {width} x {height} is over {MAX_ASPECT} times as long as wide")
    return width, height, aspect
