"""Search-space YAML -> configs.

```yaml
name: frame_rate                # default: the file's name
table: "7"                      # the published table it answers, if any
title: Frame rate
question: How much motion does a clip need?
include: [other.yaml]           # spaces whose tables join this one
fixed:                          # what every config has; what is left out is the study's default config
  backbone: swin_3d
  training: {epochs: 50}
grid:                           # every combination; a list of such mappings is their union
  frame_rate: [4, 6, 8, 12, 24]
search:                         # beside the grid or instead of it: configs that are drawn
  configs: 60                   # how many
  sampler: tpe                  # tpe (default) or random
  seed: 0
  objective: uAP                # default: uAP; one of search.records.OBJECTIVES, or a list of different ones
  pruner: asha                  # none (default), asha, median, or with settings:
                                # {name: asha, grace_epochs: 3, reduction_factor: 3}
                                # {name: median, grace_epochs: 5, interval: 1}
  limits: {head_parameters: [300000, 420000]}   # least and most of a cost; what lies outside is drawn anew
  ranges:
    aggregator: [gru, conv]                               # a list is a choice
    aggregator.gru.units: {integer: [32, 512], log: true} # drawn only where the aggregator is gru; or step: 32
    training.learning_rate: {log_uniform: [1e-5, 1e-2]}
    training.weight_decay: {uniform: [0, 0.1]}
    training.batch_size: {choice: [16, 32], when: {aggregator: gru}}   # field -> value or values, all must hold
splits: [0, 1, 2]               # default: all that the manifest has; an included file's count only when it is run
```

A search draws only what is a config: a combination that is none is an error, to be excluded by `when`. Overrides
(`--set`) take the place of drawn fields. Configs that several tables share are one config. Reading is strict: an
unknown key, a value of the wrong kind or an axis given twice is an error that names the file and line.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import InputError
from orchestrator.specs import Config
from orchestrator.sweep.fields import DEFAULTS, build_config, check_name, suggest, tuning_problem
from orchestrator.sweep.search import Search
from orchestrator.sweep.search_block import read_search
from orchestrator.sweep.yaml_file import YamlFile, read_yaml

TOP_KEYS = ("name", "table", "title", "question", "include", "fixed", "grid", "search", "splits")


@dataclass(frozen=True)
class Table:
    """The configs of one YAML file: what one table of a paper compares. `axes` are the fields that it varies.

    `configs` are those of its grid; those that its search draws come on top.
    """

    name: str
    title: str
    question: str
    number: str | None
    axes: tuple[str, ...]
    configs: tuple[Config, ...]
    search: Search | None = None


@dataclass(frozen=True)
class Space:
    """A named set of tables; `splits` is None where every split of the manifest is meant."""

    name: str
    source: str
    tables: tuple[Table, ...]
    splits: tuple[int, ...] | None = None
    files: tuple[Path, ...] = ()
    """The YAML file and those that it includes."""

    @property
    def configs(self) -> tuple[Config, ...]:
        """Every config once, in the order in which the tables name them."""
        return tuple(dict.fromkeys(config for table in self.tables for config in table.configs))

    @property
    def searches(self) -> tuple[Search, ...]:
        """The searches of its tables."""
        return tuple(table.search for table in self.tables if table.search is not None)

    def tables_of(self) -> dict[Config, tuple[str, ...]]:
        """For each config the names of the tables that it stands in."""
        names: dict[Config, tuple[str, ...]] = {}
        for table in self.tables:
            for config in dict.fromkeys(table.configs):
                names[config] = (*names.get(config, ()), table.name)
        return names


def load_space(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Space:
    """Reads a search space by path, or by bare name from those that ship with the package.

    `overrides` are fields (`training.epochs`, `weights`, …) that replace the YAML's in every config of every table;
    `aggregator.gru.units` replaces a setting of that aggregator wherever it stands.
    """
    path = locate_space(name_or_path)
    overrides = dict(overrides or {})
    for key in overrides:
        if key.startswith("aggregator.") and key.count(".") == 2:
            if problem := tuning_problem(key):
                raise InputError(f"--set: {key}: {problem}")
        elif key not in DEFAULTS:
            raise InputError(f"--set: {key}: not a field of a config{suggest(key, DEFAULTS)}")
    files: list[Path] = []
    tables, splits, name = _read(path, overrides, (), files)
    if not any(table.configs or table.search for table in tables):
        raise InputError(f"{path}: grid: names no config; give `grid:`, `search:`, `fixed:` or `include:`")
    heads = {config.aggregator.name for table in tables for config in table.configs}
    heads |= {name for table in tables if table.search for name in table.search.aggregators()}
    for key in overrides:
        if key.startswith("aggregator.") and key.split(".")[1] not in heads:
            raise InputError(f"--set: {key}: no config has that aggregator; there are {', '.join(sorted(heads))}")
    tables = list(dict.fromkeys(tables))  # two included files may include the same third
    twice = [t.name for i, t in enumerate(tables) if t.name in {u.name for u in tables[:i]}]
    if twice:
        raise InputError(f"{path}: include: two tables are named {', '.join(map(repr, twice))}; give them other names")
    return Space(name, str(path), tuple(tables), splits, tuple(dict.fromkeys(files)))


def locate_space(name_or_path: str | Path) -> Path:
    """The file that a path or a bare name means."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = shipped_spaces()
    found = shipped.get(str(name_or_path))
    if found is not None:
        return found
    raise InputError(
        f"{name_or_path}: no such file, and not one of the shipped search spaces: {', '.join(shipped) or 'none'}"
    )


