"""Training text with known truth: scenes, the evidence an encoder might give of them, and what should be written from it.

A scene is drawn from the table of diagnoses or from a phantom's truth. Its evidence is an `Evidence` like any other, so prompts are
made by the same code as in use. Targets follow the evidence: a side only with a location, a negative only with a head, a case only
where it agrees.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

import prompts
from assistant import lexicon
from assistant.chat import NOT_HERE, draft_field, history_field
from assistant.conditioner import MOST_CASES, probability, prompt_fields, shown_scores
from assistant.draft import Draft, sentences
from assistant.evidence import Evidence, sequence_keys
from assistant.result import ClaimStatus, Left
from assistant.verify import place, verify
from encoder.features import Localisation, Score, StudyFeatures
from encoder.study import Context, Plane, Series, Side, Study, Weighting
from index.case import Case, Neighbour, ReportSections
from phantom.atlas import REGIONS
from phantom.wordings import WORDINGS
from prompts import diagnoses
from prompts.diagnoses import Diagnosis, Kind

COMPETITOR = 0.15  # probability from which a diagnosis below its threshold is still worth naming
CLOSE = 0.15  # difference of probabilities within which the truth settles the order
MOST_DIFFERENTIAL = 4
MOST_DENIED = 3
MANY = frozenset(
    {
        "multiple_sclerosis",
        "small_vessel_disease",
        "diffuse_axonal_injury",
        "neurosarcoid",
        "moyamoya",
        "heterotopia",
        "intracranial_hypotension",
    }
)
TABLE = diagnoses.load()


@dataclass(frozen=True)
class Lesion:
    """One true statement about a scene; side and region None where it has none."""

    name: str
    side: Side | None
    region: str | None


@dataclass(frozen=True)
class Scene:
    """What is true of a study. lesions: main diagnosis first; empty = normal."""

    context: Context
    weightings: tuple[Weighting, ...]
    lesions: tuple[Lesion, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The taxonomy names, main first."""
        return tuple(dict.fromkeys(lesion.name for lesion in self.lesions))


# ---- scenes ---------------------------------------------------------------------------------------------------------

_ROUTINE = (Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.DWI, Weighting.T1_POST, Weighting.SWI, Weighting.ADC)
_INDICATIONS = (
    "headache", "seizures", "first seizure", "confusion", "weakness", "vomiting", "visual loss", "dizziness", "memory loss", "trauma",
    "fall", "known cancer", "follow-up", "gait disturbance", "hearing loss", "fever", "numbness", "speech disturbance", "neck pain",
)  # fmt: skip
_INCIDENTAL = (
    "small_vessel_disease",
    "arachnoid_cyst",
    "cerebral_atrophy",
    "lacunar_stroke",
    "cavernoma",
    "meningioma",
    "encephalomalacia",
)
URGENCIES = ("immediate call", "same day", "within two weeks", "routine")
_CONFUSED = {
    "edema": "mass_effect",
    "lacunar_stroke": "small_vessel_disease",
    "brain_metastasis": "high_grade_glioma",
    "ventriculomegaly": "cerebral_atrophy",
}


def imagine(rng: Random, among: Collection[str] = tuple(TABLE)) -> Scene:
    """A scene of these names of the table: one in eight normal, else a main name with what often goes with it."""
    names: list[str] = []
    if rng.random() > 0.125:
        main = TABLE[rng.choice(list(among))]
        names = [main.name, *(name for name in main.goes_with if rng.random() < 0.55)]
        if rng.random() < 0.2:
            names.append(rng.choice(_INCIDENTAL))
        names += [parent for name in names if (parent := TABLE[name].parent)]
    lesions = tuple(_lesion(TABLE[name], rng) for name in dict.fromkeys(names) if name in among)
    age = TABLE[names[0]].age if names else None
    low, high = age or (1, 90)
    sequences = [weighting for weighting in _ROUTINE if rng.random() < 0.8] or [Weighting.T2]
    if rng.random() < 0.15:
        sequences.append(rng.choice(sequences))
    rng.shuffle(sequences)
    context = Context(
        age=float(rng.randint(int(low), int(high))) if rng.random() < 0.85 else None,
        sex=rng.choice(["F", "M", None]) if rng.random() < 0.3 else rng.choice("FM"),
        indication=indication(rng),
        prior=rng.choice(["No acute finding.", "Unchanged small foci.", "Postoperative state."]) if rng.random() < 0.1 else None,
    )
    return Scene(context, tuple(sequences), lesions)


def indication(rng: Random) -> str | None:
    """Why the study was asked for, where that is known."""
    return rng.choice(_INDICATIONS) if rng.random() < 0.75 else None


