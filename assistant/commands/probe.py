"""`prima probe`: what can be read off an encoder's frozen features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from assistant.commands.evaluate import AsJson, CacheFolder, Draws, EncoderFolder, FirstSeed, Phantoms, Processes, Seed, Studies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assistant.evaluate.cohort import Member
    from assistant.evaluate.metrics import Floats
    from assistant.labelled import Labelled

KINDS, FEATURES = ("class", "number"), ("pooled", "embedding")
FROM_FILES = ("age", "sex")  # where the list is silent, so not known before the files are read
KNOWN = ("age", "sex", "vendor", "field_strength", "priority", "site", "main")  # where they are told


def probe(
    manifest: Annotated[
        Path | None, typer.Option("--from", help="CSV: path, the column asked for, and if known patient (or labels, for a diagnosis).")
    ] = None,
    column: Annotated[str, typer.Option(help="A column of the list, one of age, sex, vendor, priority ..., or a diagnosis.")] = "",
    studies: Studies = None,
    phantoms: Phantoms = 0,
    first_seed: FirstSeed = 90210,
    encoder: EncoderFolder = None,
    cache: CacheFolder = None,
    kind: Annotated[str | None, typer.Option(help="class or number; unless told, number where the cells are many numbers.")] = None,
    features: Annotated[str, typer.Option(help="pooled (the study's registers) or embedding (the CLIP space).")] = "pooled",
    mlp: Annotated[bool, typer.Option("--mlp", help="One hidden layer in place of a linear map.")] = False,
    controls: Annotated[int, typer.Option(min=30, help="Studies shown as noise; there is no result without them.")] = 100,
    processes: Processes = None,
    draws: Draws = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Ridge or logistic regression (or one hidden layer) on frozen features, cross-validated by patient, beside its floors."""
    import json
    from dataclasses import asdict

    from assistant.commands.evaluate import Source
    from assistant.errors import UsageError
    from assistant.evaluate.cohort import NOISE
    from assistant.evaluate.probe import probe as probed
    from assistant.evaluate.probe import target
    from assistant.evaluate.telling import told_probe

    for name, value, allowed in (("--kind", kind or "class", KINDS), ("--features", features, FEATURES)):
        if value not in allowed:
            raise UsageError(f"{name}: expected {' or '.join(allowed)}, found {value!r}.")
    if not column:
        raise UsageError(f"What is to be read off? Give --column: a column of the list, a diagnosis, or {', '.join(KNOWN)}.")
    source = Source(studies, manifest, phantoms, first_seed, processes)
    labelled = source.labelled(cache)
    listed = _cells(manifest, column) if manifest else {}
    known = [one for one in labelled if column in FROM_FILES or _cell(one, column, listed) is not None]
    if not known:
        raise UsageError(f"--column {column}: expected cells with content, found none; is there such a column, or such a diagnosis?")
    if column not in FROM_FILES:
        target(column, [_cell(one, column, listed) or "" for one in known], kind)  # a wrong column is found before an hour of encoding
    cohort = source.cohort(known, encoder, cache, vectors=True, controls=controls, kinds=(NOISE,), seed=seed)
    asked = _Asked(column, listed, features)
    members = [member for member in cohort.members if asked.cell(member) is not None]
    if not members:
        raise UsageError(f"--column {column}: expected cells with content, found none; neither the list nor the files say it.")
    place = {member.files: number for number, member in enumerate(members)}
    noisy = [member for member in cohort.controls[NOISE] if member.files in place]
    result = probed(
        asked.features_of(members),
        asked.features_of(noisy),
        target(column, [asked.cell(member) or "" for member in members], kind),
        [member.patient for member in members],
        encoder=cohort.encoder,
        noisy=[place[member.files] for member in noisy],
        mlp=mlp,
        draws=draws,
        seed=seed,
        left_out=len(labelled) - len(members),
        skipped=cohort.skipped,
    )
    print(json.dumps(asdict(result), allow_nan=False) if as_json else told_probe(result))


class _Asked(NamedTuple):
    """What is read off, and from which features."""

    column: str
    listed: Mapping[Path, str]
    features: str

    def cell(self, member: Member) -> str | None:
        """The study's cell; of age and sex what the files say where the list is silent."""
        said = _cell(member.labels, self.column, self.listed)
        if said is None and self.column in FROM_FILES:
            known = getattr(member.study.context, self.column)
            return None if known is None else str(known)
        return said

    def features_of(self, members: Sequence[Member]) -> Floats:
        """(n, f)."""
        import numpy as np

        pooled = self.features == "pooled"
        rows = [(member.features.registers if pooled else member.features.embedding).reshape(-1) for member in members]
        return np.array(rows, np.float64)


def _cell(one: Labelled, column: str, listed: Mapping[Path, str]) -> str | None:
    """A column of the list; else a fact of the study; else whether it has that diagnosis. None where nobody says."""
    from prompts.diagnoses import load

    if listed:
        return listed.get(one.path) or None
    if column in KNOWN:
        said = (one.main or "normal" if one.diagnoses is not None else None) if column == "main" else getattr(one, column)
        return None if said is None else str(said)
    if column in load() and one.diagnoses is not None:
        return "yes" if column in one.diagnoses else "no"
    return None


def _cells(manifest: Path, column: str) -> dict[Path, str]:
    """The cells of a column by study; nothing where the list has no such column."""
    from assistant.table import read_table

    asked = column.strip().lower().replace(" ", "_")
    return {manifest.parent / row["path"]: row[asked] for row in read_table(manifest).rows if asked in row and row.get("path")}
