"""`prima train`: a hospital's own encoder from its studies (docs/TRAINING.md), and what makes the shipped weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from assistant.train.site.stages import Request
    from encoder.precision import Asked

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Root = Annotated[Path, typer.Option(help="Where stages keep their results; a killed run resumes from here.")]
Minutes = Annotated[float | None, typer.Option(help="Time to train for; None = as for the shipped weights.")]

Manifest = Annotated[Path, typer.Argument(help="CSV or Parquet: path, report, labels, patient ... of each study.", show_default=False)]
Work = Annotated[Path, typer.Option(help="Folder of caches, runs and results; the same for the three commands. A killed run resumes.")]
Config = Annotated[str, typer.Option(help="tiny, prima, or a json file like theirs.")]
Device = Annotated[str | None, typer.Option(help="cuda or cpu; cuda where there is one unless told.")]
Precision = Annotated[str, typer.Option(help="float32, bfloat16 (mixed precision), or auto: the latter where it pays.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that read studies; 0 = the training process itself.")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin this stage anew; without it a run goes on from its checkpoint.")]
Licence = Annotated[str | None, typer.Option(help="For the model card.")]


@app.command()
def tokenizer(
    manifest: Manifest,
    work: Work = Path("training"),
    config: Config = "tiny",
    device: Device = None,
    precision: Precision = "auto",
    workers: Workers = 0,
    licence: Licence = None,
    restart: Restart = False,
) -> None:
    """Train the tokenizer (VQ-VAE) on a hospital's studies."""
    with _asked(manifest, work, config, device, precision, workers, licence, restart) as tell:
        from assistant.train.site.stages import train_tokenizer

        tell(train_tokenizer)


@app.command()
def encoder(
    manifest: Manifest,
    work: Work = Path("training"),
    config: Config = "tiny",
    text_tower: Annotated[Path | None, typer.Option(help="Begin with this text model (Hugging Face or sentence-transformers).")] = None,
    start: Annotated[Path | None, typer.Option("--encoder", help="Begin with these weights, tokenizer included.")] = None,
    device: Device = None,
    precision: Precision = "auto",
    workers: Workers = 0,
    licence: Licence = None,
    restart: Restart = False,
) -> None:
    """Train the encoder on a hospital's studies and reports (CLIP)."""
    with _asked(manifest, work, config, device, precision, workers, licence, restart) as tell:
        from assistant.train.site.stages import train_encoder

        tell(lambda request: train_encoder(request, text_tower, start))


@app.command()
def heads(
    manifest: Manifest,
    work: Work = Path("training"),
    config: Config = "tiny",
    start: Annotated[Path | None, typer.Option("--encoder", help="The frozen encoder; the work folder's own unless told.")] = None,
    device: Device = None,
    precision: Precision = "auto",
    workers: Workers = 0,
    licence: Licence = None,
    restart: Restart = False,
) -> None:
    """Train diagnosis, referral and priority heads on the frozen encoder."""
    with _asked(manifest, work, config, device, precision, workers, licence, restart) as tell:
        from assistant.train.site.stages import train_heads

        tell(lambda request: train_heads(request, start))


@contextmanager
def _asked(
    manifest: Path, work: Path, config: str, device: str | None, precision: str, workers: int, licence: str | None, restart: bool
) -> Iterator[Callable[[Callable[[Request], Path]], None]]:
    """Join the other processes; gives a function that runs a stage and tells where its result lies."""
    from assistant.train.site.card import NOT_STATED
    from assistant.train.site.config import load_config
    from assistant.train.site.processes import start, stop
    from assistant.train.site.stages import Request

    settings = load_config(config)
    processes = start(device, cast("Asked", precision))
    request = Request(manifest, work, settings, processes, workers, licence or NOT_STATED, restart)

    def tell(stage: Callable[[Request], Path]) -> None:
        out = stage(request)
        if processes.first:
            print(out)
            print("metrics, plots and excluded.csv: " + str(work / "runs"), file=sys.stderr)

    try:
        yield tell
    except BaseException:
        stop(failed=True)
        raise
    stop()


@app.command()
def demo(
    root: Root = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="None = into the packages.")] = None,
    start: Annotated[Path | None, typer.Option("--encoder", help="Begin with these weights, tokenizer and text tower included.")] = None,
) -> None:
    """Train everything that ships, from nothing: phantoms, tokenizer, encoder, index, language model, adapter."""
    from assistant.train.demo import Recipe, train_demo

    train_demo(Recipe(), root, out, start)


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