def advise(scene: Scene, rng: Random) -> Advice:
    """A plausible referral: the model only repeats what it is given; the rules are elsewhere."""
    row = next((TABLE[name] for name in scene.names), None)
    if row is None or not row.referral:
        return Advice(rng.choice(["none", "low"]), "", "")
    return Advice(rng.choice([row.priority, "medium", "high"]), rng.choice(row.referral), rng.choice(URGENCIES))


def _lesion(row: Diagnosis, rng: Random) -> Lesion:
    side = Side(rng.choice(row.sides)) if row.sides else None
    region = rng.choice(row.regions if rng.random() < 0.6 else REGIONS[1:]) if row.regions else None
    return Lesion(row.name, side, region)


# ---- evidence of a scene --------------------------------------------------------------------------------------------


def observe(scene: Scene, rng: Random) -> Evidence:
    """The evidence that an imperfect encoder and index might give of a scene: blurred scores, some wrong, some heads missing."""
    heads = _heads(scene, rng)
    scores = tuple(_score(name, scene, rng) for name in heads)
    positive = {score.name for score in scores if score.score > 0}
    locations = tuple(
        Localisation(lesion.name, lesion.side or Side.MIDLINE, lesion.region or "", "", 0, (0.0, 0.0, 0.0), rng.uniform(0.4, 1.0))
        for lesion in scene.lesions
        if lesion.name in positive and lesion.side and lesion.region and rng.random() < 0.75
    )
    missing = [Left(name, "no trained head") for name in TABLE if name not in heads]
    return Evidence(study_of(scene), features_of(scores, locations), _neighbours(scene, rng), tuple(missing))


def study_of(scene: Scene) -> Study:
    """A study that has a scene's context and sequences, and no voxels."""
    empty = np.zeros((1, 1, 1), np.int16)
    series = tuple(Series(weighting.value, empty, np.eye(4), Plane.AXIAL, weighting) for weighting in scene.weightings)
    return Study("text", None, series, (), scene.context)


def features_of(scores: Sequence[Score], locations: Sequence[Localisation]) -> StudyFeatures:
    """Features that carry scores and locations only."""
    none = np.zeros((1, 1), np.float32)
    return StudyFeatures(none[0], none, none, ("",), tuple(scores), (), (), tuple(locations), None, "text")


def _heads(scene: Scene, rng: Random) -> list[str]:
    share = rng.choice([0.25, 0.5, 0.8, 1.0])
    return [name for name in TABLE if name in scene.names or rng.random() < share]


def _score(name: str, scene: Scene, rng: Random) -> Score:
    if name in scene.names:
        logit = rng.gauss(3.2 - 0.5 * scene.names.index(name), 1.6)
    elif any(_near(name, other) for other in scene.names):
        logit = rng.gauss(-2.2, 1.8)
    else:
        logit = rng.gauss(-4.5, 1.3)
    threshold = rng.gauss(0.0, 0.6)
    return Score(name, logit - threshold, 1 / (1 + math.exp(-logit)) if rng.random() < 0.97 else None)


def _near(name: str, other: str) -> bool:
    """Whether two names are often confused: one group, or a known pair."""
    return TABLE[name].group == TABLE[other].group or name in TABLE[other].goes_with or _CONFUSED.get(name) == other


def _neighbours(scene: Scene, rng: Random) -> tuple[Neighbour, ...]:
    count = rng.choice([0, 1, 2, 3, 3, 4])
    found = []
    for rank in range(1, count + 1):
        other = _like(scene, rng) if rng.random() < 0.7 else imagine(rng)
        found.append(Neighbour(case_of(other, f"case-{rank}", rng), 1 - 0.05 * rank, rank, "study embedding"))
    return tuple(found)


def _like(scene: Scene, rng: Random) -> Scene:
    """Another patient with the same names elsewhere."""
    kept = [lesion for index, lesion in enumerate(scene.lesions) if index == 0 or rng.random() < 0.7]
    return Scene(scene.context, scene.weightings, tuple(_lesion(TABLE[lesion.name], rng) for lesion in kept))


def case_of(scene: Scene, key: str, rng: Random) -> Case:
    """A prior case of a scene, with an impression in a report's words."""
    report = ReportSections(findings=findings_text(scene, rng), impression=impression_text(scene, rng))
    vector = np.zeros(1, np.float32)
    return Case(key, key, report, scene.names, None, scene.context.sex, (), None, (), vector, vector[None])


# ---- plain report language ------------------------------------------------------------------------------------------


