"""The three trainings, each from a manifest to a folder of weights with a card.

Below the work folder: cache/ (tokens and latents of each study), runs/<stage>/ (checkpoint, metrics.csv, metrics.svg, excluded.csv),
tokenizer/, encoder/ and prima/ (results; the last two are what `--encoder` takes everywhere).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from assistant.errors import UsageError
from assistant.train.site.cache import (
    CachedStudy,
    CutStudy,
    Exclusion,
    Keep,
    fill,
    key_of,
    opened,
    some_tokens,
    spec_key,
    split,
    write_excluded,
)
from assistant.train.site.card import CARD, Card, counts, figures_of
from assistant.train.site.config import TrainConfig
from assistant.train.site.loop import Learner, Progress, Run, train
from assistant.train.site.manifest import Entry, read_manifest
from assistant.train.site.processes import Processes
from encoder.config import EncoderConfig
from encoder.errors import WeightsError
from encoder.networks import Towers
from encoder.tokenizer import VQVAE
from encoder.weights import Entry as Tensors
from encoder.weights import load_strictly, read_weights, write_weights

TOKENIZER = "tokenizer.safetensors"


@dataclass(frozen=True)
class Request:
    """What one command was asked. restart: begin the stage anew, whatever checkpoint it has left."""

    manifest: Path
    work: Path
    config: TrainConfig
    processes: Processes
    workers: int
    licence: str
    restart: bool = False

    def result(self, name: str) -> Path:
        """The folder that a result will take, in place of an earlier one. Raises UsageError where something else lies there."""
        folder = self.work / name
        if folder.exists() and not (folder / CARD).is_file():
            raise UsageError(f"{folder}: expected an earlier result (with {CARD}) or nothing, found something else; give another --work.")
        return folder

    def run(self, stage: str, fingerprint: Mapping[str, Any]) -> Run:
        """The stage's run folder, emptied where it begins anew."""
        folder = self.work / "runs" / stage
        if self.restart and self.processes.first:
            shutil.rmtree(folder, ignore_errors=True)
        self.processes.together(None)
        folder.mkdir(parents=True, exist_ok=True)
        return Run(folder, key_of(fingerprint, self.config.seed), self.config.seed, self.config.save_minutes, stage)


@dataclass(frozen=True)
class Corpus:
    """Studies on both sides of the split, and those left out."""

    training: tuple[CachedStudy, ...]
    validation: tuple[CachedStudy, ...]
    excluded: tuple[Exclusion, ...]

    @property
    def key(self) -> str:
        """Changes with any study, its text, labels or side."""
        return key_of([[(one.file.name, asdict(one.entry)) for one in side] for side in (self.training, self.validation)])


def train_tokenizer(request: Request) -> Path:
    """The VQ-VAE; returns the folder with tokenizer.safetensors."""
    from assistant.train.site.tokenizer import TokenizerLearner

    config, processes, out = request.config, request.processes, request.result("tokenizer")
    entries = read_manifest(request.manifest)
    keep = partial(_values, count=config.tokenizer.tokens_a_study)
    folder = request.work / "cache" / f"tokens-{spec_key(config.network.patch)}-{config.tokenizer.tokens_a_study}"
    corpus = _corpus(request, entries, folder, keep)
    torch.manual_seed(config.seed)
    network = VQVAE(config.network.tokenizer)
    learner = TokenizerLearner(network, corpus.training, corpus.validation, config.tokenizer, config.seed, processes)
    fingerprint = _fingerprint(request, corpus, config.tokenizer, config.network.tokenizer)
    progress = _trained(learner, config.tokenizer.schedule, request.run("tokenizer", fingerprint), corpus, processes)
    if processes.first:
        sizes = {"tokenizer": asdict(config.network.tokenizer), "patch": asdict(config.network.patch)}
        card = _card(request, "tokenizer", corpus, progress, {}, {"training": asdict(config.tokenizer), **sizes})

        def write(draft: Path) -> None:
            write_weights(draft / TOKENIZER, {name: tensor.cpu() for name, tensor in network.state_dict().items()})
            (draft / "config.json").write_text(json.dumps(sizes, indent=1) + "\n")
            card.write(draft)

        _replaced(out, write)
    processes.together(None)
    return out


