"""What FFmpeg's messages say about a file: damage to its pictures, a cut end, an opening that failed.

Decoders conceal damage and go on; their messages are the only sign of it that needs no second decoding. Every
pattern was seen on files that were really cut or overwritten, and none on good ones. VP8, VP9 and MPEG-2 streams
carry nothing to check against: overwritten bytes there may decode to wrong pictures without a word.
"""

from __future__ import annotations

import re

CUT = re.compile(r"File ended prematurely|partial file|Truncating packet")
"""The container ends before the length that it declares."""

DAMAGE = re.compile(
    "|".join(
        (
            r"error while decoding MB|unavailable for requested intra|Reference \d+ >= ",  # H.264
            r"Invalid NAL unit size|Error splitting the input into NAL units|missing picture in access unit",
            r"CABAC_MAX_BIN|Could not find ref with POC",  # HEVC
            r"damaged at|tex damaged|Error at MB|slice end not reached|invalid plane data size",  # MPEG-2, -4, ProRes
            r"\] overread \d|\] error y=|decode_sos",  # Motion JPEG
            r"Failed to parse temporal unit",  # AV1
            r"EBML number|exceeds containing master element|Invalid track number|Read error at pos",  # Matroska
        )
    )
)
"""A codec met bits that can't be, or the container lost its place and skipped some."""

_PREFIX = re.compile(r"^\[(?P<part>[^@\]]+?)\s*@[^\]]*\]\s*")


def find_damage(log: str) -> str | None:
    """The reason to give up a file, from what FFmpeg wrote while reading it; None where nothing points to damage."""
    lines = [line.strip() for line in log.splitlines()]
    if any(CUT.search(line) for line in lines):
        return "the file is cut short: it ends in the middle of its data"
    signs = [line for line in lines if DAMAGE.search(line)]
    if not signs:
        return None
    found = _PREFIX.match(signs[0])
    text = f"{found['part'].split(',')[0]}: {signs[0][found.end() :]}" if found else signs[0]
    return f"the video is damaged: {text}" + (f", and {len(signs) - 1} more such messages" if signs[1:] else "")


def last_words(log: str) -> str:
    """FFmpeg's last line of complaint, without its address; empty where there was none."""
    lines = [line.strip() for line in log.splitlines() if _PREFIX.match(line.strip())]
    return _PREFIX.sub("", lines[-1]) if lines else ""
