"""gtftctl run, as `make run` calls it: on a machine with no town."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RUN = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()", "run"]


def environ(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GT_", "GTFTD_", "XDG_"))}
    quick = {"GTFTD_BEADS__POLL_S": "0.3", "GTFTD_SPOOL__RESCAN_S": "0.5", "GTFTD_COLLECTION__SETTLE_S": "0.3"}
    return kept | quick | {"HOME": str(home)}


def children_of(home: Path) -> list[str]:
    """Command lines of processes that were started for this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(home / ".local") in words:
            found.append(words)
    return found


@pytest.mark.heavy
def test_one_day_of_a_sample_town(tmp_path: Path) -> None:
    """Made, lived, collected, ended: entries are there, nothing runs any more, nobody's own settings were touched."""
    told = subprocess.run(
        [*RUN, "--once", "--speed", "20000"],
        capture_output=True,
        text=True,
        check=False,
        env=environ(tmp_path),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        timeout=110,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "no Gas Town found; making a sample town in " in told.stdout
    (total,) = re.findall(r"(\d+) training entries are in", told.stdout)
    stored = list((tmp_path / ".local/state/gtftd").glob("*/entries/objects/*/*.json"))
    assert len(stored) == int(total) > 10
    assert {"polecat", "witness"} <= {json.loads(path.read_bytes())["role"] for path in stored}
    assert children_of(tmp_path) == []
    assert not (tmp_path / ".claude").exists()


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    """With exit code 0 and a line that says where the entries are."""
    with subprocess.Popen(
        RUN, stdout=subprocess.PIPE, text=True, env=environ(tmp_path), cwd=tmp_path, stdin=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if "session.started" in line:
                break
        running = " ".join(children_of(tmp_path))
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
        assert child.wait(100) == 0
    for name in ("gtftd.programs.daemon", "nats-server", "gtftd.programs.player"):
        assert name in running
    assert "training entries are in " in rest
    assert children_of(tmp_path) == []


def test_a_real_town_is_left_alone(tmp_path: Path) -> None:
    """Its hooks are not installed without being asked for; how to do it is told."""
    town = tmp_path / "gt"
    (town / "mayor").mkdir(parents=True)
    (town / "mayor" / "town.json").write_text("{}")
    with subprocess.Popen(
        [*RUN, "--town", str(town)],
        stdout=subprocess.PIPE,
        text=True,
        env=environ(tmp_path),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        child.send_signal(signal.SIGTERM)
        child.stdout.read()
        assert child.wait(100) == 0
    assert "hooks are not installed" in lines[0]
    assert f"gtftctl hooks install --town {town}" in lines[1]
    assert not (tmp_path / ".claude").exists()
    assert children_of(tmp_path) == []