def shipped_spaces() -> dict[str, Path]:
    """Bare name -> file, for the spaces in search_spaces/ (inside the wheel, or beside the package in a checkout)."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {p.stem: p for p in sorted(folder.glob("*.yaml"))}
    return {}


def _read(
    path: Path, overrides: Mapping[str, Any], trail: tuple[Path, ...], files: list[Path]
) -> tuple[list[Table], tuple[int, ...] | None, str]:
    resolved = path.resolve()
    if resolved in trail:
        circle = " -> ".join(p.name for p in (*trail, resolved))
        raise InputError(f"{path}: include: the files include each other: {circle}")
    file = read_yaml(path)
    files.append(path)
    for key in file.data:
        if key not in TOP_KEYS:
            raise InputError(f"{file.at(key)}: {key}: unknown key{suggest(key, TOP_KEYS)}")
    tables: list[Table] = []
    include = file.data.get("include") or []
    if not isinstance(include, list) or not all(isinstance(i, str) for i in include):
        raise InputError(f"{file.at('include')}: include: {include!r} is not a list of file names")
    for i, other in enumerate(include):
        beside = path.parent / other
        if not beside.is_file():
            raise InputError(f"{file.at('include', i)}: include: {other!r} is not a file beside {path.name}")
        tables += _read(beside, overrides, (*trail, resolved), files)[0]
    name = file.data.get("name", path.stem)
    check_name(name, file.at("name"))
    if any(key in file.data for key in ("grid", "search", "fixed")) or not include:
        tables.append(_own_table(file, name, overrides))
    return tables, _splits(file), name


def _own_table(file: YamlFile, name: str, overrides: Mapping[str, Any]) -> Table:
    fixed = _flatten(file, file.data.get("fixed") or {}, ("fixed",))
    grids = file.data.get("grid") or {}
    listed = isinstance(grids, list)
    searches = "search" in file.data
    axes: dict[str, None] = {}
    configs: dict[Config, None] = {}
    if searches and "grid" not in file.data:
        grids, listed = [], True  # nothing but the search
    for i, grid in enumerate(grids if listed else [grids]):
        where = ("grid", i) if listed else ("grid",)
        if not isinstance(grid, Mapping):
            raise InputError(f"{file.at(*where)}: grid: {grid!r} is not a mapping of fields to lists of values")
        for key, values in grid.items():
            if key not in DEFAULTS:
                raise InputError(f"{file.at(*where, key)}: grid: {key}: unknown field{suggest(key, DEFAULTS)}")
            if not isinstance(values, list) or not values:
                raise InputError(f"{file.at(*where, key)}: grid: {key}: {values!r} is not a list of values")
        for values in itertools.product(*grid.values()):
            cell = fixed | dict(zip(grid, values, strict=True)) | dict(overrides)
            configs[build_config(cell, partial(_place, file, where, overrides))] = None
        axes |= dict.fromkeys(grid)
    search = None
    if searches:
        search = read_search(file, name, fixed, overrides, partial(_place, file, ("search", "ranges"), overrides))
        axes |= dict.fromkeys(dimension.field for dimension in search.spec.dimensions)
    varied = tuple(a for a in axes if a not in overrides)
    text = {key: file.data.get(key, "") for key in ("title", "question")}
    for key, value in text.items():
        if not isinstance(value, str):
            raise InputError(f"{file.at(key)}: {key}: {value!r} is not text")
    number = file.data.get("table")
    number = None if number is None else str(number)
    return Table(name, text["title"] or name, text["question"], number, varied, tuple(configs), search)


def _flatten(file: YamlFile, values: Any, where: tuple[str | int, ...]) -> dict[str, Any]:
    """`training: {epochs: 3}` -> `training.epochs: 3`; checks that every field exists."""
    if not isinstance(values, Mapping):
        raise InputError(f"{file.at(*where)}: {where[-1]}: {values!r} is not a mapping of fields to values")
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key == "training":
            if not isinstance(value, Mapping):
                raise InputError(f"{file.at(*where, key)}: training: {value!r} is not a mapping of settings")
            nested = {f"training.{k}": (v, (*where, key, k)) for k, v in value.items()}
        else:
            nested = {key: (value, (*where, key))}
        for field, (setting, place) in nested.items():
            if field not in DEFAULTS:
                raise InputError(f"{file.at(*place)}: {field}: unknown field{suggest(field, DEFAULTS)}")
            if field in flat:
                raise InputError(f"{file.at(*place)}: {field}: given twice")
            flat[field] = setting
    return flat


def _place(file: YamlFile, grid: tuple[str | int, ...], overrides: Mapping[str, Any], field: str) -> str:
    """Where a field of a config stands: in an option, the grid, under fixed, or (a default) in the file as a whole."""
    if field in overrides:
        return "--set"
    head, _, tail = field.partition(".")
    for where in ((*grid, field), ("fixed", field), ("fixed", head, tail)):
        if file.has(*where):
            return file.at(*where)
    return str(file.path)


def _splits(file: YamlFile) -> tuple[int, ...] | None:
    splits = file.data.get("splits")
    if splits is None:
        return None
    good = isinstance(splits, list) and splits and all(type(s) is int and s >= 0 for s in splits)
    if not good or len(set(splits)) < len(splits):
        where = f"{file.at('splits')}: splits"
        raise InputError(f"{where}: {splits!r} is not a list of different split numbers such as [0, 1, 2]")
    return tuple(splits)


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`training.epochs=2` -> {"training.epochs": 2}; values are YAML."""
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--set: {pair!r} is not field=value")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--set: {key}: {value!r} is not a YAML value") from error
    return overrides
