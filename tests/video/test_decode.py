from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from orchestrator.errors import TrailerError
from orchestrator.video.decode import Decoder

FAST_VP9 = {"cpu-used": "8", "deadline": "realtime", "b": "500k"}
AV1 = {"codec": "libsvtav1", "options": {"preset": "8", "crf": "15", "svtav1-params": "lp=1"}}
QUIET_HEVC = {"preset": "ultrafast", "x265-params": "log-level=none"}


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (Fraction(24000, 1001), [0, 0, *range(1, 48)]),  # each frame comes a little after its place on the grid
        (24, list(range(48))),
        (25, [k * 25 // 24 for k in range(47)]),
        (30, [k for k in range(48) if k % 5 != 4]),  # four frames of every five
        (50, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47]),
        (60, [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 30, 32, 35, 37, 40, 42, 45, 47]),
    ],
)
def test_grid_frames_are_the_source_frames_on_screen_at_each_24th(video, numbers, fps, expected: list[int]) -> None:
    assert numbers(video("steady.mp4", 48, fps, options={"g": "20"})) == expected


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_frame_rate_follows_the_timestamps(video, numbers, name: str) -> None:
    stamps = [0, 20, 60, 90, 100, 110, 300, 310, 500, 541]  # ms
    #         0 41.7 83 125 167 208 250 292 333 375 417 458 500 542 ms; the last lasts until 541 + 41 ms
    expected = [0, 1, 2, 5, 5, 5, 5, 5, 7, 7, 7, 7, 8, 9]
    path = video(name, len(stamps), 24, stamps=stamps, tick=Fraction(1, 1000))
    assert numbers(path)[: len(expected)] == expected


