"""gtftctl model export: a registered model as a directory for transformers, or as a GGUF for llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.model_names import Model
from gtftd.ctl.model_open import registry_of
from gtftd.ctl.target import Json, Target, on_target
from gtftd.errors import Conflict, Missing, Refused

if TYPE_CHECKING:
    from gtftd.registry.registry import Registry
    from gtftd.schemas.registry import ModelEntry
    from gtftd.schemas.training import ExportForm, ExportRecord

_FORMS = "merged, gguf-f16, gguf-q8_0, gguf-q4_k_m or lora-gguf."


def register(app: typer.Typer) -> None:
    app.command()(on_target(export))


def export(
    target: Target,
    name: Model,
    *,
    form: Annotated[str, typer.Option("--as", metavar="FORM", help=_FORMS)],
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="What is to be there then; or a folder for it.")],
    as_json: Json = False,
) -> None:
    """Write a model for transformers (merged) or llama.cpp; nothing is there that speaks otherwise than the model."""
    from gtftd.machine import choose_threads
    from gtftd.schemas.training import ExportOrder
    from gtftd.settings import load_settings
    from gtftd.training.export_child import export_in_child

    chosen = _form(form)
    settings = load_settings(target.config).training
    registry = registry_of(target)
    model = registry.model(name)
    place = _place(to, model, chosen)
    checkout = str(settings.llama_cpp_dir) if settings.llama_cpp_dir else None
    order = ExportOrder(
        form=chosen, base=str(_base(model)), adapters=_adapters(registry, model), name=model.name, to=str(place),
        llama_cpp_dir=checkout, threads=choose_threads(settings.threads),
    )  # fmt: skip
    record = export_in_child(order)
    if as_json:
        show.print_json(record.model_dump(mode="json") | {"to": str(place)})
    else:
        show.print_line(f"{place}: {model.name} as {chosen}, {show.size(record.size_bytes)}; {_checked(record)}")


def _form(given: str) -> ExportForm:
    from typing import get_args

    from gtftd.schemas.training import ExportForm

    for form in get_args(ExportForm):
        if form == given:
            found: ExportForm = form
            return found
    raise typer.BadParameter(f"{given!r} is none of {_FORMS[:-1]}", param_hint="--as")


def _place(to: Path, model: ModelEntry, form: ExportForm) -> Path:
    """In a folder that is there, by a name that says what it is. Raises Conflict, Missing."""
    place = to.expanduser().absolute()
    if place.is_dir():
        place /= f"{model.name}-merged" if form == "merged" else f"{model.name}-{form.replace('gguf-', '')}.gguf"
    if place.exists():
        raise Conflict(f"{place} is there already; name another place, or delete it")
    if not place.parent.is_dir():
        raise Missing(f"there is no folder {place.parent}")
    return place


def _base(model: ModelEntry) -> Path:
    """By its digest: a town may call another one by that name now."""
    from gtftd.training.bases import cache_folder, read_base

    cache = cache_folder()
    if not (cache / model.base_digest).is_dir():
        raise Missing(
            f"the base of {model.name}, {model.base_model} {model.base_digest[:12]}, is not in the cache {cache}; "
            f"`{show.program()} base add {model.base_model}` brings it back"
        )
    return read_base(cache, model.base_digest).folder


def _adapters(registry: Registry, model: ModelEntry) -> tuple[str, ...]:
    """The adapter of a task lies on that of its role."""
    below = (_adapter(registry.model(model.parent)),) if model.kind == "task" and model.parent else ()
    return (*below, _adapter(model))


def _adapter(model: ModelEntry) -> str:
    if model.artifact_path is None:
        raise Refused(f"{model.name} was pruned: its adapter is gone")
    if not (Path(model.artifact_path) / "adapter_config.json").is_file():
        raise Refused(f"{model.name} is no PEFT adapter: {model.artifact_path} is what there is of it")
    return model.artifact_path


def _checked(record: ExportRecord) -> str:
    check = record.check
    return (
        f"in {check.engine} {check.divergence:.2g} nats a token from the model, the same first token at "
        f"{check.same_first} of {check.sure} places"
    )
