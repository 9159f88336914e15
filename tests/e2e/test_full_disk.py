"""A full disk corrupts nothing, has a name, and is over when there is room again: without a restart."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from gtftd.town import hooks
from tests.support.disk import small_disk
from tests.support.survival import check_truth
from tests.support.town import Daemon, SampleTown, check_whole, final_state, until

CONFIG = "[state]\nlow_disk_bytes = 1\n"


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_full_while_spooling_and_storing(tmp_path: Path) -> None:
    """In the middle of the day, when hooks spool and entries, rows and events are stored."""
    town = SampleTown(tmp_path / "day")
    with small_disk(tmp_path / "disk", size_mib=96) as disk:
        daemon = Daemon(town, disk.root / "state", config=CONFIG)
        town.install_hooks(daemon.state_dir)
        try:
            daemon.start_ready()
            town.play(800)
            daemon.wait_until_warm()
            until(lambda: daemon.sql("SELECT count(*) FROM entries")[0][0] > 3, "some entries are stored")
            disk.fill()
            until(lambda: daemon.degraded().get("state") == "disk.full", "health names it")
            hook = run_hook(daemon.state_dir, town)
            assert (0, b"", b"") == (hook.returncode, hook.stdout, hook.stderr)
            for _ in range(4):  # what was freed by rows and files that went is taken too
                disk.fill()
                time.sleep(0.5)
            assert daemon.is_ready()
            disk.free()
            daemon.wait_for_the_day()
            until(lambda: "state" not in daemon.degraded(), "health says that it is over")
            state = final_state(daemon.state_dir)
            check_whole(state)
            check_truth(state, town.truth)
            assert {} == daemon.degraded()
            assert daemon.stop() == 0
        finally:
            town.stop()
            daemon.end()


def run_hook(state_dir: Path, town: SampleTown) -> subprocess.CompletedProcess[bytes]:
    """As Claude Code runs it, in the middle of a turn."""
    return subprocess.run(
        [hooks.script_path(state_dir), "claude"],
        input=b'{"session_id":"5e55","hook_event_name":"Stop","transcript_path":"/nowhere/x.jsonl"}',
        env=town.environ | {"GT_ROLE": "mayor", "GT_ROOT": str(town.root)},
        capture_output=True,
        check=False,
        timeout=30,
    )
