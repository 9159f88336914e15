"""gtftctl: what an operator types."""

from __future__ import annotations

import os
import sys

from gtftd.errors import GtftdError, NoDaemon

OK, FAILED, USAGE, NO_DAEMON, INTERRUPTED = 0, 1, 2, 3, 130


def model_main() -> None:
    """Entry point of the program `gt-model`: `gtftctl model`."""
    sys.argv[1:1] = ["model"]
    main()


def corpus_main() -> None:
    """Entry point of the program `gt-corpus`: `gtftctl corpus`."""
    sys.argv[1:1] = ["corpus"]
    main()


def main() -> None:
    """Run one command. Exit codes: 0 well, 1 degraded or failed, 2 wrong usage, 3 no daemon answers, 130 Ctrl-C."""
    try:
        _run()
    except NoDaemon as error:
        _complain(error)
        sys.exit(NO_DAEMON)
    except GtftdError as error:
        _complain(error)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # `gtftctl logs | head`: nobody reads any more
        sys.exit(OK)
    except OSError as error:  # a file that was named, or is ours, and cannot be read or written
        _complain(error)
        sys.exit(FAILED)


def _run() -> None:
    """A session waits for `gtftctl prime`, and a person for `gtftctl model list`: they do without typer."""
    if sys.argv[1:2] == ["prime"] and "_GTFTCTL_COMPLETE" not in os.environ:
        from gtftd.ctl.prime_quick import run_quickly

        if run_quickly(sys.argv[2:]):
            return
    if sys.argv[1:2] == ["model"] and "_GTFTCTL_COMPLETE" not in os.environ:
        from gtftd.ctl import model_quick

        if model_quick.run_quickly(sys.argv[2:]):
            return
    from gtftd.ctl.app import app

    if "_GTFTCTL_COMPLETE" in os.environ:
        _learn_shells()
    app(prog_name="gtftctl")


def _learn_shells() -> None:
    """Typer completes only where it may install itself; we leave the shell's files to their owner."""
    from typer._completion_classes import completion_init

    completion_init()


def _complain(error: Exception) -> None:
    from gtftd.ctl.show import clean

    for line in str(error).splitlines() or [type(error).__name__]:
        sys.stderr.write(f"error: {clean(line)}\n")
