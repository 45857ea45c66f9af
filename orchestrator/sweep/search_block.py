"""The key `search:` of a search space -> Search: how many configs are drawn from what, by what, aiming at what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import InputError
from orchestrator.search.records import COSTS, OBJECTIVES, PRUNERS, SAMPLERS, Pruner, SearchSpec
from orchestrator.sweep.drawable import check_drawable
from orchestrator.sweep.fields import Place, build_config, read_number, suggest
from orchestrator.sweep.ranges import read_ranges
from orchestrator.sweep.search import Search
from orchestrator.sweep.yaml_file import YamlFile

KEYS = ("configs", "sampler", "seed", "objective", "pruner", "limits", "ranges")

SETTINGS = {"asha": {"grace_epochs": 1, "reduction_factor": 2}, "median": {"grace_epochs": 1, "interval": 1}}
"""What can be set of each pruner, and the least that it may be."""


@dataclass(frozen=True)
class _Block:
    file: YamlFile
    values: Mapping[str, Any]

    def error(self, text: str, *keys: str | int) -> InputError:
        """Names the line of the keys below `search`; the text names the field."""
        return InputError(f"{self.file.at('search', *keys)}: search: {text}")

    def whole(self, key: str, default: int | None, least: int) -> int:
        """A whole number under `key`."""
        value = self.values.get(key, default)
        if type(value) is not int or value < least:
            missing = key not in self.values
            found = "is missing; give" if missing else f"{value!r} is not"
            raise self.error(f"{key}: {found} a whole number of at least {least}", key)
        return value


def read_search(
    file: YamlFile, table: str, fixed: Mapping[str, Any], overrides: Mapping[str, Any], place: Place
) -> Search:
    """The search of a file that has one, checked down to the configs that it may draw.

    fixed: the fields under `fixed:`. overrides: fields of the command, which replace fixed and drawn ones. place says
    where a field stands.
    """
    values = file.data["search"]
    if not isinstance(values, Mapping):
        raise InputError(f"{file.at('search')}: search: {values!r} is not a mapping of {', '.join(KEYS)}")
    block = _Block(file, values)
    for key in values:
        if key not in KEYS:
            raise block.error(f"{key}: unknown key{suggest(key, KEYS)}", key)
    sampler = values.get("sampler", "tpe")
    if sampler not in SAMPLERS:
        raise block.error(f"sampler: {sampler!r} is not one of {', '.join(SAMPLERS)}", "sampler")
    objectives = _objectives(block)
    spec = SearchSpec(
        dimensions=read_ranges(file, fixed, overrides),
        configs=block.whole("configs", None, 1),
        sampler=sampler,
        seed=block.whole("seed", 0, 0),
        objectives=objectives,
        pruner=_pruner(block, objectives),
        limits=_limits(block),
    )
    if spec.pruner and any(d.field == "training.epochs" for d in spec.dimensions):
        raise block.error(
            "ranges: training.epochs: must be the same for all configs where a pruner compares them after the same "
            "epochs; put it under fixed, or set pruner: none",
            *("ranges", "training.epochs"),
        )
    cell = {**fixed, **overrides}
    check_drawable(spec.dimensions, lambda drawn: build_config({**cell, **drawn}, place), place)
    return Search.of(table, spec, cell, place)


def _objectives(block: _Block) -> tuple[str, ...]:
    given = block.values.get("objective", "uAP")
    names = given if isinstance(given, list) else [given]
    if not names or any(repr(name) in map(repr, names[:i]) for i, name in enumerate(names)):
        raise block.error(f"objective: {given!r} is not one objective or a list of different ones", "objective")
    for name in names:
        if not isinstance(name, str) or name not in OBJECTIVES:
            raise block.error(f"objective: {name!r} is not one of {', '.join(OBJECTIVES)}", "objective")
    return tuple(names)


def _pruner(block: _Block, objectives: tuple[str, ...]) -> Pruner | None:
    given = block.values.get("pruner")
    options: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = options.pop("name", None)
    if name in (None, "none") and not options:
        return None
    if name not in PRUNERS:
        raise block.error(f"pruner: {name!r} is not one of none, {', '.join(PRUNERS)}", "pruner")
    for key, value in options.items():
        if key not in SETTINGS[name]:
            raise block.error(f"pruner: {name}: {key}: unknown setting{suggest(key, SETTINGS[name])}", "pruner", key)
        if type(value) is not int or value < SETTINGS[name][key]:
            least = SETTINGS[name][key]
            raise block.error(
                f"pruner: {name}: {key}: {value!r} is not a whole number of at least {least}", "pruner", key
            )
    if len(objectives) > 1:
        raise block.error(f"pruner: with several objectives only none, since {name} compares by one", "pruner")
    if objectives[0] in COSTS:
        raise block.error(f"pruner: {objectives[0]} does not change with the epochs, so only none fits it", "pruner")
    return Pruner(name, **options)


def _limits(block: _Block) -> tuple[tuple[str, float, float], ...]:
    given = block.values.get("limits", {})
    if not isinstance(given, Mapping):
        raise block.error(f"limits: {given!r} is not a mapping of costs to [least, most]", "limits")
    limits = []
    for name, bounds in given.items():
        if name not in COSTS:
            raise block.error(f"limits: {name!r} is not one of {', '.join(COSTS)}", "limits", name)
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise block.error(f"limits: {name}: {bounds!r} is not [least, most]", "limits", name)

        def place(_: str, name: str = name) -> str:
            return f"{block.file.at('search', 'limits', name)}: search: limits"

        least, most = (float(read_number(name, bound, 0.0, place)) for bound in bounds)
        if not 0 <= least <= most:
            raise block.error(f"limits: {name}: 0 <= least <= most must hold, but got {bounds!r}", "limits", name)
        limits.append((name, least, most))
    return tuple(limits)