def findings_text(scene: Scene, rng: Random) -> str:
    """Findings of a scene in a report's sentences, sizes included."""
    if not scene.lesions:
        return rng.choice(_NORMAL)
    shown = [lesion for lesion in scene.lesions if TABLE[lesion.name].kind is not Kind.PARENT or lesion.name in WORDINGS]
    return " ".join(_plain(lesion, WORDINGS[lesion.name].found if lesion.name in WORDINGS else (), rng) for lesion in shown[:5])


def impression_text(scene: Scene, rng: Random) -> str:
    """Impression of a scene in a report's sentences, numbered where there are several."""
    if not scene.lesions:
        return rng.choice(_NORMAL)
    said = [_plain(lesion, WORDINGS[lesion.name].impression if lesion.name in WORDINGS else (), rng) for lesion in scene.lesions[:4]]
    said = [sentence for sentence in said if sentence]
    return " ".join(f"{number}. {sentence}" for number, sentence in enumerate(said, start=1)) if len(said) > 1 else " ".join(said)


_NORMAL = (
    "Unremarkable MRI of the brain.", "Normal brain MRI.", "No acute intracranial abnormality.", "No mass, hemorrhage or infarct.",
    "Normal ventricles and sulci. No restricted diffusion.",
)  # fmt: skip


def _plain(lesion: Lesion, phrasings: Sequence[str], rng: Random) -> str:
    """The phantom's own phrasing of a lesion, or a plain one for names that no phantom has."""
    if phrasings:
        return worded(rng.choice(phrasings), lesion.side, lesion.region, f"{rng.randint(3, 60)} mm", rng.choice(("acute", "chronic")))
    label = TABLE[lesion.name].label
    size = f" measuring {rng.randint(3, 60)} mm" if lesion.name not in MANY and rng.random() < 0.5 else ""
    where = f"{lesion.side.value} {lesion.region}" if lesion.side and lesion.region else ""
    return rng.choice(
        [
            f"{capital(label)}{f' in the {where}' if where else ''}{size}.",
            f"There is {label}{f' in the {where}' if where else ''}{size}.",
            f"Appearance of {label}{f', {where}' if where else ''}{size}.",
        ]
    )


def worded(phrasing: str, side: Side | None, region: str | None, size: str, stage: str) -> str:
    """A phrasing of phantom.wordings with its fields filled in."""
    sided = side.value if side in (Side.LEFT, Side.RIGHT) else ""
    place = " ".join(word for word in (sided, region) if word) or "brain"
    fields = {"place": place, "side": sided, "on": f"on the {sided}" if sided else "", "region": region or "", "size": size}
    fields |= {"foci": "several", "stage": stage}
    return " ".join(phrasing.format(**fields, **{name.capitalize(): capital(value) for name, value in fields.items()}).split())


def capital(text: str) -> str:
    """First letter upper, the rest as it is."""
    return text[:1].upper() + text[1:]


