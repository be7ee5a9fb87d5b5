"""What can be read off an encoder's frozen features with a linear map, or one hidden layer: a class, or a number.

Studies of one patient stand in one fold. The penalty is chosen inside the training folds alone (nested), so that nothing of the held-out
fold is in the choice. Beside every result: the same with shuffled targets, with noise for images, and without any features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from assistant.errors import UsageError
from assistant.evaluate import metrics
from assistant.evaluate.evaluation import NOTICE
from assistant.evaluate.intervals import LEVEL, Bootstrap, Estimate, Measure
from assistant.evaluate.logistic import fit, stratified_folds
from assistant.evaluate.metrics import Floats, Ints

FOLDS, INNER = 5, 3
FEWEST_STUDIES, FEWEST_OF_A_CLASS = 30, 5
PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)  # of the linear probes, on columns of unit spread
DECAYS = (1e-2, 1.0, 10.0)  # weight decay of the hidden layer's probe
HIDDEN, STEPS, RATE = 32, 150, 1e-2
SHUFFLES, FEW_SHUFFLES = 20, 5  # of the targets; few for the hidden layer, which takes longer
SHUFFLED, NO_IMAGE, NOTHING = "shuffled targets", "noise images", "no features"


@dataclass(frozen=True)
class Guess:
    """What each study is taken for, out of fold. values: (n, classes) chances, or (n, 1) numbers. ranks: the same, within the fold."""

    values: Floats
    ranks: Floats
    penalties: tuple[float, ...] = ()


# (features to fit on (m, f), their targets (m, c), features to predict (q, f), penalty) -> (q, c); one output a class, or one number
Fit = Callable[[Floats, Floats, Floats, float], Floats]


@dataclass(frozen=True)
class Target:
    """What is to be read off: (n,) numbers; or class numbers with their names, in order of `names`."""

    column: str
    values: Floats
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> bool:
        """Whether it is a class, and not a number."""
        return bool(self.names)


@dataclass(frozen=True)
class Floor:
    """The measures where there is nothing to read.

    better_than_chance: an interval lies on the better side of what no features give, and the figure beyond what shuffled targets give.
    """

    studies: int
    figures: Mapping[str, Estimate]
    better_than_chance: bool


@dataclass(frozen=True)
class Probe:
    """What `probe` found, out of fold. kind: class or number. penalties: chosen in each fold. counts: studies of each class.

    floors: shuffled targets (mean and spread over shuffles), noise images, no features: always all three.
    less: the result less "no features", paired.
    """

    column: str
    kind: str
    method: str
    encoder: str
    studies: int
    patients: int
    features: int
    penalties: tuple[float, ...]
    counts: Mapping[str, int]
    figures: Mapping[str, Estimate]
    floors: Mapping[str, Floor]
    less: Mapping[str, Estimate]
    left_out: int
    seed: int
    draws: int
    skipped: tuple[tuple[str, str], ...] = ()
    notice: str = field(default=NOTICE)

    def __post_init__(self) -> None:
        if set(self.floors) != {SHUFFLED, NO_IMAGE, NOTHING}:
            raise UsageError(f"A probe is told beside its three floors only; found {sorted(self.floors)}.")


def target(column: str, said: Sequence[str], kind: str | None = None) -> Target:
    """Cells of a column as classes or numbers. kind: class, number, or None = number where all cells are and there are more than ten.

    Raises UsageError for cells that are no numbers, and for classes too small to be told.
    """
    numbers = [_number(cell) for cell in said]
    told = [number for number in numbers if number is not None]
    if kind == "number" or (kind is None and len(told) == len(said) and len(set(told)) > 10):
        if len(told) < len(said):
            wrong = next(cell for cell, number in zip(said, numbers, strict=True) if number is None)
            raise UsageError(f"--column {column}: expected numbers, found {wrong!r}; say --kind class if it is one.")
        return Target(column, np.array(told, np.float64))
    names = tuple(sorted(set(said)))
    counts = {name: list(said).count(name) for name in names}
    if len(names) < 2 or (rare := [name for name, count in counts.items() if count < FEWEST_OF_A_CLASS]):
        why = f"{', '.join(rare)} have fewer than {FEWEST_OF_A_CLASS}" if len(names) > 1 else "all are the same"
        raise UsageError(f"--column {column}: expected two classes or more of {FEWEST_OF_A_CLASS} studies or more; {why}.")
    return Target(column, np.array([names.index(cell) for cell in said], np.float64), names)


def probe(
    features: Floats,
    noise: Floats,
    wanted: Target,
    patients: Sequence[str],
    *,
    encoder: str,
    noisy: Sequence[int],
    mlp: bool = False,
    draws: int = 1000,
    seed: int = 0,
    left_out: int = 0,
    skipped: tuple[tuple[str, str], ...] = (),
) -> Probe:
    """Cross-validated figures with their floors.

    features: (n, f). noise: (m, f) features of noise images of the studies `noisy`. Raises UsageError where there are too few.
    """
    groups = np.unique(np.array(patients), return_inverse=True)[1].astype(np.int64)
    if len(features) < FEWEST_STUDIES or groups.max() + 1 < 2 * FOLDS or len(noise) < FEWEST_STUDIES:
        raise UsageError(
            f"Expected {FEWEST_STUDIES} studies or more (as they are, and as noise) of {2 * FOLDS} patients or more; "
            f"found {len(features)}, {len(noise)} and {groups.max() + 1}."
        )
    guess = _out_of_fold(features, wanted, groups, mlp, seed)
    chosen = np.array(noisy, np.int64)
    part = Target(wanted.column, wanted.values[chosen], wanted.names)
    mine, nothing = measures(wanted, guess), measures(wanted, _without_features(wanted, groups, seed))
    chance = {name: float(measure(np.ones((1, len(features))))[0]) for name, measure in nothing.items()}
    who = groups[chosen]
    blind = _figures(measures(part, _out_of_fold(noise, part, who, mlp, seed)), who, draws, seed)
    dealt = _shuffled(noise, part, who, mlp, seed)  # how far chance alone goes with so few studies
    tells = any(_better(name, blind[name], chance[name]) and _beyond(name, blind[name], dealt[name]) for name in blind)
    floors = {
        SHUFFLED: Floor(len(features), _shuffled(features, wanted, groups, mlp, seed), False),
        NO_IMAGE: Floor(len(noise), blind, tells),
        NOTHING: Floor(len(features), _figures(nothing, groups, draws, seed), False),
    }
    differences: dict[str, Measure] = {title: lambda w, t=title: mine[t](w) - nothing[t](w) for title in mine}  # type: ignore[misc]
    return Probe(
        wanted.column,
        "class" if wanted.classes else "number",
        "one hidden layer" if mlp else "logistic" if wanted.classes else "ridge",
        encoder,
        len(features),
        int(groups.max()) + 1,
        features.shape[1],
        guess.penalties,
        {name: int((wanted.values == k).sum()) for k, name in enumerate(wanted.names)},
        _figures(mine, groups, draws, seed),
        floors,
        _figures(differences, groups, draws, seed),
        left_out,
        seed,
        draws,
        skipped,
    )


def measures(wanted: Target, guess: Guess) -> dict[str, Measure]:
    """Of a class: AUROC (averaged over classes against the rest), accuracy, macro-F1; of a number: MAE, R2."""
    guessed = guess.values
    truth = wanted.values
    if not wanted.classes:
        error = guessed[:, 0] - truth

        def r2(w: Floats) -> Floats:
            total = w.sum(1)
            mean = w @ truth / total
            spread: Floats = w @ truth**2 - total * mean**2
            return np.asarray(1 - (w @ error**2) / np.where(spread > 0, spread, np.nan))

        return {"MAE": lambda w: np.asarray(w @ np.abs(error) / w.sum(1)), "R2": r2}
    said, is_class = guessed.argmax(1), truth[:, None] == np.arange(len(wanted.names))
    columns = [1] if len(wanted.names) == 2 else list(range(len(wanted.names)))

    def f1(w: Floats) -> Floats:
        called = said[:, None] == np.arange(len(wanted.names))
        hit, held, made = (w @ np.asarray(a, np.float64) for a in (is_class & called, is_class, called))
        each = np.divide(2 * hit, held + made, out=np.zeros_like(hit), where=held + made > 0)
        return np.asarray(each.mean(1))

    return {
        "AUROC": lambda w: metrics.mean_auroc(is_class[:, columns], guess.ranks[:, columns], w),
        "accuracy": lambda w: np.asarray(w @ (said == truth).astype(np.float64) / w.sum(1)),
        "macro-F1": f1,
    }


def grouped_folds(groups: Ints, strata: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """Fold of each study; all of a patient in one, and every stratum (of a patient's first study) spread over the folds. (n,) -> (n,)."""
    _, first = np.unique(groups, return_index=True)
    return stratified_folds(strata[first], folds, rng)[groups]


def _out_of_fold(features: Floats, wanted: Target, groups: Ints, mlp: bool, seed: int) -> Guess:
    """What each study is taken for by a probe that saw no study of its patient."""
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    fits: Fit = _hidden(seed, wanted.classes) if mlp else _logistic if wanted.classes else _ridge
    goal = (wanted.values[:, None] == np.arange(len(wanted.names))).astype(np.float64) if wanted.classes else wanted.values[:, None]
    rng = np.random.default_rng(seed)
    folds = grouped_folds(groups, _strata(wanted), FOLDS, rng)
    guessed, penalties = np.zeros_like(goal), []
    for fold in range(FOLDS):
        held, rest = folds == fold, folds != fold
        inner = grouped_folds(np.unique(groups[rest], return_inverse=True)[1].astype(np.int64), _strata(wanted)[rest], INNER, rng)
        options = DECAYS if mlp else PENALTIES
        losses = [_loss(fits, features[rest], goal[rest], inner, penalty, wanted.classes) for penalty in options]
        best = options[int(np.argmin(losses))]
        penalties.append(best)
        guessed[held] = _predicted(fits, features[rest], goal[rest], features[held], best)
    return Guess(guessed, _ranked(guessed, folds), tuple(penalties))


def _shuffled(features: Floats, wanted: Target, groups: Ints, mlp: bool, seed: int) -> dict[str, Estimate]:
    """The mean over shuffles of the targets, and between what 95 % of them lie: how far chance alone goes, refits and all."""
    rng, found = np.random.default_rng([seed, 1]), []
    for _ in range(FEW_SHUFFLES if mlp else SHUFFLES):
        other = Target(wanted.column, rng.permutation(wanted.values), wanted.names)
        guess = _out_of_fold(features, other, groups, mlp, seed)
        found.append({name: float(measure(np.ones((1, len(features))))[0]) for name, measure in measures(other, guess).items()})
    spread = {name: [each[name] for each in found] for name in found[0]}
    ends = {name: np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) for name, values in spread.items()}
    return {
        name: Estimate(float(np.mean(values)), float(ends[name][0]), float(ends[name][1]), len(features)) for name, values in spread.items()
    }


