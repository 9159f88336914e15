"""Where the configuration and the state of a daemon are, and how the configuration is read.

`pydantic-settings` is imported when a configuration is loaded, not before: most gtftctl commands only
need the state directory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gtftd.errors import Invalid, Missing

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from gtftd.schemas.settings import SettingsModel

PREFIX = "GTFTD_"
_LONGEST_SOCKET_BYTES = 100
"""The kernel allows 107 (unix(7)); the rest is for the name of an aside."""


class Town(Protocol):
    """What the state directory is named after."""

    @property
    def slug(self) -> str: ...


def find_config(explicit: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file: `explicit`, `GTFTD_CONFIG`, the user's, the machine's; None where there is none.

    Raises Missing when one was named that does not exist.
    """
    named = [(explicit, "--config"), (_path(environ.get("GTFTD_CONFIG")), "GTFTD_CONFIG")]
    for path, by in named:
        if path is not None:
            if not path.expanduser().is_file():
                raise Missing(f"{by} names {path}, and there is no such file")
            return path.expanduser()
    home = _path(environ.get("XDG_CONFIG_HOME")) or Path("~/.config").expanduser()
    usual = (home / "gtftd" / "config.toml", Path("/etc/gtftd/config.toml"))
    return next((path for path in usual if path.is_file()), None)


def load_settings(config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> SettingsModel:
    """`overrides` before the environment before the file before the defaults, key by key.

    Raises Invalid with one line for each wrong value: where it stands, the key, the value, what is allowed.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from gtftd.schemas.settings import SettingsModel

    file = find_config(config)
    from_file = read_toml(file) if file else {}
    _refuse_unknown_environ(set(SettingsModel.model_fields))
    try:
        layers = _layers(SettingsModel, from_file)(**(overrides or {}))
    except ValidationError as error:
        raise Invalid("\n".join(_complaint(one, file, from_file) for one in error.errors())) from error
    except SettingsError as error:
        raise Invalid(f"{error}; a list in the environment is JSON, for example '[\"polecat\"]'") from error
    return SettingsModel(**{name: _expanded(getattr(layers, name)) for name in SettingsModel.model_fields})


def peek(key: str, config: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Path | None:
    """A top-level path of the configuration (`town`, `state_dir`) without loading the rest of it."""
    value: object = environ.get(PREFIX + key.upper())
    if value is None:
        file = find_config(config, environ=environ)
        value = read_toml(file).get(key) if file else None
    return Path(value).expanduser() if isinstance(value, str) and value else None


def read_toml(path: Path) -> dict[str, Any]:
    """Raises Invalid with the line of a mistake, Missing when the file is gone."""
    import tomllib  # most commands read no configuration, and some must be quick

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Missing(f"there is no configuration {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror}") from error


def state_home(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_STATE_HOME/gtftd`, where the state of every town is kept unless the configuration says otherwise."""
    home = _path(environ.get("XDG_STATE_HOME"))
    return (home or Path("~/.local/state").expanduser()) / "gtftd"


def state_dir_of(settings: SettingsModel, town: Town, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the daemon of this town keeps everything that it must not lose."""
    return settings.state_dir or state_home(environ) / town.slug


def runtime_socket(state_dir: Path, name: str = "control", *, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the daemon (`control`) or its index (`index`) listens; makes the folder, and leaves `<name>.path` when
    the socket must be elsewhere.

    Paths of unix sockets are short: a deep state directory has its socket in `$XDG_RUNTIME_DIR` or `/tmp`.
    """
    run = state_dir / "run"
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    pointer = run / f"{name}.path"
    inside = run / f"{name}.sock"
    if len(os.fsencode(inside)) <= _LONGEST_SOCKET_BYTES:
        pointer.unlink(missing_ok=True)
        return inside
    outside = _short_folder(environ) / f"{_short_name(state_dir, name)}.sock"
    aside = pointer.with_suffix(".tmp")
    aside.write_text(str(outside))
    aside.rename(pointer)
    return outside


def find_socket(state_dir: Path, *, name: str = "control") -> Path:
    """Where the daemon of this state directory listens, or its child of that name, if it runs."""
    run = state_dir / "run"
    try:
        return Path((run / f"{name}.path").read_text().strip())
    except OSError:
        return run / f"{name}.sock"


def _short_folder(environ: Mapping[str, str]) -> Path:
    runtime = _path(environ.get("XDG_RUNTIME_DIR"))
    folder = runtime / "gtftd" if runtime and runtime.is_dir() else Path(f"/tmp/gtftd-{os.geteuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or not folder.is_dir() or folder.is_symlink():
        raise Invalid(f"{folder} belongs to somebody else; give a shorter --state-dir")
    folder.chmod(0o700)
    return folder


def _short_name(state_dir: Path, name: str) -> str:
    digest = hashlib.sha256(os.fsencode(state_dir.absolute())).hexdigest()
    return f"{state_dir.name[:24]}-{digest[:8]}" + ("" if name == "control" else f"-{name}")


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def _layers(model: type[SettingsModel], from_file: Mapping[str, Any]) -> type[SettingsModel]:
    """The model with its sources: keywords, then `GTFTD_<SECTION>__<KEY>`, then the file."""
    from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

    class Layers(model, BaseSettings):  # type: ignore[valid-type, misc]  # the model is imported late
        model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, dict(from_file))

    return Layers


def _refuse_unknown_environ(sections: set[str]) -> None:
    for name in os.environ:
        section, separator, _ = name.removeprefix(PREFIX).lower().partition("__")
        if name.startswith(PREFIX) and separator and section not in sections:
            raise Invalid(f"the environment's {name}: no section is called {section}; there are {_listed(sections)}")


def _complaint(error: ErrorDetails, file: Path | None, from_file: Mapping[str, Any]) -> str:
    """One wrong value, in one line: where it stands, the key, the value, what is allowed."""
    keys = [str(part) for part in error["loc"]]
    place = _place(keys, file, from_file)
    key = ".".join(keys)
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown key {key}; {_known_beside(keys)}"
    value = "(hidden)" if "password" in key else repr(error["input"])[:200]
    return f"{place}: {key} = {value}: {error['msg']}"


def _place(keys: Sequence[str], file: Path | None, from_file: Mapping[str, Any]) -> str:
    for count in range(len(keys), 0, -1):
        name = PREFIX + "__".join(keys[:count]).upper()
        if name in {given.upper() for given in os.environ}:
            return f"the environment's {name}"
    inside: object = from_file
    for key in keys[:2]:
        if not isinstance(inside, Mapping) or key not in inside:
            return "the command line"
        inside = inside[key]
    return str(file)


def _known_beside(keys: Sequence[str]) -> str:
    from gtftd.schemas.settings import SettingsModel

    if len(keys) == 1:
        return f"there are {_listed(SettingsModel.model_fields)}"
    section = SettingsModel.model_fields[keys[0]].annotation
    known = getattr(section, "model_fields", {})
    return f"[{keys[0]}] knows {_listed(known)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _expanded(value: object) -> object:
    """`~` in paths is the home of whoever runs us."""
    from pydantic import BaseModel

    if isinstance(value, Path):
        return value.expanduser()
    if isinstance(value, BaseModel):
        inside = {name: _expanded(getattr(value, name)) for name in type(value).model_fields}
        return value.model_copy(update=inside)
    return value