GOOD = {
    "B-frames.mp4": {"options": {"bf": "3"}},
    "index in front.mp4": {"container_options": {"movflags": "faststart"}, "sound": 1},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "12"}},
    "late start.mp4": {"offset": 30},
    "late start.mkv": {"offset": 30},
    "late start.ts": {"offset": 30},
    "longer sound.mp4": {"sound": 6},
    "longer sound.mkv": {"sound": 6},
    "shorter sound.mkv": {"sound": 0.5},
    "transport.ts": {"sound": 1},
    "vp9.webm": {"codec": "libvpx-vp9", "options": FAST_VP9, "sound": 1},
    "vp8.webm": {"codec": "libvpx", "options": FAST_VP9 | {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "hevc.mp4": {"codec": "libx265", "options": QUIET_HEVC},
    "av1.mp4": AV1,
    "ten bits.mp4": {"pixels": "yuv420p10le"},
    "interlaced.mp4": {"options": {"x264-params": "tff=1:interlaced=1"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "h264.avi": {},
    "dvd.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "motion jpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "flash.flv": {"codec": "flv"},
    "windows.wmv": {"codec": "wmv2", "container": "asf"},
    "odd size.mp4": {"size": (162, 122)},
}


@pytest.mark.parametrize("name", GOOD)
def test_good_files_of_every_kind_give_all_their_frames(video, numbers, name: str, capfd) -> None:
    assert numbers(video(name, 36, 24, **GOOD[name])) == list(range(36))
    assert capfd.readouterr() == ("", "")


def test_a_raw_stream_without_timestamps_comes_at_a_steady_rate(video, numbers) -> None:
    assert numbers(video("raw.h264", 48, 25, options={"bf": "3"})) == [k * 25 // 24 for k in range(47)]


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_videos(video, numbers, frames: int) -> None:
    assert numbers(video("short.mp4", frames)) == list(range(frames))


def test_frames_that_an_edit_list_hides_are_not_shown(video, numbers, trim, tmp_path: Path) -> None:
    whole = video("whole.mp4", 60)
    assert numbers(trim(whole, tmp_path / "trimmed.mp4", 10)) == list(range(10, 60))


def test_a_title_in_an_old_encoding_does_no_harm(video, numbers, tmp_path: Path) -> None:
    data = video("titled.mkv", 12).read_bytes()
    assert b"Lavf" in data
    (tmp_path / "titled.mkv").write_bytes(data.replace(b"Lavf", b"L\xe9vf"))
    assert numbers(tmp_path / "titled.mkv") == list(range(12))


@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4"])
def test_a_copy_cut_before_an_open_group_starts_at_its_first_whole_picture(
    video, numbers, cut, tmp_path: Path, name: str
) -> None:
    source = video("groups.mp4", 72, options={"x264-params": "open-gop=1:keyint=24:min-keyint=24:bframes=3:scenecut=0"})
    assert numbers(cut(source, tmp_path / name, 1)) == list(range(24, 72))


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_recording_that_begins_in_the_middle_starts_at_the_first_key_picture(
    video, numbers, tmp_path: Path, codec: str
) -> None:
    settings = {"g": "24", "x264-params": "keyint=24:min-keyint=24:scenecut=0", "sc_threshold": "1000000000"}
    data = video("groups.ts", 72, codec=codec, options=settings).read_bytes()
    (tmp_path / "mid.ts").write_bytes(data[len(data) // 5 // 188 * 188 :])
    assert numbers(tmp_path / "mid.ts") == list(range(24, 72))


@pytest.mark.parametrize("name", ["phone.mp4", "phone-av1.mp4"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata_turns_the_picture(video, decoder, read, degrees: int, name: str) -> None:
    codec = AV1 if "av1" in name else {}
    path = video(name, 12, size=(320, 240), rotation=degrees, **codec)
    with av.open(str(path)) as file:  # FFmpeg gives the stored picture; the degrees count counter-clockwise
        stored = next(file.decode(video=0)).to_ndarray(format="rgb24")
    found = decoder.decode(str(path))
    shown = np.rot90(stored, degrees // 90)
    assert (found.source["height"], found.source["width"]) == shown.shape[:2]
    fields = [(y, x) for y in (0.1, 0.9) for x in (0.1, 0.9)]
    for y, x in fields:  # the four corners have four colours
        expected = shown[int(y * shown.shape[0]), int(x * shown.shape[1])].astype(int)
        assert np.abs(found.thumbs[0, int(y * 27), int(x * 48)] - expected).max() < 25
    upright = [np.rot90(frame, -degrees // 90) for frame in found.frames]
    assert [read(frame) for frame in upright] == list(range(12))
    fields = upright[0].mean(-1) < 40  # 4 x 3 black squares: nothing is stretched
    assert fields.any(0).sum() / fields.any(1).sum() == pytest.approx(4 / 3, rel=0.1)


def test_thumbs_show_the_whole_picture_and_frames_its_centre(tmp_path: Path, decoder) -> None:
    picture = np.zeros((240, 480, 3), np.uint8)
    picture[:, :100], picture[:, 100:240], picture[:, 240:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    with av.open(str(tmp_path / "stripes.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 480, 240, "yuv420p"
        stream.options = {"crf": "10"}
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")), *stream.encode()]:
            file.mux(packet)
    found = decoder.decode(str(tmp_path / "stripes.mp4"))
    frame, thumb = found.frames[0].argmax(-1), found.thumbs[0].argmax(-1)
    assert found.frames.shape == (1, 224, 224, 3) and found.thumbs.shape == (1, 27, 48, 3)
    # of 448 columns at 224 rows the crop keeps 112..335: red ends at 93, green at 224, blue follows
    assert (frame[:, :110] == 1).all() and (frame[:, 114:] == 2).all()
    assert (thumb[:, :9] == 0).all() and (thumb[:, 11:23] == 1).all() and (thumb[:, 25:] == 2).all()


def test_pixel_aspect_widens_the_picture(video, decoder) -> None:
    found = decoder.decode(str(video("anamorphic.mp4", 2, size=(160, 160), pixel_aspect=Fraction(2))))
    assert (found.source["width"], found.source["height"]) == (320, 160)
    field = found.frames[0].mean(-1) < 40  # the black fields were square when drawn and are now twice as wide as high
    assert field.any(0).sum() > 200 > 150 > field.any(1).sum()


def test_source_says_what_the_file_was(video, decoder) -> None:
    source = decoder.decode(str(video("facts.mp4", 50, 25, size=(320, 180)))).source
    assert source == {
        "fps": 25.0, "width": 320, "height": 180, "duration_s": 2.0, "frames": 50, "codec": "h264", "format": "mov",
        "rotation": 0,
    }  # fmt: skip


def test_a_picture_that_stays_for_minutes_fills_them_all(video, decoder) -> None:
    found = decoder.decode(str(video("slides.mp4", 3, stamps=[0, 100_000, 101_000], tick=Fraction(1, 1000))))
    assert len(found.frames) == len(found.thumbs) >= 2425
    assert (found.frames[:2400] == found.frames[0]).all() and (found.frames[2400] != found.frames[0]).any()


def test_decoder_threads_and_spilling_to_disk_change_no_pixel(video, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = str(video("same.mp4", 40, noise=40))
    with Decoder(threads=1) as one, Decoder(threads=4, spill_bytes=0) as other:
        expected, found = one.decode(path), other.decode(path)
    np.testing.assert_array_equal(found.frames, expected.frames)
    np.testing.assert_array_equal(found.thumbs, expected.thumbs)
    assert isinstance(found.frames, np.memmap) and not isinstance(expected.frames, np.memmap)
    assert not list(tmp_path.glob("divita*"))


def test_uris_are_read_through_fsspec_and_leave_no_copy(video, numbers, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = video("elsewhere.mp4", 12)
    fsspec.filesystem("memory").pipe_file("/trailers/a.mp4", path.read_bytes())
    assert numbers("memory://trailers/a.mp4") == numbers(path.as_uri()) == list(range(12))
    with pytest.raises(TrailerError, match=r"read: there is no such file: memory://trailers/b\.mp4"):
        numbers("memory://trailers/b.mp4")
    assert not list(tmp_path.glob("divita*"))


def test_one_child_serves_many_trailers(video) -> None:
    with Decoder() as decoder:
        assert decoder.child_pid is None
        decoder.decode(str(video("first.mp4")))
        first = decoder.child_pid
        with pytest.raises(TrailerError):
            decoder.decode("/nowhere/at/all.mp4")
        decoder.decode(str(video("second.mp4")))
        assert decoder.child_pid == first is not None
    assert not os.path.exists(f"/proc/{first}")
