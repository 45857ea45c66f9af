"""What happens when the decoder's process hangs, dies, or loses its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from orchestrator.errors import DivitaError, TrailerError
from orchestrator.video.decode import Decoder


def wait_for_end(pid: int) -> bool:
    """True once the process is over, False when it still runs after 20 s."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    return bool(select.select([process], [], [], 20)[0])


def when_asked(pid: int, *signals: signal.Signals) -> threading.Thread:
    """Signal the (stopped) process as soon as a request lies in its stdin."""
    requests = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)

    def wait() -> None:
        select.select([requests], [], [], 30)
        for number in signals:
            os.kill(pid, number)
        os.close(requests)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_decoder_that_hangs_is_killed_and_the_next_trailer_decodes(video) -> None:
    path = str(video("good.mp4"))
    with Decoder(stall_s=0.5) as decoder:
        decoder.decode(path)
        hung = decoder.child_pid
        os.kill(hung, signal.SIGSTOP)  # stuck as native code is: it takes no request and answers nothing
        with pytest.raises(TrailerError, match=r"decode: the decoder gave no frame for 0\.5 s and was stopped"):
            decoder.decode(path)
        assert wait_for_end(hung)
        assert len(decoder.decode(path).frames) == 24
        assert decoder.child_pid != hung


def test_a_trailer_that_takes_longer_than_the_limit_is_given_up(video) -> None:
    path = str(video("good.mp4"))
    with Decoder(stall_s=30, total_s=0.5) as decoder:
        decoder.decode(path)
        os.kill(decoder.child_pid, signal.SIGSTOP)
        with pytest.raises(TrailerError, match=r"decode: decoding took more than 0\.5 s and was stopped"):
            decoder.decode(path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_decoder_that_dies_over_a_file_fails_that_file_and_names_the_signal(video, number: signal.Signals) -> None:
    path = str(video("good.mp4"))
    with Decoder() as decoder:
        decoder.decode(path)
        os.kill(decoder.child_pid, signal.SIGSTOP)
        killer = when_asked(decoder.child_pid, number, signal.SIGCONT)
        with pytest.raises(TrailerError, match=f"decode: the decoder was ended by {number.name}"):
            decoder.decode(path)
        killer.join()
        assert len(decoder.decode(path).frames) == 24


def test_a_decoder_that_dies_between_trailers_costs_nothing(video) -> None:
    path = str(video("good.mp4"))
    with Decoder() as decoder:
        decoder.decode(path)
        os.kill(decoder.child_pid, signal.SIGKILL)
        assert wait_for_end(decoder.child_pid)
        assert len(decoder.decode(path).frames) == 24


PARENT = """
import os, signal, sys
from orchestrator.video.decode import Decoder
decoder = Decoder()
decoder.decode(sys.argv[1])
os.kill(decoder.child_pid, signal.SIGSTOP)
print(decoder.child_pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_decoder_stuck_in_native_code_dies_with_its_parent(video) -> None:
    done = subprocess.run([sys.executable, "-c", PARENT, str(video("good.mp4"))], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    assert wait_for_end(int(done.stdout))


def test_the_end_of_the_thread_that_started_it_does_not_end_the_decoder(video) -> None:
    path = str(video("good.mp4"))
    with Decoder() as decoder:
        starter = threading.Thread(target=decoder.decode, args=(path,))
        starter.start()
        starter.join()
        first = decoder.child_pid
        decoder.decode(path)
        assert decoder.child_pid == first


def test_a_decoder_that_cannot_start_is_no_fault_of_the_trailer(video, tmp_path, monkeypatch) -> None:
    (tmp_path / "decord.py").write_text("raise ImportError('libGL.so is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        Decoder() as decoder,
        pytest.raises(DivitaError, match=r"decoder can't start: ImportError: libGL\.so is missing"),
    ):
        decoder.decode(str(video("good.mp4")))


def test_modules_that_lie_about_where_the_command_runs_are_not_imported(video, tmp_path, monkeypatch) -> None:
    (tmp_path / "decord.py").write_text("raise ImportError('not this one')")
    monkeypatch.chdir(tmp_path)
    with Decoder() as decoder:
        assert len(decoder.decode(str(video("good.mp4"))).frames) == 24