def train_encoder(request: Request, text_tower: Path | None = None, start: Path | None = None) -> Path:
    """Name encoder, then towers against reports; returns a folder that `Encoder.load` opens (embeddings, no scores), text tower in text/.

    text_tower: where it begins. start: a folder of released or trained weights to begin with, tokenizer included.
    """
    from assistant.train.site.clip import ClipLearner, Pair
    from assistant.train.site.sampling import Studies
    from assistant.train.site.text_tower import begin_text_tower, open_text_tower
    from assistant.train.text_tower import save_text_tower

    out = request.result("encoder")
    entries = read_manifest(request.manifest, reports=True)
    towers, network, sources = _towers(request, start)
    config, processes = replace(request.config, network=network), request.processes
    corpus = _latents(request, entries, towers, network, sources["tokenizer"])
    training, validation = (Studies(side, config.clip, config.seed, processes.device) for side in (corpus.training, corpus.validation))
    for schedule in (config.names.schedule, config.clip.schedule):  # too few studies for a step: better told now than after hours
        training.drawn(0, schedule.batch * schedule.accumulate * processes.size)
    step = config.clip.schedule.batch * config.clip.schedule.accumulate * processes.size
    if min(step, len(corpus.validation)) < 2:
        raise UsageError(
            f"Expected two studies or more in a step and for validation, since one alone cannot be mistaken for another; "
            f"found {step} and {len(corpus.validation)}."
        )
    fingerprint = _fingerprint(request, corpus, config.clip, config.names, config.text, config.network, sources, str(text_tower))
    run = request.run("encoder", fingerprint)
    if start is None and config.names.schedule.steps:
        _names(request, config, corpus, towers, fingerprint)
    source, width = _text_source(text_tower, start), config.network.study.out
    # Named by what it is made of: a run that was killed before its first checkpoint may be given another tower.
    seed_tower = run.folder / f"text-{key_of(asdict(config.text), width, source, corpus.key)}"
    torch.manual_seed(config.seed)  # whatever ran before, or was already done
    if processes.first:
        reports = [one.entry.report for one in corpus.training]
        begin_text_tower(seed_tower, config.text, reports, width, source)
    processes.together(None)
    torch.manual_seed(config.seed)
    pair = Pair(towers, open_text_tower(seed_tower))
    progress = _trained(ClipLearner(pair, training, validation, config.clip, processes), config.clip.schedule, run, corpus, processes)
    if processes.first:
        settings = {name: asdict(getattr(config, name)) for name in ("clip", "names", "text", "network")}
        began = {**sources, **({"text_tower": text_tower.name} if text_tower else {})}  # a card holds no path
        card = _card(request, "encoder", corpus, progress, began, settings, ("No heads: `prima train heads` adds scores.",))

        def also(draft: Path) -> None:
            save_text_tower(pair.text.cpu(), draft / "text")
            card.write(draft)

        _release(out, network, towers, {}, [], [], card, also)
    processes.together(None)
    return out


