"""Where the vectors of an embedding set's row come from, which its digest tells."""

from __future__ import annotations

from orchestrator.data.trailers12k import OWN_EXPORT_PREFIX, PUBLISHED_PREFIX

COMPUTED, IMPORTED, PUBLISHED = "computed", "imported", "published"
ORIGINS = (PUBLISHED, IMPORTED, COMPUTED)
"""Computed here from a video; imported from an export of this program; published by the authors of Trailers12k."""


def origin(digest: str) -> str:
    """One of ORIGINS."""
    if digest.startswith(PUBLISHED_PREFIX):
        return PUBLISHED
    return IMPORTED if digest.startswith(OWN_EXPORT_PREFIX) else COMPUTED
