"""`prima train`: what makes the shipped weights, as one command or stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Root = Annotated[Path, typer.Option(help="Where stages keep their results; a killed run resumes from here.")]
Minutes = Annotated[float | None, typer.Option(help="Time to train for; None = as for the shipped weights.")]


@app.command()
def demo(root: Root = Path("runs"), out: Annotated[Path | None, typer.Option(help="None = into the packages.")] = None) -> None:
    """Train everything that ships, from nothing: phantoms, tokenizer, encoder, index, language model, adapter."""
    from assistant.train.demo import Recipe, train_demo

    train_demo(Recipe(), root, out)


@app.command()
def lm(out: Path, minutes: Minutes = None) -> None:
    """Train the small language model and its tokenizer on report language."""
    from assistant.train.lm import LMConfig, train_lm

    print(train_lm(out, LMConfig() if minutes is None else LMConfig(minutes=minutes)))


@app.command()
def adapter(
    out: Path,
    features: Annotated[Path, typer.Option(help="Folder with features.safetensors and features.json of the encoder in use.")],
    base: Annotated[str | None, typer.Option(help="Language model, name or folder; None = the shipped one.")] = None,
    minutes: Minutes = None,
) -> None:
    """Train the LoRA adapter and the conditioner on a frozen language model."""
    from assistant.train.adapter import AdapterConfig, train_adapter

    print(train_adapter(out, features, AdapterConfig() if minutes is None else AdapterConfig(minutes=minutes), base=base))
