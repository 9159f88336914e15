"""The short prime for gt's hook script, without typer: prints it whole and ends with 0, or nothing and ends with 1.

`python -P -m gtftd.ctl.prime_fast --state-dir DIR [--town DIR] [--config FILE] -- gt prime --hook`; the hook's input on
stdin. The script runs gt itself when this fails in any way, so nothing here has to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gtftd.ctl.prime_ask import Asked, Place, decide, here
from gtftd.ctl.prime_gt import record_session
from gtftd.ctl.prime_options import read_options
from gtftd.errors import GtftdError, Invalid
from gtftd.settings import find_socket
from gtftd.town.session_files import read_hook_input

_OPTIONS = ("--state-dir", "--town", "--config")


def main() -> int:
    """The reason for a full prime goes to stderr."""
    try:
        given, command = read_arguments(sys.argv[1:])
        return _run(given, command)
    except (GtftdError, OSError) as error:
        sys.stderr.write(f"full prime: {error}\n")
        return 1


def read_arguments(words: list[str]) -> tuple[dict[str, Path], list[str]]:
    """Options with their values, and gt's command behind `--`."""
    if "--" not in words:
        raise Invalid("the command that prints the full prime is missing: -- gt prime --hook")
    options, command = words[: words.index("--")], words[words.index("--") + 1 :]
    names, values = options[::2], options[1::2]
    if len(names) != len(values) or set(names) - set(_OPTIONS) or "--state-dir" not in names:
        raise Invalid(f"give --state-dir DIR, and nothing but {', '.join(_OPTIONS)} before --")
    return {name: Path(value) for name, value in zip(names, values, strict=True)}, command


def _run(given: dict[str, Path], command: list[str]) -> int:
    hook = read_hook_input()
    place = Place(given.get("--town"), find_socket(given["--state-dir"]), here(), os.environ)
    decision = decide(Asked(), place, read_options(given.get("--config")), hook)
    if decision.reduced is None:
        sys.stderr.write(f"full prime: {decision.reason}\n")
        return 1
    sys.stdout.write(decision.reduced.text)
    sys.stdout.flush()
    record_session(command, hook.raw, given["--state-dir"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
