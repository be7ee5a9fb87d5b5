"""`prima convert`: released Prima checkpoints to a folder that `prima encode --encoder` opens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[Path, typer.Argument(help="The pickled full model, or the official json that names its component files.")],
    tokenizer: Annotated[Path, typer.Argument(help="The tokenizer's state dict (vqvae_model_*.pth).")],
    config: Annotated[Path, typer.Option("--config", help="The official tokenizer_config.json: the tokenizer's sizes.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; new or empty.")],
    text_tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Hugging Face folder of the text tower's tokenizer.")] = None,
    half_heads: Annotated[
        bool, typer.Option("--half-heads", help="Store the heads as float16: half the size, right to about 1e-3.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Convert released Prima weights to safetensors. Nothing in the files is run; a file that tries to is refused."""
    from encoder.convert import convert as convert_release

    print(f"Converting {source} ...", file=sys.stderr)
    digest = convert_release(source, tokenizer, config, out, text_tokenizer, half_heads)
    text = str(out / "text") if text_tokenizer else None
    if as_json:
        print(json.dumps({"encoder": str(out), "sha256": digest, "text": text}))
        return
    print(f"Wrote {out} (encoder {digest[:12]}). Try: prima encode STUDY --encoder {out} --json")
    if text is None:
        print("The text tower was left behind; give --tokenizer DIR to convert it too.", file=sys.stderr)
