"""A training that learns nothing: it speaks the files of a run, and does to itself what a test asks for.

`behave.json` in the run's folder: `steps`; `save_every`; `die_at` (once each), `always_die_at`, `hang_at` (once: no
heartbeat, deaf to SIGTERM), `wait_at` (until the file `go` is there, with heartbeats), `garbage` (lines that are none).
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NO_BEHAVIOUR: dict[str, Any] = {"steps": 10, "save_every": 3}
_stopped = False


def main() -> None:
    folder = Path(sys.argv[-1])
    signal.signal(signal.SIGTERM, _stop)
    if _is_done(folder):
        return  # as the real one: started by a supervisor who did not see the one before it
    behave = NO_BEHAVIOUR | (json.loads(file.read_text()) if (file := folder / "behave.json").exists() else {})
    spec = json.loads((folder / "spec.json").read_text())
    with (folder / "starts.txt").open("a") as starts:
        starts.write(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")
    step = int((folder / "saved.txt").read_text()) if (folder / "saved.txt").exists() else 0
    with (folder / "progress.ndjson").open("ab") as progress:
        while step < behave["steps"] and not _stopped:
            step += 1
            (folder / "heartbeat").touch()
            _misbehave(folder, behave, step, progress)
            if _stopped:
                step -= 1  # the one that was not finished
                break
            saves = step % behave["save_every"] == 0
            progress.write(_line(step, behave["steps"], saves))
            progress.flush()
            if saves:
                _save(folder, step)
    if _stopped:
        _save(folder, step)
        _end(folder, "stopped", step, {})
    else:
        _adapter(folder / "adapter", spec["run"])
        _end(folder, behave.get("status", "done"), step, {"adapter": "adapter"})


def _is_done(folder: Path) -> bool:
    result = folder / "result.json"
    return result.exists() and json.loads(result.read_bytes())["status"] == "done"


def _stop(*_: object) -> None:
    global _stopped
    _stopped = True


def _misbehave(folder: Path, behave: dict[str, Any], step: int, progress: Any) -> None:
    if behave.get("garbage"):
        progress.write(b"\xff\x00{not json\n[[[[\n{}\n" + b"x" * 200_000 + b"\n")
    if step == behave.get("always_die_at") or (step == behave.get("die_at") and _first(folder, "died")):
        os.kill(os.getpid(), signal.SIGKILL)
    if step == behave.get("hang_at") and _first(folder, "hung"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(3600)
    while step == behave.get("wait_at") and not (folder / "go").exists() and not _stopped:
        (folder / "heartbeat").touch()
        (folder / "waits").touch()
        time.sleep(0.02)


def _first(folder: Path, mark: str) -> bool:
    if (folder / mark).exists():
        return False
    (folder / mark).touch()
    return True


def _line(step: int, steps: int, saves: bool) -> bytes:
    told = {
        "step": step, "steps": steps, "loss": 2.0 / step, "learning_rate": 2e-4, "gradient_norm": 1.0,
        "supervised_tokens": step * 100, "tokens_per_s": 123.0, "eta_s": float(steps - step),
        "held_out_loss": 3.0 / step if saves else None, "checkpoint_s": 0.01 if saves else 0.0,
        "at": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    return json.dumps(told).encode() + b"\n"


def _save(folder: Path, step: int) -> None:
    aside = folder / "saved.tmp"
    aside.write_text(str(step))
    aside.rename(folder / "saved.txt")


def _end(folder: Path, status: str, step: int, outputs: dict[str, str]) -> None:
    told = {"status": status, "steps": step, "examples": 7, "outputs": outputs, "at": datetime.now(UTC).isoformat()}
    aside = folder / "result.tmp"
    aside.write_text(json.dumps(told))
    aside.rename(folder / "result.json")


def _adapter(folder: Path, run: str) -> None:
    folder.mkdir(exist_ok=True)
    header = json.dumps({"a.lora_A.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}).encode()
    header += b" " * (-len(header) % 8)
    data = (run.encode() * 64)[:64]
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4}))


if __name__ == "__main__":
    main()
