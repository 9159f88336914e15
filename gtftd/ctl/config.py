"""gtftctl config: the configuration as the daemon would read it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gtftd.ctl import show
from gtftd.ctl.target import ConfigOption, Json

app = typer.Typer(help="The configuration: check it, show what results.", no_args_is_help=True)


@app.command("check")
def check(config: ConfigOption = None) -> None:
    """Read the configuration; exit code 1 with one line for each mistake."""
    from gtftd.settings import find_config, load_settings

    load_settings(config)
    show.print_line(f"{find_config(config) or 'no file: the defaults'}: ok")


@app.command("show")
def show_config(
    config: ConfigOption = None,
    as_json: Json = False,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
) -> None:
    """Every key with the value that holds, from file and environment; passwords are hidden."""
    from gtftd.schemas.settings import SettingsModel
    from gtftd.settings import load_settings

    values = load_settings(config).model_dump(mode="json")
    if changed:
        values = _difference(values, SettingsModel().model_dump(mode="json"))
    if as_json:
        show.print_json(values)
        return
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    _print_keys(plain)
    for name, keys in tables.items():
        show.print_line(f"\n[{name}]")
        _print_keys(keys)


def _print_keys(keys: dict[str, Any]) -> None:
    import json

    for key, value in keys.items():
        show.print_line(f"# {key} is not set" if value is None else f"{key} = {json.dumps(value)}")


def _difference(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        inside = _difference(value, defaults[key]) if isinstance(value, dict) else value
        if inside != (defaults[key] if not isinstance(value, dict) else {}):
            found[key] = inside
    return found