def train_heads(request: Request, start: Path | None = None) -> Path:
    """Heads on the frozen encoder; returns a folder that `Encoder.load` opens, with scores. start: None = the work folder's encoder."""
    from assistant.train.site.heads import Heads, HeadsLearner, columns_of, knows_priority, labelled, pooled
    from assistant.train.site.sampling import Studies
    from encoder.released import open_released

    config, processes, out = request.config, request.processes, request.result("prima")
    source = start or request.work / "encoder"
    if not (source / "prima.json").exists():
        raise UsageError(f"{source}: expected an encoder, found none; run `prima train encoder` first, or give --encoder.")
    released = open_released(source)
    towers, network = released.towers(), released.config
    entries = read_manifest(request.manifest)
    corpus = _latents(request, entries, towers, network, _digest(towers.tokenizer))
    columns, unable = columns_of(corpus.training, corpus.validation, config.heads.fewest)
    priority = knows_priority(corpus.training, corpus.validation)
    if not any(column.group == "diagnosis" for column in columns):
        reasons = "; ".join(f"{name}: {why}" for name, why in list(unable.items())[:3])
        raise UsageError(f"{request.manifest}: expected enough labels of a diagnosis on both sides of the split, found none: {reasons}.")
    training, validation = (
        labelled(side, pooled(towers, Studies(side, config.clip, config.seed, processes.device), processes), columns)
        for side in (corpus.training, corpus.validation)
    )
    torch.manual_seed(config.seed)
    run = request.run("heads", _fingerprint(request, corpus, config.heads, released.digest))
    heads = Heads(training.features.shape[1], config.heads.hidden, len(columns), priority)
    learner = HeadsLearner(heads, columns, training, validation, config.heads, run.folder / "kept", config.seed, processes)
    progress = _trained(learner, config.heads.schedule, run, corpus, processes)
    if processes.first:
        groups, shared, separate = learner.result()
        judged = {name: best for name, best in learner.best.items() if name != "priority"}
        notes = [f"{name}: AUC {best.value:.3f} on validation, step {best.step}" for name, best in judged.items()]
        notes += [f"{name}: not trained ({why})" for name, why in unable.items()]
        notes.append("These AUCs are of the studies that chose step and threshold, so too good: judge on others with `prima evaluate`.")
        notes.append("Scores are logit - threshold, not calibrated: `prima calibrate` gives probabilities.")
        settings = {"heads": asdict(config.heads), "network": asdict(network)}
        card = _card(request, "heads", corpus, progress, {"encoder": released.digest}, settings, notes)

        def also(draft: Path) -> None:
            if (source / "text").is_dir():
                shutil.copytree(source / "text", draft / "text")
            card.write(draft)

        _release(out, network, towers, groups, shared, separate, card, also)
    processes.together(None)
    return out


def _values(cut: CutStudy, count: int) -> Mapping[str, Any]:
    some = some_tokens(cut, count)
    return {"values": some.values, "planes": some.planes}


def _corpus(request: Request, entries: Sequence[Entry], folder: Path, keep: Keep) -> Corpus:
    """Fill the cache, every process its share of studies, and split what there is."""
    processes = request.processes
    own = entries[processes.rank :: processes.size]
    with _counted("reading studies", len(own), processes.first) as tick:
        fill(folder, own, request.config.network.patch, keep, request.workers, tick)
    processes.together(None)
    studies, excluded = opened(folder, entries)
    return Corpus(*split(studies, request.config.validation, request.config.seed), excluded)


def _latents(request: Request, entries: Sequence[Entry], towers: Towers, network: EncoderConfig, tokenizer: str) -> Corpus:
    """Studies as latents of this tokenizer and these patch rules."""
    from assistant.train.site.latents import Tokenise

    folder = request.work / "cache" / f"latents-{spec_key(network.patch)}-{tokenizer[:12]}"
    own = replace(request, config=replace(request.config, network=network))
    return _corpus(own, entries, folder, Tokenise(towers.tokenizer, network.patch, request.processes))


def _towers(request: Request, start: Path | None) -> tuple[Towers, EncoderConfig, dict[str, str]]:
    """The towers as training finds them, with their sizes, and digests of what they began with."""
    from assistant.train.encoder import quiet_registers
    from encoder.released import open_released

    if start is not None:
        released = open_released(start)
        towers = released.towers().train()
        return towers, released.config, {"encoder": released.digest, "tokenizer": _digest(towers.tokenizer)}
    network = request.config.network
    path = request.work / "tokenizer" / TOKENIZER
    if not path.exists():
        raise UsageError(f"{path}: expected a tokenizer, found none; run `prima train tokenizer` first, or begin with --encoder.")
    said = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    if said != json.loads(json.dumps({"tokenizer": asdict(network.tokenizer), "patch": asdict(network.patch)})):
        raise UsageError(f"{path}: trained with other sizes or patch rules than --config has; give every command the same.")
    torch.manual_seed(request.config.seed)
    towers = Towers(network)
    load_strictly(towers.tokenizer, read_weights(path), path)
    quiet_registers(towers)
    return towers, network, {"tokenizer": _digest(towers.tokenizer)}


