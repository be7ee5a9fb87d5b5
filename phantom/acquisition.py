"""What an acquisition does to the ideal image: distortion, point spread, motion, receive field, noise, and the scale of stored values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from phantom import anatomy
from phantom.shape import Floats
from phantom.signal import Weighting, signal
from phantom.style import SeriesPlan, Style
from phantom.tissue import TISSUES, at_field

Window = tuple[slice, slice, slice]
ECHO_PLANAR = (Weighting.DWI, Weighting.ADC)
AIR: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...] = (
    # where air beside brain bends the field: centre and reach, LPS mm of the head, and share of the largest shift
    ((0.0, -42.0, -30.0), (20.0, 20.0, 13.0), 1.0),
    ((-48.0, 30.0, -40.0), (15.0, 16.0, 12.0), -0.6),
    ((48.0, 30.0, -40.0), (15.0, 16.0, 12.0), -0.6),
)


def stored(
    values: Floats, window: Window, affine: NDArray[np.float64], plan: SeriesPlan, style: Style, noisy: int | None
) -> NDArray[np.int16]:
    """The stored image, int16 (k, j, i), of noise-free signed values of the same shape; they are zero outside the head's window.

    noisy: the series' place in the study, which seeds its noise; None leaves the ideal image.
    """
    adc = plan.sequence.weighting is Weighting.ADC
    white = abs(signal(at_field(TISSUES["white"], style.tesla), plan.sequence))
    scale = np.float32(1 if adc else style.scale / white)
    if noisy is None:
        return np.clip(np.abs(values) * scale, 0, 32767).astype(np.int16)
    rng = np.random.default_rng([style.seed, noisy])
    head = values[window]
    if plan.sequence.weighting in ECHO_PLANAR:
        head = _bent(head, window, affine, style, not adc)
    head = _blurred(head, affine, plan, style)
    if adc:
        head = head + rng.standard_normal(head.shape, dtype=np.float32) * np.float32(900 * plan.noise) * (head > 60)
        values[window] = head
        return np.asarray(np.clip(values, 0, 4000), np.int16)
    values[window] = np.abs(head) * _receive(head.shape, style)
    if plan.motion:
        values = _moved(values, plan.motion / float(np.linalg.norm(affine[:3, 1])), rng)
    sigma = np.float32(plan.noise * white)
    real = values + sigma * rng.standard_normal(values.shape, dtype=np.float32)
    rician = np.hypot(real, sigma * rng.standard_normal(values.shape, dtype=np.float32))
    return np.asarray(np.clip(rician * scale, 0, 32767), np.int16)


def _blurred(head: Floats, affine: NDArray[np.float64], plan: SeriesPlan, style: Style) -> Floats:
    """The point spread: in-plane, in all directions of a 3-D series; echo-planar images are coarse, most so along their phase encoding."""
    extra = (1.6, 0.9) if plan.sequence.weighting in ECHO_PLANAR else (0.0, 0.0)
    spread = (0.8 * style.blur if plan.voxel else 0.0, style.blur + extra[0], style.blur + extra[1])
    pixels = [mm / float(np.linalg.norm(affine[:3, 2 - axis])) for axis, mm in enumerate(spread)]
    blurred: Floats = ndimage.gaussian_filter(head, pixels, truncate=2.5)
    return blurred


def _bent(head: Floats, window: Window, affine: NDArray[np.float64], style: Style, piles: bool) -> Floats:
    """An axial echo-planar image bent along its phase encoding (j) beside the air of the skull base, by some mm."""
    rng = np.random.default_rng([style.seed, 77])
    most = float(rng.uniform(2.0, 6.0)) * (1 if rng.random() < 0.5 else -1) * style.tesla / 3 / affine[1, 1]
    x, y, z = (affine[axis, axis] * np.arange(w.start, w.stop) + affine[axis, 3] for axis, w in zip(range(3), window[::-1], strict=True))
    shift = np.zeros(head.shape, np.float32)
    for centre, reach, share in AIR:
        near = (np.exp(-(((axis - c) / r) ** 2)) for axis, c, r in zip((x, y, z), centre, reach, strict=True))
        across, along, up = (values.astype(np.float32) for values in near)
        shift += np.float32(share * most) * up[:, None, None] * along[None, :, None] * across[None, None, :]
    rows = head.shape[1]
    source = np.clip(np.arange(rows, dtype=np.float32)[None, :, None] - shift, 0, rows - 1.001)
    first = source.astype(np.intp)
    after = source - first
    bent = np.take_along_axis(head, first, 1) * (1 - after) + np.take_along_axis(head, first + 1, 1) * after
    if piles:  # signal piles up where the image is pressed together; not in a quotient such as ADC
        bent = bent * np.clip(1 - np.gradient(shift, axis=1), 0.5, 1.8)
    return np.asarray(bent, np.float32)


def _moved(values: Floats, pixels: float, rng: np.random.Generator) -> Floats:
    """Ghosts and blur along the phase encoding (j) of a head that nods while the lines are read and once jerks; magnitude."""
    rows = values.shape[1]
    line = np.arange(rows) / rows
    nod = np.sin(2 * np.pi * (rng.uniform(3, 9) * line + rng.random()))
    jerk = np.where(line > rng.choice([rng.uniform(0.1, 0.4), rng.uniform(0.6, 0.9)]), 1.0, 0.0)
    shift = pixels * (0.5 * nod + jerk)
    # lines are read from one edge of k-space to the other
    phase = np.exp(-2j * np.pi * (line - 0.5) * shift).astype(np.complex64)
    spectrum = np.fft.fft(values, axis=1) * np.fft.ifftshift(phase)[None, :, None]
    return np.abs(np.fft.ifft(spectrum, axis=1)).astype(np.float32)


def _receive(shape: tuple[int, ...], style: Style) -> Floats:
    """The receive field: smooth, around 1, float32 (k, j, i) of the box."""
    rng = np.random.default_rng([style.seed, 99])
    noise = anatomy.smooth_noise(rng, (shape[0], shape[1], shape[2]), (3, 3, 3), 1)[..., 0]
    return np.asarray(np.exp(np.float32(style.bias) * noise), np.float32)
