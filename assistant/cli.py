"""The command `prima`: one verb a file in assistant/commands, errors as one message and exit code 2."""

from __future__ import annotations

import os
import sys

import typer

# No telemetry and no tracing, whatever the user's other tools have switched on.
for _name, _value in {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ[_name] = _value

app = typer.Typer(
    name="prima",
    help="Reporting assistant for brain MRI. Research use only; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _register() -> None:
    from assistant.commands import (
        calibrate,
        convert,
        demo,
        doctor,
        encode,
        evaluate,
        explain,
        index,
        label,
        phantom,
        probe,
        read,
        report,
        serve,
        summarise,
        train,
    )

    for verb in (read, report, encode, explain, phantom, convert, calibrate, label, summarise, probe, demo, serve, doctor):
        name = verb.__name__.rpartition(".")[2]
        app.command(name)(getattr(verb, name))
    app.add_typer(index.app, name="index", help="Build, search and verify an index of prior reports.")
    app.add_typer(evaluate.app, name="evaluate", help="Judge an encoder on labelled studies, beside its controls.")
    app.add_typer(train.app, name="train", help="Train the encoder, the language model and its adapter.")


_register()


def _expected() -> tuple[type[Exception], ...]:
    from assistant.errors import AssistantError
    from encoder.errors import EncoderError
    from index.errors import IndexStoreError
    from phantom.errors import PhantomError

    return AssistantError, EncoderError, IndexStoreError, PhantomError


def main() -> None:
    """Run `prima`; typed errors become one message on stderr and exit code 2."""
    try:
        app()
    except SystemExit:
        raise  # before the next line, which imports the packages to know their errors
    except _expected() as error:
        print(f"prima: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(141)  # the reader of a pipe went away
    except KeyboardInterrupt:
        print("prima: stopped", file=sys.stderr)
        sys.exit(130)