def _names(request: Request, config: TrainConfig, corpus: Corpus, towers: Towers, fingerprint: Mapping[str, Any]) -> None:
    """Pre-train the name encoder and hand it to the towers."""
    from assistant.train.site.names import NamePair, NamesLearner
    from assistant.train.site.sampling import Studies

    names = {name for side in (corpus.training, corpus.validation) for one in side for name in one.names}
    torch.manual_seed(config.seed)
    pair = NamePair(config.network, {name: k for k, name in enumerate(sorted(names))})
    told, device = replace(config.clip, name_dropout=0.0), request.processes.device
    training, validation = (Studies(side, told, config.seed, device) for side in (corpus.training, corpus.validation))
    learner = NamesLearner(pair, training, validation, config.names.schedule, request.processes)
    _trained(learner, config.names.schedule, request.run("names", fingerprint), corpus, request.processes)
    pair.cpu().hand_over(towers.name)


def _trained(learner: Learner, schedule: Any, run: Run, corpus: Corpus, processes: Processes) -> Progress:
    if processes.first:
        write_excluded(run.folder / "excluded.csv", corpus.excluded)
    return train(learner, schedule, run, processes)


def _fingerprint(request: Request, corpus: Corpus, *parts: Any) -> dict[str, Any]:
    """What a run must share with its checkpoint: settings, studies, and into how many parts a step is cut in all."""
    plain = [asdict(part) if hasattr(part, "__dataclass_fields__") else part for part in parts]
    return {"settings": plain, "corpus": corpus.key, "processes": request.processes.size}


def _card(
    request: Request,
    stage: str,
    corpus: Corpus,
    progress: Progress,
    sources: Mapping[str, str],
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Card:
    trained_on = {"manifest": request.manifest.name, **counts(corpus.training, corpus.validation, len(corpus.excluded))}
    return Card(
        stage, trained_on, sources, {**settings, "seed": request.config.seed}, progress.step, progress.best_step, figures_of(progress),
        request.licence, tuple(notes),
    )  # fmt: skip


def _release(
    out: Path,
    config: EncoderConfig,
    towers: Towers,
    groups: Mapping[str, Any],
    shared: Sequence[Tensors],
    separate: Sequence[Tensors],
    card: Card,
    also: Callable[[Path], None],
) -> None:
    """A folder in the form of converted weights (encoder/released.py), in place of earlier weights.

    What was put beside weights that are the same, a calibration say, stays beside them.
    """
    from encoder.released import HEADS, TOWERS, save_released

    own = [Tensors(name, tuple(tensor.shape), tensor.dtype, tensor.cpu) for name, tensor in towers.cpu().state_dict().items()]
    files = {TOWERS: [*own, *shared], **({HEADS: separate} if separate else {})}
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    digest = save_released(fresh, config, files, groups, card.provenance(), also)
    for beside in out.iterdir() if _holds(out, digest) else ():
        if not (fresh / beside.name).exists():
            copy = shutil.copytree if beside.is_dir() else shutil.copy2
            copy(beside, fresh / beside.name)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(fresh, out)


def _holds(folder: Path, digest: str) -> bool:
    """Whether these weights lie in a folder, undamaged."""
    from encoder.released import open_released

    try:
        return open_released(folder, verify=True).digest == digest
    except WeightsError:
        return False


def _replaced(out: Path, write: Callable[[Path], None]) -> None:
    """A folder that appears whole or not at all, in place of an earlier one."""
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write(draft)
        draft.chmod(0o755)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(draft, out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _text_source(asked: Path | None, start: Path | None) -> Path | None:
    """The tower asked for, or the one beside the weights that training starts from."""
    if asked is None and start is not None and (start / "text").is_dir():
        return start / "text"
    return asked


def _digest(tokenizer: VQVAE) -> str:
    """Of weights, wherever they lie."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(tokenizer.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _counted(what: str, total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), disable=not shown) as bars:
        task = bars.add_task(what, total=total)
        yield lambda: bars.advance(task)
