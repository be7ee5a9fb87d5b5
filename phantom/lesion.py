"""What a recipe draws with (Scene), what it draws (Lesion), and what else is known of a disease (Recipe)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from phantom import anatomy, atlas
from phantom.atlas import Grid
from phantom.shape import Floats, Mass, Point, Shape, Surroundings
from phantom.signal import Weighting

ALL = (Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.DWI, Weighting.ADC, Weighting.SWI, Weighting.T1_POST)
FLUID = (Weighting.T2, Weighting.FLAIR)
BRAIN = ("grey", "white", "deep grey")
INSIDE = (*BRAIN, "csf", "gland", "dura", "vessel")
INSIDE_MASK = 0.4  # share of a point from which it belongs to a lesion's mask
_TURNS = [(turn, tilt) for turn in np.arange(12) * np.pi / 12 for tilt in np.arange(12) * np.pi / 12]
DIRECTIONS = np.array([(np.cos(a) * np.sin(b), np.sin(a) * np.sin(b), np.cos(b)) for a, b in _TURNS], np.float32)  # 15 degrees apart


@dataclass(frozen=True)
class Part:
    """One compartment: `fraction` of the tissue replaces what lies within its shape.

    within: what it may replace: "white", "grey" (cortex), "brain", "intracranial", "csf", "ventricle", "skull", "scalp" or "any".
    label: the taxonomy name whose mask this part belongs to; None for what has no mask of its own. Later parts paint over earlier ones.
    """

    label: str | None
    tissue: str
    shape: Shape
    within: str
    fraction: float = 1.0


@dataclass(frozen=True)
class Lesion:
    """One disease process of a patient.

    name: a diagnosis of the taxonomy. side: "left", "right", "midline", "bilateral". size_mm: largest diameter. count: number of foci.
    own_measure: size_mm is another measure, the recipe's own: a thickness, a descent, a nidus. Any other size is measured as it is drawn.
    enhancement: "none", "ring", "solid", "patchy". visible_on: weightings that show it where they were acquired.
    edema: a visible oedema goes with it (its mask is labelled "edema"). stage: such as "acute", "old"; "" where it does not apply.
    dams: mm by which the ventricles' walls move out because it obstructs the way of the fluid.
    also: what else this process shows under names of its own; the study lists them after it.
    """

    name: str
    side: str
    region: str
    size_mm: float
    parts: tuple[Part, ...]
    masses: tuple[Mass, ...] = ()
    count: int = 1
    enhancement: str = "none"
    stage: str = ""
    edema: bool = False
    visible_on: tuple[Weighting, ...] = FLUID
    referral: tuple[str, ...] = ()
    priority: str = "medium"
    regions: tuple[str, ...] = ()
    dams: float = 0.0
    own_measure: bool = False
    also: tuple[Lesion, ...] = ()

    def parts_of(self, label: str) -> tuple[Part, ...]:
        """The parts of one mask."""
        return tuple(part for part in self.parts if part.label == label)


@dataclass(frozen=True)
class Scene:
    """A head to draw a lesion into: random numbers, the head's backward field, the side (+1 the patient's left), the patient's age.

    growth: how many times its first size a lesion has now; the same random numbers then draw the same lesion, larger or smaller.
    """

    rng: np.random.Generator
    backward: Grid
    sign: int
    age: int
    growth: float = 1.0

    @property
    def side(self) -> str:
        """The side that is drawn on."""
        return "left" if self.sign > 0 else "right"

    def other_side(self) -> Scene:
        """The same scene on the other side."""
        return replace(self, sign=-self.sign)

    def pick(self, regions: tuple[str, ...], tissue: str = "white", least: float = 0.6) -> Point:
        """A random point of the head on this side, in one of the regions, LPS mm."""
        return self.place(atlas.load().pick(self.rng, regions, tissue, least))

    def place(self, left: NDArray[np.float64] | Point) -> Point:
        """Where an atlas point of the patient's left (LPS mm, x > 0) is in this head on this side."""
        point = np.asarray(left, np.float64) * (self.sign, 1, 1)
        x, y, z = anatomy.to_head(self.backward, point[None])[0]
        return float(x), float(y), float(z)

    def under_the_skull(self, regions: tuple[str, ...]) -> tuple[Point, Point]:
        """A point just under the skull and the point of the brain it faces (15 mm deeper, towards the head's middle)."""
        while True:
            left = atlas.load().pick(self.rng, regions, "csf", 0.3)
            depth = atlas.load().channels.at(left[None].astype(np.float32))[0, atlas.CHANNELS.index("depth")]
            outer = self.place(left)
            vault = np.hypot(outer[0], outer[1] - 10) > 42 or outer[2] > 30
            if abs(outer[0]) > 14 and vault and depth < 9:  # the convexities' labels reach to the sella and into the ventricles
                return outer, towards(outer, (outer[0] * 0.2, 10.0, 5.0), 15)

    def regions(self, parts: tuple[Part, ...]) -> dict[str, float]:
        """How much of these parts lies in each region, mm3: by evenly spread points of each."""
        found: dict[str, float] = {}
        for part in parts:
            points, source, _, mask = self._spread(part, 12)
            low, high = (np.asarray(corner) for corner in part.shape.box())
            each = float(np.prod(np.maximum(high - low, 1e-3))) / len(points)
            for index, count in zip(*np.unique(atlas.load().region_at(source[mask > 0.5]), return_counts=True), strict=True):
                name = atlas.REGIONS[index]
                found[name] = found.get(name, 0.0) + count * each
        return found

    def diameter(self, parts: tuple[Part, ...]) -> float:
        """The largest diameter of these parts together, where there is tissue that they replace, mm: by evenly spread points of each."""
        inside = []
        for part in parts:
            points, _, channels, mask = self._spread(part, 22)
            room = replaceable(channels, channels[:, atlas.CHANNELS.index("ventricle")])[part.within]
            inside.append(points[mask * room * np.float32(part.fraction) > INSIDE_MASK])
        extent = np.concatenate(inside) @ DIRECTIONS.T
        return float(np.ptp(extent, axis=0).max()) if len(extent) else 0.0

    def _spread(self, part: Part, count: int) -> tuple[Floats, Floats, Floats, Floats]:
        """`count` ** 3 points of the part's box (n, 3), where they are in the atlas, the atlas's channels and the part's mask there."""
        axes = [np.linspace(a, b, count, dtype=np.float32) for a, b in zip(*part.shape.box(), strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        source = points + self.backward.at(points)[:, :3]
        channels = atlas.load().channels.at(source)
        around = Surroundings(channels[:, atlas.CHANNELS.index("depth")], channels[:, atlas.CHANNELS.index("ventricle distance")])
        return points, source, channels, part.shape.mask(points, around)

    def seed(self) -> int:
        """A seed for a shape's noise."""
        return int(self.rng.integers(2**31))

    def between(self, low: float, high: float) -> float:
        """A uniform number."""
        return float(self.rng.uniform(low, high))

    def size(self, low: float, high: float) -> float:
        """A uniform number that grows with the lesion: radii, thicknesses, reaches, mm.

        What is drawn only above some size must ask for the first size (divided by growth), so that the numbers after it stay the same.
        """
        return self.between(low, high) * self.growth

    def chance(self, probability: float) -> bool:
        """Whether something with this probability happens."""
        return bool(self.rng.random() < probability)

    def one_of(self, *choices: str) -> str:
        """One of the choices, evenly."""
        return choices[int(self.rng.integers(len(choices)))]


@dataclass(frozen=True)
class Recipe:
    """One disease. ages: typical range in years. female: share of women. goes_with: what may be drawn beside it (incidental or old).

    indication: what often brings such a patient. kind: "diagnosis", "finding" or "postoperative", as in the table of diagnoses.
    """

    draw: Callable[[Scene], Lesion]
    ages: tuple[int, int]
    female: float = 0.5
    goes_with: tuple[str, ...] = ()
    indication: str = "headache"
    kind: str = "diagnosis"


def replaceable(fractions: Floats, ventricle: Floats) -> dict[str, Floats]:
    """How much of each point is tissue that a part may replace, by what it lies `within`. fractions: (n, tissues of the atlas, ...)."""
    rooms = {"white": ("white",), "grey": ("grey",), "brain": BRAIN, "intracranial": INSIDE, "csf": ("csf",)}
    rooms |= {"skull": ("bone", "marrow"), "scalp": ("fat",)}
    room = {name: np.minimum(sum(fractions[:, atlas.TISSUES.index(tissue)] for tissue in names), 1) for name, names in rooms.items()}
    return room | {"ventricle": ventricle, "any": np.ones(len(fractions), np.float32)}


def towards(start: Point, end: Point, mm: float) -> Point:
    """The point `mm` from start in the direction of end."""
    a, b = np.asarray(start), np.asarray(end)
    x, y, z = a + (b - a) * (mm / max(float(np.linalg.norm(b - a)), 1e-6))
    return float(x), float(y), float(z)


def jitter(scene: Scene, point: Point, mm: float) -> Point:
    """The point moved at random by about `mm`."""
    x, y, z = np.asarray(point) + scene.rng.normal(0, mm, 3)
    return float(x), float(y), float(z)