def joined(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


# ---- what should be written -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Advice:
    """The draft's referral as the chat prompt shows it; empty specialty = none."""

    priority: str
    specialty: str
    urgency: str


NO_ADVICE = Advice("not assessed", "", "")


@dataclass(frozen=True)
class Opinion:
    """What the evidence (or, where it is hidden, the truth) says, in the order in which it is written."""

    evidence: Evidence
    differential: tuple[str, ...]
    leading: int  # how many of the differential stand above their threshold
    findings: tuple[str, ...]
    low: tuple[str, ...]
    agreeing: tuple[int, ...]
    located: dict[str, str]
    advice: Advice

    @property
    def main(self) -> str | None:
        """The first diagnosis that is above its threshold."""
        return self.differential[0] if self.leading else None


def judge(evidence: Evidence, truth: Sequence[str] | None = None, hide: Collection[str] = (), advice: Advice = NO_ADVICE) -> Opinion:
    """Read the evidence.

    truth: names, main first; with scores hidden they are the opinion; with scores shown they only settle the order of close scores.
    """
    hidden = "scores" in hide
    names = list(truth or ()) if hidden else _ranked_positives(evidence, truth or ())
    believed = [name for name in names if not set(TABLE[name].children) & set(names)]
    main = [name for name in believed if TABLE[name].in_differential][:MOST_DIFFERENTIAL]
    rivals = [] if hidden else _rivals(evidence, main)
    cases = () if "cases" in hide else evidence.cases[:MOST_CASES]
    agreeing = tuple(rank for rank, neighbour in enumerate(cases, start=1) if main and main[0] in neighbour.case.diagnoses[:2])
    located = {} if "locations" in hide else {name: place(location) for name, location in evidence.locations.items()}
    return Opinion(
        evidence=evidence,
        differential=(*main, *rivals)[:MOST_DIFFERENTIAL],
        leading=len(main),
        findings=tuple(name for name in believed if not TABLE[name].in_differential)[:4],
        low=() if hidden else shown_scores(evidence).low[:MOST_DENIED],
        agreeing=agreeing[:2],
        located=located,
        advice=advice,
    )


def _ranked_positives(evidence: Evidence, truth: Sequence[str]) -> list[str]:
    above = shown_scores(evidence).above
    close = {score.name for score in above if probability(score) > probability(above[0]) - CLOSE}
    first = [name for name in truth if name in close][:1]
    return first + [score.name for score in above if score.name not in first]


def _rivals(evidence: Evidence, main: Sequence[str]) -> list[str]:
    listed = [score for score in shown_scores(evidence).below if (score.probability or 0.0) >= COMPETITOR]
    family = {kin for name in main for kin in (TABLE[name].parent, *TABLE[name].children)}
    return [score.name for score in listed if TABLE[score.name].kind is Kind.DIAGNOSIS and score.name not in family][:2]


def tags(kind: str, *names: str | int) -> str:
    """`[P:a] [P:b]`; kind "C" takes numbers."""
    return " ".join(f"[C{name}]" if kind == "C" else f"[{kind}:{name}]" for name in names)


def steps(opinion: Opinion, rng: Random) -> list[str]:
    """The reasoning, one sentence a step, each ending in its tags."""
    written = [_sequence_step(opinion, rng)]
    main = opinion.main
    if main is None:
        if opinion.low and not opinion.findings:
            written.append(f"No diagnosis scores above its threshold. {tags('P', *opinion.low[:2])}")
    else:
        label = TABLE[main].label
        written.append(rng.choice([f"The score favors {label}.", f"{capital(label)} leads the scores."]) + f" {tags('P', main)}")
        if main in opinion.located:
            written.append(f"It lies in the {opinion.located[main]}. {tags('L', main)}")
        if opinion.agreeing:
            written.append(_agreement(opinion, label))
    if opinion.findings:
        labels = joined([TABLE[name].label for name in opinion.findings[:3]])
        written.append(f"{capital(labels)} {'are' if len(opinion.findings) > 1 else 'is'} also present. {tags('P', *opinion.findings[:3])}")
    rivals = opinion.differential[max(opinion.leading, 1 if main else 0) :]
    if rivals:
        labels = joined([TABLE[name].label for name in rivals])
        written.append(f"{capital(labels)} {'score' if len(rivals) > 1 else 'scores'} lower. {tags('P', *rivals)}")
    return written


def _agreement(opinion: Opinion, label: str) -> str:
    who = joined([f"case {rank}" for rank in opinion.agreeing])
    return f"{capital(who)} also {'show' if len(opinion.agreeing) > 1 else 'shows'} {label}. {tags('C', *opinion.agreeing)}"


def _sequence_step(opinion: Opinion, rng: Random) -> str:
    keys = sequence_keys(opinion.evidence.study)
    first = opinion.main or next(iter(opinion.findings), None)
    telling = [key for key in keys if first and set(TABLE[first].signs.get(key, "=")) != {"="}][:2]
    if first and telling:
        return f"{joined(telling)} can show {TABLE[first].label}. {tags('S', *telling)}"
    return rng.choice(["The study holds", "Acquired:"]) + f" {joined(keys[:3])}. {tags('S', *keys[:3])}"


def finding_sentences(opinion: Opinion, rng: Random) -> list[str]:
    """The findings: what is above its threshold, then the pertinent negatives."""
    written = [_present(name, opinion, rng) for name in (*opinion.differential[: opinion.leading], *opinion.findings)]
    if opinion.low:
        labels = joined([TABLE[name].label for name in opinion.low], "or")
        written.append(f"No evidence of {labels}. {tags('P', *opinion.low)}")
    return written or [
        f"The study holds {joined(sequence_keys(opinion.evidence.study)[:3])}. {tags('S', *sequence_keys(opinion.evidence.study)[:3])}"
    ]


def _phrasings(name: str, side: Side, evidence: Evidence) -> list[str]:
    """At most two ways in which a report says a located name, that say nothing the evidence does not hold."""
    known = WORDINGS[name].found if name in WORDINGS else ()
    unknown = ["{foci}", "{Foci}", "{stage}", "{Stage}", *(["{side}", "{Side}"] if side not in (Side.LEFT, Side.RIGHT) else [])]
    placed = [phrasing for phrasing in known if "{place}" in phrasing.lower() and not any(field in phrasing for field in unknown)]
    return [phrasing for phrasing in placed if _holds(phrasing, name, evidence)][:2]


def _holds(phrasing: str, name: str, evidence: Evidence) -> bool:
    """Whether the check finds nothing wrong with a phrasing here: a sign that no sequence shows, another name that no head says."""
    location = evidence.locations[name]
    said = sentences(f"{worded(phrasing, location.side, location.region, '___ mm', '')} {tags('P', name)} {tags('L', name)}")
    claims = verify(Draft(reasoning=said, differential=(), findings=(), impression=()), evidence).claims[: len(said)]
    return all(claim.status is ClaimStatus.SUPPORTED for claim in claims)


def _present(name: str, opinion: Opinion, rng: Random) -> str:
    row = TABLE[name]
    where, mark = "", tags("P", name)
    if name in opinion.located:
        where, mark = f" in the {opinion.located[name]}", f"{mark} {tags('L', name)}"
        location = opinion.evidence.locations[name]
        if phrasings := _phrasings(name, location.side, opinion.evidence):
            return f"{worded(rng.choice(phrasings), location.side, location.region, '___ mm', '')} {mark}"
    if row.kind is not Kind.DIAGNOSIS:
        return f"{capital(row.label)}{where}. {mark}"
    size = ", ___ mm" if where and name not in MANY else ""
    return rng.choice([f"Findings{where} consistent with {row.label}{size}.", f"Appearance of {row.label}{where}{size}."]) + f" {mark}"


def impression_sentences(opinion: Opinion) -> list[str]:
    """The impression: the leading diagnosis with agreeing cases, what goes with it, what is less likely."""
    written = []
    for index, name in enumerate(opinion.differential[: opinion.leading]):
        mark = tags("P", name) + (_space(tags("L", name)) if name in opinion.located else "")
        where = f", {opinion.located[name]}" if name in opinion.located else ""
        cited = _space(tags("C", *opinion.agreeing)) if index == 0 else ""
        written.append(f"{capital(TABLE[name].label)}{where}. {mark}{cited}")
    if opinion.findings:
        labels = joined([TABLE[name].label for name in opinion.findings[:3]])
        written.append(f"{capital(labels)}. {tags('P', *opinion.findings[:3])}")
    rivals = opinion.differential[opinion.leading :]
    if rivals:
        doubt = "Alternatively" if opinion.leading else "Possibly"
        written.append(f"{doubt} {joined([TABLE[name].label for name in rivals], 'or')}. {tags('P', *rivals)}")
    if not written and opinion.low:
        written.append(f"No evidence of {joined([TABLE[name].label for name in opinion.low], 'or')}. {tags('P', *opinion.low)}")
    return written or ["No diagnosis scores above its threshold." + _space(tags("S", *sequence_keys(opinion.evidence.study)[:2]))]


def _space(text: str) -> str:
    return f" {text}" if text else ""


def draft(opinion: Opinion, rng: Random) -> str:
    """The target in the Draft format: reasoning, then the JSON object."""
    thought = "\n".join(f"{number}. {step}" for number, step in enumerate(steps(opinion, rng), start=1))
    answer = {
        "differential": list(opinion.differential),
        "findings": finding_sentences(opinion, rng),
        "impression": impression_sentences(opinion),
    }
    return f"<think>\n{thought}\n</think>\n{json.dumps(answer)}"


# ---- questions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """A question about a study and the answer its evidence allows."""

    text: str
    answer: str

    @property
    def names(self) -> tuple[str, ...]:
        """The diagnoses that it names."""
        return tuple(dict.fromkeys(mention.name for mention in lexicon.mentions(self.text)))


def ask_main(opinion: Opinion, rng: Random) -> Question:
    text = rng.choice(
        [
            "What is the main finding?",
            "What is the diagnosis?",
            "What does this study show?",
            "Summarize the findings.",
            "What is the most likely diagnosis?",
            "What is wrong?",
            "What do you see?",
        ]
    )
    if opinion.main is None:
        return Question(text, "No diagnosis scores above its threshold." + _space(tags("P", *opinion.low[:2])))
    label, mark = TABLE[opinion.main].label, tags("P", opinion.main)
    if opinion.main in opinion.located:
        where = opinion.located[opinion.main]
        return Question(text, f"The leading diagnosis is {label} in the {where}. {mark} {tags('L', opinion.main)}")
    return Question(text, f"The leading diagnosis is {label}. {mark}")


def ask_side(opinion: Opinion, rng: Random) -> Question:
    text = rng.choice(
        ["Which side is it on?", "Which side?", "Where is it?", "Where is the lesion?", "Is it left or right?", "What is the location?"]
    )
    name = opinion.main or next(iter(opinion.findings), None)
    if name is None:
        return Question(text, NOT_HERE)
    if name in opinion.located:
        return Question(text, f"{capital(TABLE[name].label)} lies in the {opinion.located[name]}. {tags('L', name)}")
    return Question(text, f"No location was found for {TABLE[name].label}. {tags('P', name)}")


def ask_presence(opinion: Opinion, rng: Random) -> Question:
    evidence = opinion.evidence
    heads = list(evidence.scores)
    known = list(evidence.positives)
    missing = [left.name for left in evidence.not_assessed]
    pool = rng.choice([known, heads, missing, list(TABLE)]) or list(TABLE)
    name = rng.choice(pool)
    phrase = rng.choice([TABLE[name].label, TABLE[name].phrases[0]])
    text = rng.choice(
        [
            f"Is there {phrase}?",
            f"Is there any {phrase}?",
            f"Any {phrase}?",
            f"Do you see {phrase}?",
            f"Could this be {phrase}?",
            f"{capital(phrase)}?",
            f"Is {phrase} present?",
        ]
    )
    said = lexicon.mentions(text)
    return Question(text, presence(said[0].name if said else name, opinion))


def presence(name: str, opinion: Opinion) -> str:
    """Whether a diagnosis is there, as far as the evidence says."""
    label = TABLE[name].label
    if name not in opinion.evidence.scores:
        unassessed = any(left.name == name for left in opinion.evidence.not_assessed)
        return f"{capital(label)} was not assessed." if unassessed else NOT_HERE
    if not opinion.evidence.positive(name):
        return f"No, the score for {label} is below its threshold. {tags('P', name)}"
    where = f" in the {opinion.located[name]}" if name in opinion.located else ""
    return f"Yes, the score for {label}{where} is above its threshold. {tags('P', name)}" + (_space(tags("L", name)) if where else "")


def ask_sequence(opinion: Opinion, rng: Random) -> Question:
    keys = sequence_keys(opinion.evidence.study)
    name = rng.choice(["DWI", "FLAIR", "T2", "T1", "SWI", "ADC", "T1post", "MRA"])
    said = rng.choice(
        {"DWI": ["DWI", "diffusion"], "T1post": ["contrast", "T1post", "a post-contrast sequence"], "MRA": ["MRA", "angiography"]}.get(
            name, [name]
        )
    )
    text = rng.choice(
        [
            f"Was {said} acquired?",
            f"Was {said} done?",
            f"Is there a {said} sequence?",
            f"Was {said} given?" if said == "contrast" else f"Do we have {said}?",
        ]
    )
    return Question(text, f"Yes, {name} was acquired. {tags('S', name)}" if name in keys else f"No, {name} was not acquired.")


def ask_sequences(opinion: Opinion, rng: Random) -> Question:
    keys = sequence_keys(opinion.evidence.study)
    text = rng.choice(["What sequences were acquired?", "Which sequences are there?", "What sequences do we have?", "List the sequences."])
    return Question(text, f"Acquired: {joined(keys)}. {tags('S', *keys)}")


def ask_cases(opinion: Opinion, rng: Random) -> Question:
    text = rng.choice(
        [
            "What cases are similar?",
            "Are there similar cases?",
            "Show similar cases.",
            "Which prior cases look like this?",
            "Have you seen this before?",
        ]
    )
    cases = opinion.evidence.cases[:3]
    if not cases:
        return Question(text, "No similar case was found.")
    said = [
        f"case {rank} ({TABLE[neighbour.case.diagnoses[0]].label if neighbour.case.diagnoses else 'normal'})"
        for rank, neighbour in enumerate(cases, start=1)
    ]
    return Question(text, f"Most similar: {joined(said)}. {tags('C', *range(1, len(cases) + 1))}")


def ask_urgency(opinion: Opinion, rng: Random) -> Question:
    text = rng.choice(
        [
            "How urgent is this?",
            "Is this urgent?",
            "What is the priority?",
            "Who should I refer to?",
            "Which referral is needed?",
            "What should I do next?",
            "Who should see this patient?",
        ]
    )
    sent = f"referral to {opinion.advice.specialty}, {opinion.advice.urgency}" if opinion.advice.specialty else "no referral"
    return Question(text, f"Priority {opinion.advice.priority}; {sent}." + (_space(tags("P", opinion.main)) if opinion.main else ""))


def ask_why(opinion: Opinion, rng: Random) -> Question:
    text = rng.choice(
        ["Why this diagnosis?", "Why do you think so?", "What is the evidence?", "Explain your reasoning.", "How sure are you?"]
    )
    main = opinion.main
    if main is None:
        return Question(text, "No diagnosis scores above its threshold." + _space(tags("P", *opinion.low[:2])))
    answer = f"The score for {TABLE[main].label} is above its threshold. {tags('P', main)}"
    if opinion.agreeing:
        answer += f" {_agreement(opinion, TABLE[main].label)}"
    return Question(text, answer)


def ask_else(opinion: Opinion, rng: Random) -> Question:
    text = rng.choice(["What else could it be?", "What is the differential?", "Any alternatives?", "What are the other possibilities?"])
    others = opinion.differential[1:] if opinion.main else opinion.differential
    if not others:
        return Question(text, "No other diagnosis is close to its threshold.")
    return Question(text, f"Also considered {joined([TABLE[name].label for name in others], 'or')}. {tags('P', *others)}")


def ask_prior(opinion: Opinion, rng: Random) -> Question:
    text = rng.choice(
        ["Has it changed since the prior study?", "Is there a prior study?", "Compare with the prior.", "Is it new?", "Did it grow?"]
    )
    if opinion.evidence.study.context.prior is None:
        return Question(text, "No prior study was given.")
    return Question(text, "A prior report was given, but change was not assessed.")


def ask_beyond(_: Opinion, rng: Random) -> Question:
    text = rng.choice([
        "What is the patient's name?", "Who is the patient?", "How large is it?", "What is the size?", "What is the weather?",
        "What is the prognosis?", "How long will the patient live?", "What did the blood tests show?", "Tell me a joke.",
        "Which drug should I give?", "What is the capital of France?", "What does the spine show?", "Was a biopsy done?",
    ])  # fmt: skip
    return Question(text, NOT_HERE)


ASKERS: tuple[Callable[[Opinion, Random], Question], ...] = (
    ask_main, ask_side, ask_side, ask_presence, ask_presence, ask_presence, ask_sequence, ask_sequences, ask_sequences, ask_cases,
    ask_cases, ask_urgency, ask_urgency, ask_why, ask_else, ask_prior, ask_beyond,
)  # fmt: skip


def exchange(opinion: Opinion, rng: Random) -> tuple[str, str]:
    """A chat prompt as in use, and its answer; half the time after an earlier question."""
    asked = rng.choice(ASKERS)(opinion, rng)
    earlier = "none"
    if rng.random() < 0.5:
        before = rng.choice(ASKERS)(opinion, rng)
        earlier = history_field([(before.text, before.answer)])
    drafted = draft_field(" ".join(impression_sentences(opinion)), opinion.advice.priority, _referral(opinion.advice))
    fields = prompt_fields(opinion.evidence, mention=asked.names)
    return prompts.load("chat").render(**fields, draft=drafted, history=earlier, question=asked.text).text, asked.answer


def _referral(advice: Advice) -> list[tuple[str, str]]:
    return [(advice.specialty, advice.urgency)] if advice.specialty else []


# ---- base language: the same skills in other layouts, never the prompts themselves ------------------------------------


def base_document(rng: Random) -> tuple[str, str]:
    """(given, written) of a base-training document; given is empty for plain reports.

    The base model learns report language, names, copying and JSON here; the layout of prompts and drafts is left to the adapter.
    """
    kind = rng.random()
    scene = imagine(rng)
    if kind < 0.08:
        return "", f"Findings: {findings_text(scene, rng)}\nImpression: {impression_text(scene, rng)}"
    opinion = judge(observe(scene, rng), scene.names, advice=advise(scene, rng))
    if kind < 0.36:
        question = rng.choice(ASKERS)(opinion, rng)
        return f"{notes(opinion, rng)}\nQ: {question.text}", question.answer
    if kind < 0.6:
        return f"{notes(opinion, rng)}\nSteps?", "\n".join(f"{number}) {step}" for number, step in enumerate(steps(opinion, rng), start=1))
    answer = {
        "ranked": list(opinion.differential),
        "observations": finding_sentences(opinion, rng),
        "summary": impression_sentences(opinion),
    }
    return f"{notes(opinion, rng)}\nJSON?", json.dumps(answer)


# Drills: short exercises in copying and looking up, which a small model would otherwise need far more text to learn.


def drill_repeat(rng: Random) -> tuple[str, str]:
    """A list said again."""
    listed = ", ".join(rng.sample(list(TABLE), rng.randint(2, 9)))
    return f"{listed}\nAgain?", listed


def drill_lookup(rng: Random) -> tuple[str, str]:
    """Values found by their names."""
    names = rng.sample(list(TABLE), rng.randint(2, 6))
    style = rng.random()
    values = {name: f"{rng.random():.2f}" if style < 0.3 else f"{rng.choice(list(Side)).value} {rng.choice(REGIONS[1:])}" for name in names}
    asked = rng.sample(names, rng.randint(1, len(names)))
    return f"{', '.join(f'{name} {value}' for name, value in values.items())}\n{', '.join(asked)}?", "; ".join(
        f"{name} {values[name]}" for name in asked
    )


def drill_tags(rng: Random) -> tuple[str, str]:
    """Names as labels with their tags."""
    names = rng.sample(list(TABLE), rng.randint(1, 5))
    return f"{', '.join(names)}\nSay?", " ".join(f"{capital(TABLE[name].label)}. {tags('P', name)}" for name in names)


def drill_first(rng: Random) -> tuple[str, str]:
    """The names of one of two lists."""
    names = rng.sample(list(TABLE), rng.randint(3, 8))
    cut = rng.randint(1, len(names) - 1)
    words = rng.choice([("Over", "Under"), ("Yes", "No"), ("High", "Low"), ("Positive", "Weak"), ("above", "below")])
    lists = [
        ", ".join(f"{name} {value:.2f}" for name, value in zip(part, _falling(len(part), rng), strict=True))
        for part in (names[:cut], names[cut:])
    ]
    wanted = rng.randrange(2)
    return f"{words[0]}: {lists[0]}\n{words[1]}: {lists[1]}\n{words[wanted]}?", json.dumps((names[:cut], names[cut:])[wanted])


def drill_cases(rng: Random) -> tuple[str, str]:
    """The numbers of the cases that have a name."""
    names = rng.sample(list(TABLE), rng.randint(2, 4))
    cases = [rng.choice(names) for _ in range(rng.randint(1, 4))]
    asked = rng.choice(names)
    found = [rank for rank, name in enumerate(cases, start=1) if name == asked]
    return f"{', '.join(f'C{rank} {name}' for rank, name in enumerate(cases, start=1))}\n{asked}?", tags("C", *found) or "none"


def _falling(count: int, rng: Random) -> list[float]:
    return sorted((rng.random() for _ in range(count)), reverse=True)


DRILLS = (drill_repeat, drill_lookup, drill_lookup, drill_tags, drill_first, drill_cases)


def notes(opinion: Opinion, rng: Random) -> str:
    """The evidence in a layout of its own each time."""
    evidence = opinion.evidence
    shown = shown_scores(evidence)
    few = rng.choice([2, 4, 8])  # shorter notes leave more of the training to what is written from them
    item = rng.choice(
        [
            lambda s: f"{s.name} {probability(s):.2f}",
            lambda s: f"{probability(s):.2f} {s.name}",
            lambda s: f"{s.name}: {probability(s):.2f}",
            lambda s: f"P:{s.name} {probability(s):.2f}",
        ]
    )
    between = rng.choice([", ", "; ", " | ", "\n- "])
    positive, weak, absent = rng.choice(
        [("Positive", "Weak", "Absent"), ("Over", "Under", "Nil"), ("Yes", "Maybe", "No"), ("High", "Some", "Little")]
    )
    none = rng.choice(["-", "none", "nothing"])
    lines = [
        f"{positive}: {between.join(map(item, shown.above)) or none}\n"
        f"{weak}: {between.join(map(item, shown.below[:few])) or none}\n"
        f"{absent}: {between.join(shown.low) or none}",
        f"{rng.choice(['Places', 'Where', 'Sites'])}: "
        + (between.join(f"{name} {rng.choice(['@ ', '', 'at '])}{where}" for name, where in opinion.located.items()) or none),
        f"{rng.choice(['Similar', 'Others', 'Library'])}: "
        + (
            between.join(
                f"{rank}. {', '.join(n.case.diagnoses) or 'normal'} ({n.case.report.impression[: 20 * few]})"
                for rank, n in enumerate(evidence.cases[:4], start=1)
            )
            or none
        ),
        f"{rng.choice(['Series', 'Protocol', 'Scans'])}: {between.join(sequence_keys(evidence.study))}",
        f"{rng.choice(['Unknown', 'Unjudged', 'Outside'])}: {between.join(left.name for left in evidence.not_assessed[:few]) or none}",
        f"{rng.choice(['Plan', 'Advice'])}: {opinion.advice.priority}{between}{opinion.advice.specialty or none} {opinion.advice.urgency}",
    ]
    rng.shuffle(lines)
    return "\n".join(lines)
