"""gtftctl shell-init: `gt model ...` and `gt corpus ...` without a patched gt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gtftd.ctl import show

_POSIX = """\
# gt has no plug-in commands: these two go to gtftctl, everything else to gt itself.
gt() {
  case "${1-}" in
    model|corpus) gtftctl "$@" ;;
    *) command gt "$@" ;;
  esac
}
"""
_FISH = """\
# gt has no plug-in commands: these two go to gtftctl, everything else to gt itself.
function gt
  switch "$argv[1]"
    case model corpus
      gtftctl $argv
    case '*'
      command gt $argv
  end
end
"""
_COMPLETION = {
    "bash": 'eval "$(_GTFTCTL_COMPLETE=source_bash gtftctl)"\n',
    "zsh": 'eval "$(_GTFTCTL_COMPLETE=source_zsh gtftctl)"\n',
    "fish": "_GTFTCTL_COMPLETE=source_fish gtftctl | source\n",
}
SHELLS = ("bash", "zsh", "fish", "sh")


def register(app: typer.Typer) -> None:
    app.command("shell-init")(shell_init)


def shell_init(
    shell: Annotated[str | None, typer.Argument(metavar="[bash|zsh|fish|sh]", help="By default $SHELL's.")] = None,
) -> None:
    """Print what makes `gt model` and `gt corpus` work here, and completion: eval "$(gtftctl shell-init)"."""
    name = shell or Path(os.environ.get("SHELL", "sh")).name
    if name not in SHELLS:
        if shell is not None:
            raise typer.BadParameter(f"{shell!r} is none of {', '.join(SHELLS)}", param_hint="SHELL")
        name = "sh"
    show.print_line(((_FISH if name == "fish" else _POSIX) + _COMPLETION.get(name, "")).rstrip("\n"))
