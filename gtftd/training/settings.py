"""Settings of a run from files and options, each value with where it came from. Without torch.

A file names what is to be done, and with which values:

    class_name: gtftd.training.Sft
    init_args:
      optimizer: {learning_rate: 1.0e-4}
      lora: {rank: 8}
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ValidationError

from gtftd.errors import Invalid, Missing
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import TrainSettings
from gtftd.training.schedule import peak_rate

CLASSES = {"Sft": "sft", "Dpo": "dpo", "Kto": "kto"}
_PREFIX = "gtftd.training."
_MOST_BYTES = 256 * 1024
_MOST_DEPTH = 8
_MOST_BRACKETS = 200
"""PyYAML takes seconds over thousands of them."""
_MOST_OF_ONE = 1000
"""Characters of one value: Python writes no number of more than 4300 digits."""
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What PyYAML raises for a text, or for `2026-13-45`, `0x_`, `!!bool x`, `!!timestamp x`."""


@dataclass(frozen=True)
class Given:
    """One value that somebody set; later ones win."""

    name: str
    """Dotted: `optimizer.learning_rate`."""
    value: Any
    origin: str


@dataclass(frozen=True)
class Resolved:
    """What a run learns by, whole."""

    settings: TrainSettings
    origins: Mapping[str, str] = field(default_factory=dict)
    """Of what is no default of the schema."""


def resolve(given: Iterable[Given]) -> Resolved:
    """Raises Invalid with one line for each wrong value: where it stands, the key, the value, what is allowed."""
    chosen = {one.name: one for one in given}
    known = set(names())
    for one in chosen.values():
        if one.name not in known:
            raise Invalid(_unknown(one, known))
    tree: dict[str, Any] = {}
    for one in chosen.values():
        *parents, last = one.name.split(".")
        inside = tree
        for parent in parents:
            inside = inside.setdefault(parent, {})
        inside[last] = one.value
    try:
        settings = TrainSettings.model_validate(tree)
    except ValidationError as error:
        raise Invalid("\n".join(_complaints(error, chosen))) from error
    origins = {one.name: one.origin for one in chosen.values()}
    if settings.optimizer.learning_rate is None:
        optimizer = settings.optimizer.model_copy(update={"learning_rate": peak_rate(settings)})
        settings = settings.model_copy(update={"optimizer": optimizer})
        origins["optimizer.learning_rate"] = f"the default of {settings.objective}"
    return Resolved(settings, origins)


