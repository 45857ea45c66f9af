from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.engine.session import Resources, ray_session


@pytest.fixture(scope="session")
def resources() -> Iterator[Resources]:
    """One local Ray of two cores for all engine tests."""
    with ray_session(cpus=2) as found:
        yield found
