"""gtftctl model: which models there are, and who decides what about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from gtftd.ctl import model_changes, model_export, model_looks, model_rebuild
from gtftd.ctl.model_names import RoleOption, complete_model, complete_status
from gtftd.ctl.model_quick import Words, answer
from gtftd.ctl.target import ConfigOption, Json, StateOption, TownOption

app = typer.Typer(
    help="Models: what they were made of, how good they are, whom they serve, and the way back.", no_args_is_help=True
)


@app.command("list")
def list_models(
    *,
    role: RoleOption = None,
    status: Annotated[
        str | None, typer.Option("--status", help="active, archived, ...", autocompletion=complete_status)
    ] = None,
    as_json: Json = False,
    town: TownOption = None,
    state_dir: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Every version of every role's model, the newest first."""
    chosen = {"--role": role, "--status": status, "--town": town, "--state-dir": state_dir, "--config": config}
    _answer("list", None, chosen, as_json=as_json)


@app.command("adapters")
def list_adapters(
    *, as_json: Json = False, town: TownOption = None, state_dir: StateOption = None, config: ConfigOption = None
) -> None:
    """The adapters for tasks, which are stacked on the models of roles."""
    _answer("adapters", None, {"--town": town, "--state-dir": state_dir, "--config": config}, as_json=as_json)


@app.command("show")
def show_model(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="mayor-v3, or mayor@active.", autocompletion=complete_model)
    ],
    *,
    as_json: Json = False,
    town: TownOption = None,
    state_dir: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """One model, whole."""
    _answer("show", name, {"--town": town, "--state-dir": state_dir, "--config": config}, as_json=as_json)


def _answer(verb: str, name: str | None, chosen: Mapping[str, object], *, as_json: bool) -> None:
    answer(Words(verb, name, {option: str(value) for option, value in chosen.items() if value is not None}, as_json))


model_looks.register(app)
model_changes.register(app)
model_rebuild.register(app)
model_export.register(app)