def _ranked(chances: Floats, folds: Ints) -> Floats:
    """Ranks within the fold, 0 to 1: the intercepts of different fits are no information (as in `logistic.out_of_fold`)."""
    result = np.zeros_like(chances)
    for fold in np.unique(folds):
        rows = folds == fold
        result[rows] = np.stack([rankdata(column) / (rows.sum() + 1) for column in chances[rows].T], axis=1)
    return result


def _loss(fits: Fit, features: Floats, goal: Floats, folds: Ints, penalty: float, classes: bool) -> float:
    total = 0.0
    for fold in np.unique(folds):
        held = folds == fold
        guess = _predicted(fits, features[~held], goal[~held], features[held], penalty)
        if classes:
            total -= float((goal[held] * np.log(np.clip(guess, 1e-6, 1))).sum())
        else:
            total += float(((goal[held] - guess) ** 2).sum())
    return total


def _predicted(fits: Fit, known: Floats, goal: Floats, asked: Floats, penalty: float) -> Floats:
    """Standardised by what is fitted on, and turned into the space that those studies span: the same fit, in fewer columns."""
    centre, spread = known.mean(0), known.std(0)
    spread = np.where(spread > 1e-9, spread, np.inf)
    x, q = (known - centre) / spread, (asked - centre) / spread
    if x.shape[1] > len(x):
        axes = np.linalg.svd(x, full_matrices=False)[2]
        x, q = x @ axes.T, q @ axes.T
    return fits(x, goal, q, penalty)


