"""The configuration: where it is found, what wins, and what a mistake is told."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

from gtftd.errors import Invalid, Missing
from gtftd.schemas.settings import SettingsModel
from gtftd.settings import find_config, find_socket, load_settings, peek, runtime_socket, state_dir_of

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
UNSET = {"town", "state_dir", "bus.url", "bus.daemon_password", "bus.publisher_password"}
UNSET |= {"bus.credentials_file", "bus.tls_ca_file", "bus.server_binary", "beads.port", "beads.databases"}
UNSET |= {"metrics.port", "prime.tokenizer"}
UNSET |= {f"training.{key}" for key in ("settings_dir", "python", "llama_cpp_dir", "memory_bytes", "threads")}
UNSET |= {f"projection.{key}" for key in ("host", "port", "user", "password", "database")}


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests see no configuration of the machine."""
    for name in list(os.environ):
        if name.startswith("GTFTD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.toml"
    path.write_text(text)
    return path


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= keys_of(inner, f"{name}.")
        else:
            found.add(prefix + name)
    return found


def uncommented() -> dict[str, object]:
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", EXAMPLE.read_text())
    return tomllib.loads(text)


def test_the_example_names_every_key() -> None:
    """Nothing of the model is missing, and nothing else is there."""
    shown = {
        f"{section}.{key}" if isinstance(value, dict) else section
        for section, value in uncommented().items()
        for key in (value if isinstance(value, dict) else [section])
    }
    assert keys_of(SettingsModel) == shown


def test_the_example_shows_the_defaults(tmp_path: Path) -> None:
    """Every line uncommented changes nothing, but for what has no default."""
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", EXAMPLE.read_text())
    loaded = load_settings(written(tmp_path, text)).model_dump()
    defaults = SettingsModel().model_dump()
    for key in UNSET:
        section, _, name = key.rpartition(".")
        for settings in (loaded, defaults):
            (settings[section] if section else settings).pop(name)
    assert defaults == loaded


def test_the_example_as_it_stands_is_the_defaults() -> None:
    """A copy of it may be installed as it is."""
    assert SettingsModel() == load_settings(EXAMPLE)


def test_the_command_line_wins_over_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key by key: a table in one layer does not hide the same table in another."""
    file = written(tmp_path, "[beads]\npoll_s = 7\nuser = 'file'\nhost = 'file'\n[log]\nlevel = 'debug'\n")
    monkeypatch.setenv("GTFTD_BEADS__USER", "environment")
    monkeypatch.setenv("GTFTD_BEADS__HOST", "environment")
    monkeypatch.setenv("GTFTD_COLLECTION__ROLES", '["polecat", "crew"]')
    loaded = load_settings(file, {"beads": {"host": "option"}})
    assert (loaded.beads.host, loaded.beads.user, loaded.beads.poll_s) == ("option", "environment", 7.0)
    assert (loaded.log.level, loaded.collection.roles) == ("debug", ("polecat", "crew"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[beads]\npol_s = 7\n", "config.toml: unknown key beads.pol_s; [beads] knows backoff_most_s, batch_rows"),
        ("beds = 1\n", "config.toml: unknown key beds; there are beads, bus, collection"),
        ("[beads]\nport = 70000\n", "config.toml: beads.port = 70000: Input should be less than or equal to 65535"),
        ("[log]\nlevel = 'loud'\n", "config.toml: log.level = 'loud': Input should be 'debug', 'info', 'warning'"),
        ("[beads]\npassword = 5\n", "config.toml: beads.password = (hidden): Input should be a valid string"),
        ("[bus\n", "config.toml is not valid TOML: Expected ']'"),
        ("beads = 3\n", "config.toml: beads = 3: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_in_the_file_is_told(tmp_path: Path, text: str, words: str) -> None:
    """File, key, value, and what is allowed."""
    with pytest.raises(Invalid) as told:
        load_settings(written(tmp_path, text))
    assert words in str(told.value)


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    """A person mends them all at once."""
    with pytest.raises(Invalid) as told:
        load_settings(written(tmp_path, "a = 1\n[bus]\nport = -1\n[log]\nlevel = 3\n"))
    assert len(str(told.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("GTFTD_BEADS__PORT", "no", "the environment's GTFTD_BEADS__PORT: beads.port = 'no'"),
        ("GTFTD_BEDS__PORT", "1", "GTFTD_BEDS__PORT: no section is called beds; there are beads"),
        ("GTFTD_BEADS__PORTS", "1", "the environment's GTFTD_BEADS__PORTS: unknown key beads.ports"),
        ("GTFTD_COLLECTION__ROLES", "polecat", "a list in the environment is JSON"),
    ],
)
def test_a_mistake_in_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """The variable is named."""
    monkeypatch.setenv(name, value)
    with pytest.raises(Invalid) as told:
        load_settings()
    assert words in str(told.value)


def test_a_mistake_on_the_command_line_is_told() -> None:
    """It is not blamed on a file."""
    with pytest.raises(Invalid, match=r"^the command line: bus.port = 'x'"):
        load_settings(None, {"bus": {"port": "x"}})


def test_the_file_is_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, GTFTD_CONFIG, the user's."""
    option = written(tmp_path / "a", "")
    environment = written(tmp_path / "b", "")
    users = written(tmp_path / "config" / "gtftd", "")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert users == find_config(environ=environ)
    environ["GTFTD_CONFIG"] = str(environment)
    assert environment == find_config(environ=environ)
    assert option == find_config(option, environ=environ)
    with pytest.raises(Missing, match="--config names"):
        find_config(tmp_path / "nowhere.toml")


def test_paths_know_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` works in the file, at every depth."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = written(tmp_path, "state_dir = '~/state'\n[bus]\nserver_binary = '~/bin/nats-server'\n")
    loaded = load_settings(file)
    assert (tmp_path / "state", tmp_path / "bin/nats-server") == (loaded.state_dir, loaded.bus.server_binary)
    assert tmp_path / "state" == peek("state_dir", file)
    assert Path("/other") == peek("state_dir", file, environ={"GTFTD_STATE_DIR": "/other"})


@dataclass(frozen=True)
class Town:
    slug: str = "gt-a1b2c3"


def test_state_is_kept_per_town(tmp_path: Path) -> None:
    """Two towns never share a state directory by accident."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    assert tmp_path / "gtftd" / "gt-a1b2c3" == state_dir_of(SettingsModel(), Town(), environ=environ)
    assert Path("/state") == state_dir_of(SettingsModel(state_dir=Path("/state")), Town(), environ=environ)


def test_socket_is_in_the_state_directory(tmp_path: Path) -> None:
    """In a folder for this user alone, and the client finds it."""
    state_dir = Path("/tmp") / f"gtftd-test-{os.getpid()}"
    path = runtime_socket(state_dir)
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    path.parent.rmdir()
    state_dir.rmdir()
    assert (state_dir / "run" / "control.sock", 0o700, path) == (path, mode, find_socket(state_dir))


def test_a_deep_state_directory_has_its_socket_elsewhere(tmp_path: Path) -> None:
    """The client follows the pointer, whatever its own environment says; two of them do not collide."""
    runtime = tmp_path / "r"
    runtime.mkdir()
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    deep = [tmp_path / ("deep" * 30) / name for name in ("one", "two")]
    paths = [runtime_socket(state_dir, environ=environ) for state_dir in deep]
    assert paths == [find_socket(state_dir) for state_dir in deep]
    assert len(set(paths)) == 2
    assert all(len(os.fsencode(path)) <= 107 for path in paths)
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700
