from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
from matplotlib.figure import Figure

from orchestrator.reporting.plots import render
from orchestrator.reporting.shrink import shrink_svg


def test_places_are_rounded_and_units_of_glyphs_are_not() -> None:
    text = '<g transform="translate(12.345678 3.999999) scale(0.085 -0.085)">'
    text += '<path d="M 1.23456 0.000123456\nL 5 6 \n"/></g>'
    assert shrink_svg(text) == (
        '<g transform="translate(12.35 4.00) scale(0.085 -0.085)"><path d="M 1.23 0.0001 L 5 6 "/></g>'
    )
    assert shrink_svg('<path transform="scale(0.015625)"/>') == '<path transform="scale(0.015625)"/>'


def test_names_are_shortened_where_used_and_dropped_where_not() -> None:
    text = '<svg><!-- x -->\n <g id="text_1">\n  <path id="DejaVu-41"/><use xlink:href="#DejaVu-41"/>'
    text += '<p clip-path="url(#c)"/></g><clipPath id="c"/></svg>'
    assert shrink_svg(text) == (
        '<svg><g><path id="n0"/><use xlink:href="#n0"/><p clip-path="url(#n1)"/></g><clipPath id="n1"/></svg>'
    )


def test_text_between_tags_is_kept() -> None:
    assert shrink_svg("<title>a  b</title>") == "<title>a  b</title>"


def test_a_figure_stays_whole_and_gets_smaller() -> None:
    figure = Figure()
    ax = figure.add_subplot()
    ax.plot(np.linspace(0, 1, 200), np.random.default_rng(0).random(200), label="a <b> & c")
    ax.legend()
    svg = render(figure, "svg").decode()
    root = ET.fromstring(svg)
    names = {e.get("id") for e in root.iter() if e.get("id")}
    used = {e.get("{http://www.w3.org/1999/xlink}href", "")[1:] for e in root.iter()} - {""}
    assert used <= names and "1.234567" not in svg
    assert len(svg) < 30_000
