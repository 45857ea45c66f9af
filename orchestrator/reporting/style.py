"""How every figure looks, and the labels that none may go without: what its numbers are made from."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from orchestrator.reporting.aggregate import Row

Dashes = Literal["-"] | tuple[float, tuple[float, ...]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7")
"""Okabe and Ito's palette, told apart by all common kinds of colour vision; yellow and black have other uses."""

MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Dashes, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1)),
    (0, (5, 1.2, 1.2, 1.2)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
HATCHES = ("", "///", "\\\\\\", "xx", "--", "++")
"""Told apart on grey paper, too."""

FAINT = "#9A9A9A"
GRID = "#DDDDDD"
PUBLISHED = "#555555"
"""Published numbers: grey and hollow, never joined with ours."""

PUBLISHED_LABEL = "published (paper)"
HOLLOW = "hollow: random backbone weights"
WIDTH = 7.2
"""Inches; about the text width of A4, so that sizes in points are those on paper."""

SMALL, SUBTITLE, TITLE = 8.0, 8.5, 11.5
"""Points."""


literal_text = matplotlib.rc_context({"text.parse_math": False})
"""Decorator under which `$` in a name is a dollar sign, not the start of a formula; for drawing and for rendering."""


def data_notes(shown: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """What a reader must know about the numbers of the `shown` rows, in a few words each; `rows` are all of them."""
    notes = ["SYNTHETIC TRAILERS, not films"] if any("S" in r.marks for r in rows) else []
    for mark, words in (("R", "RANDOM BACKBONE WEIGHTS"), ("P", "published representations")):
        marked = sum(mark in r.marks for r in shown)
        if marked and marked == len(shown):
            notes.append(f"{words} throughout")
        elif marked:
            notes.append(f"{words} in {marked} of {len(shown)}")
    if any("F" in r.marks for r in shown):
        notes.append("fewer trailers than the manifest lists")
    return notes


def count_notes(shown: Sequence[Row], rows: Sequence[Row], what: str = "sample standard deviation") -> list[str]:
    """How many configs and splits stand behind the figure, and how many are left out for lack of splits."""
    splits = max((len(r.splits) for r in shown), default=0)
    configs = f"{len(shown)} config{'s' if len(shown) != 1 else ''}"
    notes = [f"{configs}, mean over {splits} splits, bars: {what}" if splits > 1 else f"{configs}, one split"]
    missing = say_incomplete(rows)
    return notes + ([f"not shown: {' and '.join(missing)}"] if missing else [])


def say_incomplete(rows: Sequence[Row]) -> list[str]:
    """`3 incomplete` and `45 pruned`, each where there are such rows: those that no figure of test scores shows."""
    pruned = sum(r.pruned for r in rows)
    incomplete = sum(not r.complete for r in rows) - pruned
    return [f"{count} {what}" for count, what in ((incomplete, "incomplete"), (pruned, "pruned")) if count]


def as_sentences(notes: Sequence[str]) -> str:
    """Notes as the end of a caption, with a space before; empty where there is none."""
    return "".join(f" {note[0].upper()}{note[1:]}." for note in notes if note)


def make_figure(
    title: str, notes: Sequence[str], body: float, *, left: float = 0.75, right: float = 0.15, bottom: float = 0.55
) -> tuple[Figure, tuple[float, float, float, float]]:
    """A figure with its heading, and the place (left, bottom, width, height as fractions) of a body `body` inches high.

    The first note, what the data is, has a line of its own where it is not empty; the others share theirs.
    Placed by hand, not by a layout engine: it takes a third of the time and the same margins everywhere.
    """
    heading = wrap(title, WIDTH - 0.2, TITLE, bold=True)
    joined = [*notes[:1], " · ".join(filter(None, notes[1:]))]
    lines = [part for note in joined for part in textwrap.wrap(note, 108)]
    top = 0.12 + 0.2 * len(heading) + 0.155 * len(lines) + 0.12
    height = top + body + bottom
    figure = Figure(figsize=(WIDTH, height))
    figure.suptitle(
        "\n".join(heading), fontsize=TITLE, fontweight="bold", x=0.01, y=1 - 0.07 / height, ha="left", va="top"
    )
    below = 1 - (0.12 + 0.2 * len(heading)) / height
    figure.text(
        0.011, below, "\n".join(lines), fontsize=SUBTITLE, color="#333333", va="top", ha="left", linespacing=1.25
    )
    place = (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, body / height)
    return figure, place


def tidy(ax: Axes, grid: str = "y") -> None:
    """Light grid behind the data, no box around it."""
    ax.grid(axis=grid, color=GRID, linewidth=0.7)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SUBTITLE)


def text_width(text: str, size: float = SMALL, *, bold: bool = False) -> float:
    """Width of one line in points."""
    if not text.strip():
        return 0.0
    font = FontProperties(weight="bold" if bold else "normal", size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def wrap(text: str, inches: float, size: float = SMALL, *, bold: bool = False) -> list[str]:
    """Lines no wider than that, broken between words; a longer word has a line of its own."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(joined, size, bold=bold) > 72 * inches:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def fit(text: str, inches: float, size: float = SMALL) -> str:
    """The text, or its two ends where it is wider than that."""
    if text_width(text, size) <= 72 * inches:
        return text
    kept = next((n for n in range(len(text) // 2, 0, -1) if text_width(_ends(text, n), size) <= 72 * inches), 1)
    return _ends(text, kept)


def _ends(text: str, count: int) -> str:
    return f"{text[:count]}…{text[-count:]}"


def hollow_handle() -> Line2D:
    """The legend's sign for random weights."""
    return Line2D([], [], color="#555555", marker="o", markerfacecolor="white", linestyle="none", label=HOLLOW)


def published_handle(label: str = PUBLISHED_LABEL, marker: str = "D") -> Line2D:
    """The legend's sign for published numbers."""
    return Line2D(
        [], [], color=PUBLISHED, marker=marker, markersize=5.5, markerfacecolor="white", linestyle="none", label=label
    )


def face(row: Row, colour: str) -> str:
    """Random weights are hollow: such a number says nothing about the backbone."""
    return "white" if "R" in row.marks else colour