def _ridge(x: Floats, goal: Floats, q: Floats, penalty: float) -> Floats:
    middle = goal.mean(0)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (goal - middle))
    return np.asarray(q @ weights + middle)


def _logistic(x: Floats, goal: Floats, q: Floats, penalty: float) -> Floats:
    """One class against the rest each, made to sum to one."""
    columns = goal.T[1:] if goal.shape[1] == 2 else goal.T
    raw = [q @ (w := fit(x, column.astype(bool), penalty))[:-1] + w[-1] for column in columns]
    chance = 1 / (1 + np.exp(-np.clip(np.array(raw).T, -30, 30)))
    if goal.shape[1] == 2:
        return np.column_stack([1 - chance[:, 0], chance[:, 0]])
    return np.asarray(chance / chance.sum(1, keepdims=True))


def _hidden(seed: int, classes: bool) -> Fit:
    """One hidden layer, fitted by Adam with weight decay, all studies at once."""

    def fits(x: Floats, goal: Floats, q: Floats, decay: float) -> Floats:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.GELU(), torch.nn.Linear(HIDDEN, goal.shape[1]))
        middle, scale = goal.mean(0), np.maximum(goal.std(0), 1e-9)
        known = torch.from_numpy(x.astype(np.float32))
        aim = torch.from_numpy((goal if classes else (goal - middle) / scale).astype(np.float32))
        steps = torch.optim.AdamW(net.parameters(), RATE, weight_decay=decay)
        for _ in range(STEPS):
            steps.zero_grad()
            out = net(known)
            loss = torch.nn.functional.cross_entropy(out, aim) if classes else torch.nn.functional.mse_loss(out, aim)
            loss.backward()  # type: ignore[no-untyped-call]
            steps.step()
        with torch.no_grad():
            out = net(torch.from_numpy(q.astype(np.float32)))
            told: NDArray[np.float64] = (out.softmax(1) if classes else out).numpy().astype(np.float64)
        return told if classes else told * scale + middle

    return fits


