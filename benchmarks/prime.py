"""How long the start of a session waits: gtftctl prime and the hook's script, with a daemon that answers at once.

The daemon's own time comes on top; `benchmarks/retrieval.py` has it. Also the same with the daemon hanging and down.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gtftd.town import prime_hooks
from tests.support.prime import PrimeTown, command_of, make_prime_town, payload
from tests.support.prime_daemon import ANSWER, prime_daemon

RUNS = 40
OURS, OTHER = "node0-polecat", "claude"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = make_prime_town(Path(folder))
        prime_hooks.install(made.scope(), made.known)
        made.gt.write_text("#!/bin/sh\nexit 0\n")  # what gt takes is not ours
        with prime_daemon(made.state_dir) as daemon:
            daemon.answer = ANSWER.model_copy(update={"text": ANSWER.text + "word " * 2000})
            measure(made, "gtftctl prime, short", typed(made), OURS)
            measure(made, "gtftctl prime, another model", typed(made), OTHER)
            measure(made, "the hook's command, short", hooked(made), OURS)
            measure(made, "the hook's command, another model", hooked(made), OTHER)
            daemon.waits = True
            measure(made, "gtftctl prime, daemon hangs", typed(made), OURS)
        measure(made, "gtftctl prime, daemon down", typed(made), OURS)
        measure(made, "the hook's command, daemon down", hooked(made), OURS)


def typed(made: PrimeTown) -> list[str]:
    program = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()"]
    return [*program, "prime", "--state-dir", str(made.state_dir)]


def hooked(made: PrimeTown) -> list[str]:
    return ["/bin/sh", "-c", command_of(made.settings("polecat"))]


def measure(made: PrimeTown, name: str, command: list[str], agent: str) -> None:
    environ = made.environ(GT_AGENT=agent)
    del environ["GTFTD_PRIME__TIMEOUT_S"]  # the default
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, env=environ, input=payload(), capture_output=True, cwd=made.cwd, check=True)
        taken.append(1000 * (time.perf_counter() - began))
    taken.sort()
    p95 = taken[int(RUNS * 0.95)]
    print(f"{name:36} p50 {statistics.median(taken):6.1f} ms   p95 {p95:6.1f} ms   best {taken[0]:6.1f} ms")


if __name__ == "__main__":
    main()
