"""What an aggregator's settings may be, without torch, so that a plan can refuse them before anything runs."""

from __future__ import annotations

from orchestrator.specs import AggregatorSpec, ConvSpec, GRUSpec, TransformerSpec


def aggregator_problems(spec: AggregatorSpec) -> list[str]:
    """Every fault of the settings, each naming its field; empty when a head can be built from them."""
    problems = []
    match spec:
        case TransformerSpec():
            problems += [
                f"aggregator.{name}: must be at least 1, but got {value}"
                for name, value in (("width", spec.width), ("heads", spec.heads), ("feedforward", spec.feedforward))
                if value < 1
            ]
            if not problems and spec.width % spec.heads:
                problems.append(f"aggregator.heads: {spec.heads} does not divide aggregator.width {spec.width}")
            if not 0 <= spec.dropout < 1:
                problems.append(f"aggregator.dropout: must be at least 0 and below 1, but got {spec.dropout}")
        case GRUSpec():
            if spec.units < 1:
                problems.append(f"aggregator.units: must be at least 1, but got {spec.units}")
        case ConvSpec():
            if spec.filters < 1:
                problems.append(f"aggregator.filters: must be at least 1, but got {spec.filters}")
            if spec.kernel < 1 or spec.kernel % 2 == 0:
                # An odd kernel with padding keeps as many positions as there are clips.
                problems.append(f"aggregator.kernel: must be odd and at least 1, but got {spec.kernel}")
    return problems