def _without_features(wanted: Target, groups: Ints, seed: int) -> Guess:
    """The shares of the classes, or the mean, of the other folds."""
    folds = grouped_folds(groups, _strata(wanted), FOLDS, np.random.default_rng(seed))
    others = [wanted.values[folds != fold] for fold in range(FOLDS)]
    told = [[(rest == k).mean() for k in range(len(wanted.names))] if wanted.classes else [rest.mean()] for rest in others]
    values = np.array(told, np.float64)[folds]
    return Guess(values, np.full_like(values, 0.5))


def _strata(wanted: Target) -> Ints:
    """Classes; or fifths of a number."""
    if wanted.classes:
        return wanted.values.astype(np.int64)
    return np.asarray(rankdata(wanted.values, method="ordinal") * 5 // (len(wanted.values) + 1), np.int64)


def _figures(made: Mapping[str, Measure], groups: Ints, draws: int, seed: int) -> dict[str, Estimate]:
    """Each measure with its interval: patients are drawn, with all their studies."""
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    whole = Bootstrap(int(groups.max()) + 1, draws, seed)
    drawn = {name: whole(lambda w, m=measure: m(w[:, groups])) for name, measure in made.items()}  # type: ignore[misc]
    return {name: replace(figure, studies=len(groups)) for name, figure in drawn.items()}


def _better(title: str, figure: Estimate, chance: float) -> bool:
    if figure.low is None or figure.high is None:
        return False
    return figure.high < chance if title == "MAE" else figure.low > chance


def _beyond(title: str, figure: Estimate, spread: Estimate) -> bool:
    """Whether a figure is better than what shuffled targets reach."""
    if figure.value is None or spread.low is None or spread.high is None:
        return False
    return figure.value < spread.low if title == "MAE" else figure.value > spread.high


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
