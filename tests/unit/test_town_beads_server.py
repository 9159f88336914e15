"""Which server and which databases are the town's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gtftd.schemas.settings import BeadsSettings
from gtftd.town.beads_server import beads_databases, beads_port, listener_port
from gtftd.town.layout import Rig, Town


@pytest.mark.parametrize(
    ("yaml", "port"),
    [
        ("listener:\n  host: 127.0.0.1\n  port: 3311 # ours\n", 3311),
        ("log_level: info\nmetrics:\n  port: 9\nlistener:\n    port: '3312'\n", 3312),
        ("listener:\n  tls:\n    port: 1\n  port: 3313\n", 3313),
        ("# listener:\n#   port: 1\n", None),
        ("listener:\n  host: x\nremotesapi:\n  port: 8000\n", None),
        ("listener:\n  port: 99999\n", None),
        ("", None),
    ],
)
def test_the_port_of_the_listener(yaml: str, port: int | None) -> None:
    """Only `listener.port` counts, whatever other ports the file names."""
    assert listener_port(yaml) == port


def test_each_place_gives_way_to_the_one_before(tmp_path: Path) -> None:
    """Our settings, Dolt's file, the environment, gt's daemon file, 3307."""
    town, plain = Town(tmp_path), BeadsSettings()
    assert beads_port(town, plain, {}) == 3307
    (tmp_path / "mayor").mkdir()
    (tmp_path / "mayor" / "daemon.json").write_text('{"env": {"GT_DOLT_PORT": "3308"}}')
    assert beads_port(town, plain, {}) == 3308
    assert beads_port(town, plain, {"GT_DOLT_PORT": "3309"}) == 3309
    assert beads_port(town, plain, {"GT_DOLT_PORT": "none"}) == 3308
    (tmp_path / ".dolt-data").mkdir()
    (tmp_path / ".dolt-data" / "config.yaml").write_text("listener:\n  port: 3310\n")
    assert beads_port(town, plain, {"GT_DOLT_PORT": "3309"}) == 3310
    assert beads_port(town, BeadsSettings(port=3306), {}) == 3306


def test_databases_are_those_of_the_town_and_its_rigs(tmp_path: Path) -> None:
    """From metadata where it says so; a half-written file gives the ordinary name; settings win."""
    rigs = tuple(Rig(name, tmp_path / name, name) for name in ("gastown", "beads", "old"))
    for rig, written in zip(rigs, ['{"dolt_database": "gt"}', '{"dolt_data', "[]"], strict=True):
        folder = rig.path / "mayor" / "rig" / ".beads"
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(written)
    town = Town(tmp_path, rigs)
    assert beads_databases(town, BeadsSettings()) == ("hq", "gt", "beads", "old")
    (tmp_path / ".beads").mkdir()
    (tmp_path / ".beads" / "metadata.json").write_text(json.dumps({"dolt_database": "gt"}))
    assert beads_databases(town, BeadsSettings()) == ("gt", "beads", "old")
    assert beads_databases(town, BeadsSettings(databases=("a", "a", "b"))) == ("a", "b")