def names(model: type[BaseModel] = TrainSettings, prefix: str = "") -> Iterator[str]:
    """Every key, dotted."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from names(info.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def from_file(path: Path) -> list[Given]:
    """What a YAML file sets. Raises Missing, or Invalid with the line of a mistake."""
    root = _parse(read_small(path, _MOST_BYTES, "settings"), str(path))
    return [] if root is None else _of_root(path, root)


def read_small(path: Path, most_bytes: int, what: str) -> bytes:
    """A file that an operator names. Raises Missing; Invalid for a larger one, a folder, and what might never end."""
    try:
        if path.exists() and not path.is_file():
            raise Invalid(f"{path} is no regular file; {what} cannot be read from it")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise Missing(f"cannot read {what} from {path}: {error.strerror}") from error
    if len(content) > most_bytes:
        raise Invalid(f"{path} has more than {most_bytes} bytes, too many for {what}")
    return content


def configured_for(configured: TrainingSettings, names: Iterable[str | None]) -> list[Given]:
    """What the configuration sets, and the first file of these names (a task, then its role) in its folder."""
    return [*of_config(configured), *of_folder(configured, names)]


def of_config(configured: TrainingSettings) -> list[Given]:
    own = {"threads": configured.threads, "memory_bytes": configured.memory_bytes}
    return [Given(name, value, "config") for name, value in own.items() if value is not None]


def of_folder(configured: TrainingSettings, names: Iterable[str | None]) -> list[Given]:
    for name in names:
        file = configured.settings_dir / f"{name}.yaml" if configured.settings_dir and name else None
        if file is not None and file.is_file():
            return from_file(file)
    return []


def from_options(options: Sequence[str]) -> list[Given]:
    """`optimizer.learning_rate=1e-4`, as on a command line. Raises Invalid."""
    found = []
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise Invalid(f"--set {option!r}: write it as name=value, for example optimizer.learning_rate=1e-4")
        found.append(Given(name.strip(), parse_value(text, f"--set {option[:80]!r}"), "--set"))
    return found


def parse_value(text: str, where: str) -> Any:
    """As YAML reads it. Raises Invalid."""
    node = _parse(text.encode("utf-8", "surrogateescape"), where)
    return None if node is None else _value(where, node)


def _parse(text: bytes, where: str) -> yaml.Node | None:
    """Raises Invalid, also for what would take long to read or be much more than is written."""
    if text.count(b"[") + text.count(b"{") > _MOST_BRACKETS:
        raise Invalid(f"{where}: more than {_MOST_BRACKETS} brackets are no settings")
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise Invalid(f"{where}: it uses aliases (*name); write the values out")
            if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MOST_OF_ONE:
                raise Invalid(f"{where}: a value of more than {_MOST_OF_ONE} characters is none")
        return yaml.compose(text, yaml.SafeLoader)
    except _UNREADABLE as error:
        raise Invalid(f"{where}: this is not valid YAML: {' '.join(str(error).split())}") from error


def _of_root(path: Path, root: yaml.Node) -> list[Given]:
    found = []
    for key, value, line in _pairs(path, root):
        if key == "class_name":
            found.append(Given("objective", _objective(path, line, value), f"{path}:{line}"))
        elif key == "init_args":
            found += _leaves(path, value, "", 0)
        else:
            raise Invalid(f"{path}:{line}: {key!r} is not known here; there are class_name and init_args")
    return found


def _leaves(path: Path, node: yaml.Node, prefix: str, depth: int) -> Iterator[Given]:
    if depth > _MOST_DEPTH:
        raise Invalid(f"{path}: settings are nested too deeply")
    for key, value, line in _pairs(path, node):
        if isinstance(value, yaml.MappingNode):
            yield from _leaves(path, value, f"{prefix}{key}.", depth + 1)
        else:
            yield Given(f"{prefix}{key}", _value(f"{path}:{line}", value), f"{path}:{line}")


def _pairs(path: Path, node: yaml.Node) -> Iterator[tuple[str, yaml.Node, int]]:
    if not isinstance(node, yaml.MappingNode):
        raise Invalid(f"{path}:{node.start_mark.line + 1}: names and values are expected here")
    seen = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Invalid(f"{path}:{line}: a name is expected here")
        if key.value in seen:
            raise Invalid(f"{path}:{line}: {key.value!r} is set twice")
        seen.add(key.value)
        yield key.value, value, line


def _value(where: str, node: yaml.Node) -> Any:
    try:
        return yaml.safe_load(yaml.serialize(node))
    except _UNREADABLE as error:
        raise Invalid(f"{where}: {' '.join(str(error).split())}") from error


def _objective(path: Path, line: int, node: yaml.Node) -> str:
    name = str(node.value).removeprefix(_PREFIX) if isinstance(node, yaml.ScalarNode) else ""
    if name not in CLASSES:
        allowed = ", ".join(f"{_PREFIX}{known}" for known in CLASSES)
        raise Invalid(f"{path}:{line}: class_name must be one of {allowed}")
    return CLASSES[name]


def _unknown(one: Given, known: set[str]) -> str:
    near = difflib.get_close_matches(one.name, sorted(known), n=1, cutoff=0.5)
    last = one.name.rpartition(".")[2]
    near += [name for name in sorted(known) if name.rpartition(".")[2] == last and name not in near]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
    return f"{one.origin}: unknown setting {one.name!r}; {hint}"


def _complaints(error: ValidationError, chosen: Mapping[str, Given]) -> Iterator[str]:
    told: dict[str, list[str]] = {}
    for one in error.errors(include_url=False):
        place = [str(part) for part in one["loc"]]
        name = next((n for count in range(len(place), 0, -1) if (n := ".".join(place[:count])) in chosen), "")
        what = one["msg"].replace("a valid tuple", "a list: [a, b]")
        told.setdefault(name or ".".join(place), []).append(what)
    for name, reasons in told.items():
        where = f"{chosen[name].origin}: {name} = {str(chosen[name].value)[:80]!r}" if name in chosen else name
        yield f"{where}: {'; or '.join(dict.fromkeys(reasons[:3]))}"
