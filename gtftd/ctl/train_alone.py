"""A run without a daemon: a process beside us keeps it, as the daemon would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gtftd.control import wire
from gtftd.ctl.target import Target
from gtftd.errors import Busy, NotReady
from gtftd.schemas.training_orders import RunView, TrainOrder


def keep(
    target: Target, wanted: TrainOrder | str, *, detached: bool = False
) -> tuple[RunView, subprocess.Popen[bytes]]:
    """Have an order carried out, or a run taken up; raises what the keeper raises. It ends with us unless detached."""
    command = [sys.executable, "-P", "-m", "gtftd.programs.train_alone"]
    command += ["--town", str(target.known_town()), "--state-dir", str(target.state_dir)]
    command += ["--config", str(target.config)] if target.config else []
    command += ["--run", wanted] if isinstance(wanted, str) else []
    command += [] if detached else ["--with-parent"]
    target.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _log(target.state_dir).open("ab") as log:
        keeper = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with keeper.stdin as stdin:
        stdin.write(b"" if isinstance(wanted, str) else wanted.model_dump_json().encode())
    with keeper.stdout as stdout:
        line = stdout.readline()
    if not line:
        raise NotReady(f"the keeper of the run ended with status {keeper.wait()}; see {_log(target.state_dir)}")
    frame = wire.decode(line)
    if not frame.get("ok"):
        keeper.wait()
        raise wire.error_of(frame.get("error") or {})
    return RunView.model_validate(frame["result"]), keeper


def is_kept(target: Target) -> bool:
    """Whether some process supervises the runs of this state."""
    from gtftd.jobs.alone import supervising

    try:
        with supervising(target.state_dir):
            return False
    except Busy:
        return True


def _log(state_dir: Path) -> Path:
    (state_dir / "logs").mkdir(exist_ok=True, mode=0o700)
    return state_dir / "logs" / "train.out"
