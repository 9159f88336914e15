"""The commands of gtftctl, put together. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import typer

from gtftd.ctl import (
    base,
    config,
    corpus,
    emit,
    events,
    hooks,
    job,
    model,
    orders,
    parked,
    prime,
    rag,
    reading,
    records,
    run,
    shell_init,
    town,
    train,
)

app = typer.Typer(
    name="gtftctl",
    help="Look after gtftd, the fine-tuning daemon of Gas Town.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
reading.register(app)
orders.register(app)
run.register(app)
emit.register(app)
events.register(app)
shell_init.register(app)
app.add_typer(parked.app, name="parked")
app.add_typer(corpus.app, name="corpus")
app.add_typer(model.app, name="model")
app.add_typer(base.app, name="base")
app.add_typer(train.app, name="train")
app.add_typer(job.app, name="job")
app.add_typer(records.app, name="records")
app.add_typer(rag.app, name="rag")
app.add_typer(prime.app, name="prime")
app.add_typer(hooks.app, name="hooks")
app.add_typer(town.app, name="town")
app.add_typer(config.app, name="config")
