from __future__ import annotations

import pytest

from orchestrator.video.damage import find_damage, last_words


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[h264 @ 0x55] error while decoding MB 9 3, bytestream 7", "h264: error while decoding MB 9 3, bytestream 7"),
        ("[hevc @ 0x55] Invalid NAL unit size (0 > 21).", "hevc: Invalid NAL unit size (0 > 21)."),
        ("[mpeg4 @ 0x55] Error at MB: 456", "mpeg4: Error at MB: 456"),
        (
            "[matroska,webm @ 0x55] 0x00 at pos 2143784 (0x20b628) invalid as first byte of an EBML number",
            "matroska: 0x00 at pos 2143784 (0x20b628) invalid as first byte of an EBML number",
        ),
    ],
)
def test_a_sign_of_damage_is_told_without_addresses(line: str, reason: str) -> None:
    assert find_damage(line) == f"the video is damaged: {reason}"


def test_more_signs_are_counted() -> None:
    log = "[h264 @ 0x1] error while decoding MB 1 1\nnoise\n" * 3
    assert find_damage(log) == "the video is damaged: h264: error while decoding MB 1 1, and 2 more such messages"


def test_a_cut_end_counts_for_more_than_what_follows_from_it() -> None:
    log = "[h264 @ 0x1] error while decoding MB 1 1\n[matroska,webm @ 0x1] File ended prematurely at pos. 7"
    assert find_damage(log) == "the file is cut short: it ends in the middle of its data"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[h264 @ 0x55] mmco: unref short failure",
        "[h264 @ 0x55] number of reference frames (0+4) exceeds max (3; probably corrupt input), discarding one",
        "[mov,mp4,m4a,3gp,3g2,mj2 @ 0x55] st: 0 edit list: 1 Missing key frame while searching for timestamp: 0",
        "[aac @ 0x55] Error decoding AAC frame header.",
    ],
)
def test_complaints_about_harmless_things_are_no_damage(line: str) -> None:
    assert find_damage(line) is None


def test_last_words_are_the_last_complaint() -> None:
    assert last_words("start\n[mov @ 0x1] first\n[h264 @ 0x2] second\n  at line 7") == "second"
    assert last_words("nothing of FFmpeg's") == ""
