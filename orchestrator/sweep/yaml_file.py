"""A YAML file read safely, with the line of every key for error messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import InputError


@dataclass(frozen=True)
class YamlFile:
    """`data` is the top mapping; `lines` maps the path of keys to a value onto its 1-based line."""

    path: Path
    data: dict[str, Any]
    lines: Mapping[tuple[str | int, ...], int] = field(repr=False)

    def has(self, *keys: str | int) -> bool:
        return keys in self.lines

    def at(self, *keys: str | int) -> str:
        """`file.yaml:12` for the deepest of the keys that the file has."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path}:{self.lines[keys]}" if keys else str(self.path)


def read_yaml(path: Path) -> YamlFile:
    """Reads a mapping with PyYAML's safe loader; a key given twice is an error instead of the last one winning."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[tuple[str | int, ...], int] = {}
        if node is not None:
            _walk(path, node, (), lines)
        data = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(f"{where}: is not YAML: {getattr(error, 'problem', None) or error}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds a {type(data).__name__}, but a search space is a mapping of keys")
    return YamlFile(path, data, lines)


def _walk(path: Path, node: yaml.Node, keys: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise InputError(f"{path}:{line}: a key must be a name, but is a list or a mapping")
            here = (*keys, key_node.value)
            if here in lines:
                raise InputError(f"{path}:{line}: {key_node.value}: given twice, first on line {lines[here]}")
            lines[here] = line
            _walk(path, value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[(*keys, i)] = value.start_mark.line + 1
            _walk(path, value, (*keys, i), lines)
