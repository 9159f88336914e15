"""The units, as far as systemd's own tools can judge them without a running systemd."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gtftd.schemas.settings import TrainingSettings

UNITS = Path(__file__).parents[2] / "systemd"
SYSTEM_UNIT = "gtftd@.service"
USER_UNIT = "gtftd-user.service"
MOST_EXPOSURE = 1.5
PR_SET_MDWE = 65

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def installed(unit: str, folder: Path, program: str) -> Path:
    """The unit as an operator installs it, with a program that exists."""
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={program}", (UNITS / unit).read_text())
    path = folder / unit
    path.write_text(text)
    return path


def analyze(*words: str | Path, runtime: Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, words)]
    environ = os.environ | {"XDG_RUNTIME_DIR": str(runtime)}  # --user wants one
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)


@needs_systemd
@pytest.mark.parametrize(("unit", "name"), [(SYSTEM_UNIT, "gtftd@alice.service"), (USER_UNIT, USER_UNIT)])
def test_units_are_valid(tmp_path: Path, unit: str, name: str) -> None:
    """`verify` has nothing to say: no unknown key, no missing program, no bad value."""
    installed(unit, tmp_path, sys.executable)
    mode = ["--user"] if unit == USER_UNIT else []
    told = analyze("verify", *mode, "--man=no", "--recursive-errors=no", tmp_path / name, runtime=tmp_path)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def with_training(unit: str, folder: Path) -> None:
    """The drop-in of a host that trains, as an operator installs it."""
    name = "gtftd@.service" if unit == SYSTEM_UNIT else "gtftd.service"
    drop_in = UNITS / f"{name}.d" / "training.conf"
    for where in {name, unit}:  # a unit is verified under the name that its file has
        shutil.copytree(drop_in.parent, folder / f"{where}.d", dirs_exist_ok=True)


@needs_systemd
@pytest.mark.parametrize(("unit", "name"), [(SYSTEM_UNIT, "gtftd@alice.service"), (USER_UNIT, USER_UNIT)])
def test_units_of_a_host_that_trains_are_valid(tmp_path: Path, unit: str, name: str) -> None:
    """And the lines of the drop-in hold: more memory than the daemon has alone, and time to save."""
    installed(unit, tmp_path, sys.executable)
    with_training(unit, tmp_path)
    mode = ["--user"] if unit == USER_UNIT else []
    told = analyze("verify", *mode, "--man=no", "--recursive-errors=no", tmp_path / name, runtime=tmp_path)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    text = (tmp_path / f"{unit}.d" / "training.conf").read_text()
    (stop_s,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", text)
    assert int(stop_s) > TrainingSettings().stop_s
    (tmp_path / f"{unit}.d" / "training.conf").write_text(text.replace("MemoryMax=75%", "MemoryMux=75%"))
    told = analyze("verify", *mode, "--man=no", "--recursive-errors=no", tmp_path / name, runtime=tmp_path)
    assert "MemoryMux" in told.stderr, "the drop-in was read"


@needs_systemd
@pytest.mark.parametrize("trains", [False, True])
def test_the_system_unit_exposes_little(tmp_path: Path, trains: bool) -> None:
    """By the measure of systemd, which goes to 10."""
    unit = installed(SYSTEM_UNIT, tmp_path, sys.executable)
    if trains:
        with_training(SYSTEM_UNIT, tmp_path)
    limit = f"--threshold={int(MOST_EXPOSURE * 10)}"
    told = analyze("security", "--offline=true", "--no-pager", limit, unit, runtime=tmp_path)
    (level,) = re.findall(r"exposure level for \S+: ([\d.]+)", told.stdout)
    assert told.returncode == 0
    assert float(level) <= MOST_EXPOSURE


@pytest.mark.parametrize("unit", [SYSTEM_UNIT, USER_UNIT])
@pytest.mark.parametrize("line", ["Type=notify", "NotifyAccess=main", "WatchdogSec=30", "Restart=always"])
def test_the_daemon_is_watched_and_restarted(unit: str, line: str) -> None:
    """Both units keep the promise of the watchdog."""
    assert line in (UNITS / unit).read_text().splitlines()


def test_memory_that_is_written_need_not_be_executed() -> None:
    """MemoryDenyWriteExecute: everything that the daemon and its index import, and its nats-server, live without."""
    script = (
        "import ctypes, sys\n"
        f"if ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0) != 0: sys.exit(77)\n"
        "import mmap\n"
        "try: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC); sys.exit(78)\n"
        "except PermissionError: pass\n"
        "import aiomysql, nats, prometheus_client, pydantic, sqlite3, structlog, watchfiles\n"
        "import chromadb, tantivy\n"
        "from gtftd.rag.embedding import load_embedder\n"
        "load_embedder('minilm').embed_query('a word')\n"
        "import subprocess, sysconfig\n"
        "server = sysconfig.get_path('scripts') + '/nats-server'\n"
        "subprocess.run([server, '--version'], check=True)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    if told.returncode == 77:
        pytest.skip("this kernel cannot deny writable code (Linux 6.3 can)")
    assert (told.returncode, told.stderr) == (0, "")


def test_the_daemon_talks_to_systemd(tmp_path: Path) -> None:
    """READY when it listens, WATCHDOG while it lives, STOPPING and exit code 0 after SIGTERM.

    Where the kernel can, all of it without memory that is both written and executed.
    """
    (tmp_path / "gt" / "mayor").mkdir(parents=True)
    (tmp_path / "gt" / "mayor" / "town.json").write_text("{}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(60)
        systemd.bind(str(tmp_path / "notify"))
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000", "HOME": str(tmp_path)}
        strict = (
            f"import ctypes, os, sys; ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0);"
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        command = [sys.executable, "-c", strict, "-P", "-m", "gtftd.programs.daemon", "--town", str(tmp_path / "gt")]
        with subprocess.Popen(
            [*command, "--state-dir", str(tmp_path / "state"), "--no-console"],
            env=os.environ | told,
            stdin=subprocess.DEVNULL,
        ) as daemon:
            heard = heard_until(systemd, "READY=1")
            heard += heard_until(systemd, "WATCHDOG=1")
            heard += heard_until(systemd, "WATCHDOG=1")
            daemon.terminate()
            heard += heard_until(systemd, "STOPPING=1")
            assert daemon.wait(60) == 0
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    assert any(line.startswith("STATUS=") for line in heard)


def heard_until(systemd: socket.socket, wanted: str) -> list[str]:
    heard: list[str] = []
    while wanted not in heard:
        heard += systemd.recv(4096).decode().splitlines()
    return heard
