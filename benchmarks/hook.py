"""What a hook costs an agent, fork to exit: ours against a Python script that publishes by nats-py.

Both are started in turn (ours, peer, peer, ours) on the same machine with the same input. Ours ends
with one fsynced file and a hard link; the peer ends with JetStream's acknowledgement from a server
that syncs each message. Run it on an otherwise idle machine: `python benchmarks/hook.py --runs 200`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gtftd.town.hook_script import install_script, script_path
from gtftd.town.layout import Town

KILOBYTE, MEGABYTE = 1000, 1_000_000
START_S = 20.0

PEER = """
import asyncio, json, os, sys
import nats

async def main() -> None:
    said = json.load(sys.stdin)
    said["env"] = {key: os.environ.get(key, "") for key in ("GT_ROLE", "GT_RIG", "GT_RUN", "GT_AGENT")}
    client = await nats.connect(sys.argv[1])
    await client.jetstream().publish("town.session.started", json.dumps(said).encode())
    await client.close()

asyncio.run(main())
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100, help="of each, for each size of transcript")
    arguments.add_argument("--dir", type=Path, default=None, help="file system to measure on")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-", dir=chosen.dir) as folder:
        compare(Path(folder), chosen.runs)


def compare(folder: Path, runs: int) -> None:
    state = folder / "state"
    install_script(Town(folder), state)
    peer = folder / "peer.py"
    peer.write_text(PEER)
    print(f"{'hook':<28}{'p50':>9}{'p99':>9}{'worst':>9}  (ms)")
    with nats_server(folder) as url:
        ours, theirs = [str(script_path(state)), "claude"], [sys.executable, str(peer), url]
        for size, label in ((KILOBYTE, "1 kB"), (200 * MEGABYTE, "200 MB")):
            transcript = write_transcript(folder / f"{size}.jsonl", size)
            times: dict[str, list[float]] = {"gtftd-hook claude": [], "nats-py publisher": []}
            for number in range(-2, runs):
                payload = session_start(transcript, f"{size}-{number}")
                order = [("gtftd-hook claude", ours), ("nats-py publisher", theirs)]
                for name, command in order if number % 2 else reversed(order):
                    taken_ms = run_once(command, payload)
                    if number >= 0:  # the first two warm the caches of both
                        times[name].append(taken_ms)
            for name, taken in times.items():
                report(f"{name}, {label}", taken)
            medians = [percentile(taken, 50) for taken in times.values()]
            print(f"  the peer takes {medians[1] / medians[0]:.0f} times as long (p50)")
    bead = [str(script_path(state)), "bead", "gt-abc", "close"]
    report("gtftd-hook bead", [run_once(bead, b"") for _ in range(runs)])
    report("/bin/true (floor)", [run_once(["/bin/true"], b"") for _ in range(runs)])
    spooled = len(list((state / "spool" / "new").iterdir()))
    print(f"  {spooled} files in the spool, {3 * runs + 4} expected")


def run_once(command: list[str], payload: bytes) -> float:
    """Milliseconds from before the fork until the exit was seen."""
    env = {**os.environ, "GT_ROLE": "gastown/polecats/nux", "GT_RIG": "gastown", "GT_RUN": "r", "GT_AGENT": "a"}
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=env) as process:
        process.communicate(payload)
        taken_ms = (time.perf_counter() - began) * 1000
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return taken_ms


def session_start(transcript: Path, session: str) -> bytes:
    said = {"session_id": session, "transcript_path": str(transcript), "cwd": str(Path.cwd())}
    return json.dumps({**said, "hook_event_name": "SessionStart", "source": "startup"}).encode()


def write_transcript(path: Path, size: int) -> Path:
    line = b'{"type":"user","message":{"role":"user","content":"' + b"x" * 900 + b'"}}\n'
    with path.open("wb") as file:
        for _ in range(max(1, size // len(line))):
            file.write(line)
        os.fsync(file.fileno())
    return path


@contextlib.contextmanager
def nats_server(folder: Path) -> Iterator[str]:
    """A real nats-server with JetStream that syncs every message; its own port, ended afterwards."""
    config = folder / "nats.conf"
    config.write_text(
        f'host: 127.0.0.1\nport: -1\nports_file_dir: "{folder}"\n'
        f'jetstream {{ store_dir: "{folder / "jetstream"}", sync_interval: always }}\n'
    )
    binary = Path(sysconfig.get_path("scripts")) / "nats-server"
    server = subprocess.Popen([binary, "-c", config], stderr=subprocess.DEVNULL)
    try:
        url = wait_for_url(folder / f"nats-server_{server.pid}.ports")
        make = (
            "import asyncio, nats, sys\n"
            "async def main():\n"
            "    client = await nats.connect(sys.argv[1])\n"
            "    await client.jetstream().add_stream(name='TOWN', subjects=['town.>'])\n"
            "    await client.close()\n"
            "asyncio.run(main())\n"
        )
        subprocess.run([sys.executable, "-c", make, url], check=True)
        yield url
    finally:
        server.terminate()
        server.wait()


def wait_for_url(ports: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            return str(json.loads(ports.read_bytes())["nats"][0])
        time.sleep(0.02)
    raise SystemExit(f"nats-server did not start within {START_S} s")


def report(name: str, taken_ms: list[float]) -> None:
    figures = (percentile(taken_ms, 50), percentile(taken_ms, 99), max(taken_ms))
    print(f"{name:<28}" + "".join(f"{figure:9.2f}" for figure in figures))


def percentile(taken_ms: list[float], percent: int) -> float:
    ordered = sorted(taken_ms)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


if __name__ == "__main__":
    main()
