"""What a video file declares and what its packets show, read without decoding more than one picture.

Runs in the decoder's child process. Every packet header is read once (no pictures), which gives the exact
timestamps for the grid and shows whether the file is whole, before any time goes into decoding.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.error

from orchestrator.errors import TrailerError

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

OPEN_OPTIONS = {"fflags": "+genpts", "protocol_whitelist": "file"}
"""Fill in missing timestamps; follow no reference out of the file."""

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


@dataclass
class _Packets:
    """What one pass over the packet headers found; times in ticks of the video stream, `ends` in seconds."""

    times: list[int] = field(default_factory=list)
    durations: dict[int, int] = field(default_factory=dict)
    key: int | None = None
    """Timestamp of the first picture that stands alone; what comes before it in the file can't be decoded."""
    count: int = 0
    untimed: int = 0
    hidden: int = 0
    corrupt: int = 0
    ends: dict[int, float] = field(default_factory=dict)
    fault: str = ""


def inspect(path: str) -> Contents:
    """Read the headers of a local file; raises TrailerError where it is no whole video file."""
    try:
        container = av.open(path, options=OPEN_OPTIONS)
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
        packets = _read_packets(container, stream)
        _check_whole(container, stream, packets)
        first = _decode_first(path, stream.index)
        times, end = _timeline(stream, packets, first.pts)
        if (seconds := float((end - times[0]) * stream.time_base)) > MAX_SECONDS:
            raise TrailerError("decode", f"the video lasts {seconds:.0f} s; more than {MAX_SECONDS} s is no trailer")
        rotation = round((first.rotation or 0) / 90) * 90 % 360
        width, height, aspect = _displayed(first, stream.sample_aspect_ratio or 1, rotation)
        codec = stream.codec_context.codec
        whole = len(times) == packets.count and not packets.untimed and len(set(times)) == len(times)
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
            time_base=stream.time_base,
            plain=(
                whole
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


def _read_packets(container: Any, stream: Any) -> _Packets:
    """Headers of all packets of all streams; an error half-way ends the reading and is kept as `fault`."""
    seen = _Packets()
    try:
        for packet in container.demux():
            if not packet.size:
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                end = float((stamp + (packet.duration or 0)) * packet.time_base)
                seen.ends[packet.stream_index] = max(end, seen.ends.get(packet.stream_index, end))
            if packet.stream_index != stream.index:
                continue
            seen.count += 1
            if seen.key is None and packet.is_keyframe:
                seen.key = packet.pts
            seen.corrupt += packet.is_corrupt and seen.key is not None  # a recorded broadcast begins anywhere
            if packet.is_discard:
                seen.hidden += 1
            elif packet.pts is None:
                seen.untimed += 1
            else:
                seen.times.append(packet.pts)
                seen.durations[packet.pts] = packet.duration or 0
    except av.error.FFmpegError as error:
        seen.fault = str(error.strerror or error)
    return seen


def _check_whole(container: Any, stream: Any, packets: _Packets) -> None:
    """Compare the packets found with what the container declares.

    Exact where the container is: MP4 indexes every packet. Elsewhere (AVI) the declared count may be off by 2 or
    1%, since old encoders wrote it before they were done. Declared durations may run past the last packet by 1 s or 5%
    (sound that is longer, a last picture that stays), or by the longest time any picture stays.
    """
    if not packets.count:
        raise TrailerError("decode", "the video has no frames: the file declares a video stream and holds no picture")
    indexed = len(stream.index_entries) if "mp4" in container.format.name else 0
    declared = max(indexed, 0 if indexed else stream.frames)
    spare = 0 if indexed else max(2, declared // 100)
    if packets.count < declared - spare:
        counts = f"{packets.count} of the {declared} frames that it declares are there"
        raise TrailerError("decode", f"the file is cut short or damaged: {counts}")
    if packets.fault:
        raise TrailerError("decode", f"the file is cut short or damaged ({packets.fault})")
    if packets.corrupt:
        broken = f"{packets.corrupt} broken packet" + ("s" if packets.corrupt > 1 else "")
        raise TrailerError("decode", f"the file is cut short or damaged: {broken}")
    if stream.duration:
        promised, found = float((stream.start_time or 0) + stream.duration) * float(stream.time_base), stream.index
        reached = packets.ends.get(found, 0.0)
    else:
        promised = _clock(stream.metadata.get("DURATION")) or (container.duration or 0) / av.time_base
        reached = max(packets.ends.values(), default=0.0)
    ordered = sorted(packets.times)
    longest = max((b - a for a, b in itertools.pairwise(ordered)), default=0) * float(stream.time_base)
    if promised - reached > max(1.0, 0.05 * promised, longest):
        raise TrailerError(
            "decode", f"the file is cut short: it declares {promised:.1f} s and its video ends at {reached:.1f} s"
        )


def _clock(text: str | None) -> float:
    """Seconds in Matroska's `00:01:02.500000000`; 0 where there is none."""
    try:
        hours, minutes, seconds = (text or "").split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return 0.0


def _timeline(stream: Any, packets: _Packets, first: int | None) -> tuple[list[int], int]:
    """Ascending timestamps of the shown pictures and the end of the last, in ticks; `first` is the first to decode.

    A file cut out of another without encoding may begin with pictures that refer to one before the cut. Players drop
    them, and so does this: the grid starts at the first picture that decodes, if nothing later is missing.
    """
    tick = stream.time_base
    rate = stream.average_rate or stream.guessed_rate or Fraction(24)
    if packets.untimed:  # AVI and program streams may stamp no picture: they come at a steady rate
        shown = len(packets.times) + packets.untimed
        start = min(packets.times, default=0)
        return [start + int(i / (rate * tick)) for i in range(shown)], start + int(shown / (rate * tick))
    if not packets.times:
        raise TrailerError("decode", "the video has no frames that are shown: its edit list hides all of them")
    times = sorted(packets.times)
    if first is not None and packets.key is not None and times[0] < first <= packets.key:
        times = [t for t in times if t >= first]
    last = packets.durations[times[-1]] or (times[-1] - times[-2] if len(times) > 1 else 0)
    return times, times[-1] + (last or max(1, round(1 / (rate * tick))))


def _decode_first(path: str, index: int) -> Any:
    """The first picture that decodes."""
    try:
        with av.open(path, options=OPEN_OPTIONS) as container:
            for packet in from_first_key(container.demux(container.streams[index])):
                for frame in packet.decode():
                    return frame
    except (av.error.FFmpegError, ValueError) as error:
        raise TrailerError("decode", f"the video is damaged: no picture can be decoded ({error})") from None
    raise TrailerError("decode", "the video is damaged: no picture can be decoded")


def from_first_key(packets: Iterable[Any]) -> Iterator[Any]:
    """Leave out the packets before the first that stands alone; all of them where the format marks none."""
    early = []
    for packet in packets:
        early.append(packet)
        if packet.is_keyframe:
            break
    yield from early if not early or not early[-1].is_keyframe else early[-1:]
    yield from packets


def _displayed(frame: Any, shape: Fraction, rotation: int) -> tuple[int, int, Fraction]:
    """Width, height and aspect as shown, for pixels `shape` times as wide as high."""
    width, height, aspect = round(frame.width * shape), frame.height, Fraction(frame.width, frame.height) * shape
    if rotation in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    if max(aspect, 1 / aspect) > MAX_ASPECT:
        raise TrailerError("decode", f"its picture of {width} x {height} is over {MAX_ASPECT} times as long as wide")
    return width, height, aspect
