"""How long a video says it is: a glance at its header, for estimates only."""

from __future__ import annotations

from orchestrator.video.files import local_path


def declared_seconds(path: str) -> float | None:
    """Seconds by the container's header; None where it is remote, can't be opened or does not say."""
    import av

    local = local_path(path)
    if local is None:
        return None
    try:
        with av.open(local) as container:
            return container.duration / av.time_base if container.duration else None
    except (OSError, ValueError, EOFError, av.FFmpegError):  # extraction will name what is wrong
        return None
