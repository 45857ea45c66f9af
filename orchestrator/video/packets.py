"""The packet headers of a video file: whether it is whole, and when each picture is on screen.

Runs in the decoder's child process. Nothing is decoded here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.error

from orchestrator.errors import TrailerError


@dataclass
class Packets:
    """What one pass over the packet headers found; times in ticks of the video stream, `ends` in seconds."""

    times: list[int] = field(default_factory=list)
    durations: dict[int, int] = field(default_factory=dict)
    key: int | None = None
    """Timestamp of the first picture that stands alone; what comes before it in the file can't be decoded."""
    count: int = 0
    untimed: int = 0
    corrupt: int = 0
    ends: dict[int, float] = field(default_factory=dict)
    fault: str = ""


def read_packets(container: Any, stream: Any, busy: Callable[[], None]) -> Packets:
    """Headers of all packets of all streams; an error half-way ends the reading and is kept as `fault`.

    `busy` is called for each packet: reading them all can take minutes from a slow disk.
    """
    seen = Packets()
    try:
        for packet in container.demux():
            busy()
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
            if packet.is_discard:  # an edit list hides it
                continue
            if packet.pts is None:
                seen.untimed += 1
            else:
                seen.times.append(packet.pts)
                seen.durations[packet.pts] = packet.duration or 0
    except av.error.FFmpegError as error:
        seen.fault = str(error.strerror or error)
    return seen


def check_whole(container: Any, stream: Any, packets: Packets) -> None:
    """Compare the packets found with what the container declares.

    MP4 indexes every packet, so there the count is exact. Elsewhere (AVI) the declared count may be off by 2 or 1%,
    since old encoders wrote it before they were done. Declared durations may run past the last packet by 1 s or 5%
    (sound that is longer, a last picture that stays), or by the longest time that any picture stays.
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
    if indexed and stream.frames:
        return  # every packet is there, and a duration in the header would only be somebody's sum of them
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


def lay_out_times(stream: Any, packets: Packets, first: int | None) -> tuple[list[int], int]:
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
