"""Photographs and micrographs made of noise: tissue, fluorescence, gels, scans and plain photographs."""

import random
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float32]
Maker = Callable[[random.Random, np.random.Generator, int, int], Image.Image]


def picture(rng: random.Random, height: int, width: int, kind: int | None = None) -> Image.Image:
    """Make an RGB picture; pictures of one `kind` (0 to 6) look alike."""
    noise = np.random.default_rng(rng.getrandbits(63))
    maker = _MAKERS[(rng.randrange(len(_MAKERS)) if kind is None else kind) % len(_MAKERS)]
    return maker(rng, noise, max(height, 2), max(width, 2))


def _smooth(noise: np.random.Generator, height: int, width: int, cells: float) -> Array:
    """Return smooth noise of about `cells` bumps along the longer side, about normal."""
    longer = max(height, width)
    small = noise.standard_normal((max(2, round(height / longer * cells)), max(2, round(width / longer * cells))))
    image = Image.fromarray(small.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _rgb(*channels: Array) -> Image.Image:
    planes = [Image.fromarray(np.clip(channel, 0, 255).astype(np.uint8)) for channel in channels]
    return Image.merge("RGB", planes)


def _fluorescence(rng: random.Random, noise: np.random.Generator, height: int, width: int) -> Image.Image:
    field = _smooth(noise, height, width, rng.uniform(6, 24))
    glow = np.clip(field - rng.uniform(0.2, 0.9), 0, None) * rng.uniform(80, 200)
    dots = np.clip(_smooth(noise, height, width, rng.uniform(20, 60)) - 1.0, 0, None) * 160
    planes = [np.zeros_like(glow) for _ in range(3)]
    planes[rng.randrange(3)] += glow
    planes[rng.choice((1, 2, 2))] += dots
    return _rgb(*(plane + 6 for plane in planes))


def _histology(rng: random.Random, noise: np.random.Generator, height: int, width: int) -> Image.Image:
    tissue = _smooth(noise, height, width, rng.uniform(4, 14))
    nuclei = (_smooth(noise, height, width, rng.uniform(25, 60)) > 0.8).astype(np.float32)
    brown = rng.random() < 0.3
    red, green, blue = (205, 175, 150) if brown else (222, 160, 200)
    shade = tissue * 22
    return _rgb(
        red + shade * 0.7 - nuclei * 90,
        green + shade - nuclei * 90,
        blue + shade * 0.6 - nuclei * (70 if brown else 40),
    )


def _gel(rng: random.Random, noise: np.random.Generator, height: int, width: int) -> Image.Image:
    lanes, bands = rng.randint(3, 10), rng.randint(1, 5)
    light = rng.uniform(190, 240)
    image = np.full((height, width), light, np.float32) + _smooth(noise, height, width, 8) * 8
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    for b in range(bands):
        centre = height * (b + rng.uniform(0.35, 0.65)) / bands
        profile = np.exp(-(((rows - centre) / (height * rng.uniform(0.03, 0.12) / bands**0.5)) ** 2))
        strengths = np.array([rng.uniform(0, 200) for _ in range(lanes)], np.float32)
        phase = columns * lanes / width
        lane = strengths[np.minimum(phase.astype(int), lanes - 1)] * (np.abs(phase % 1 - 0.5) < 0.38)
        image -= profile * lane
    grey = 255 - image if rng.random() < 0.3 else image
    return _rgb(grey, grey, grey)


def _scan(rng: random.Random, noise: np.random.Generator, height: int, width: int) -> Image.Image:
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    radius = np.sqrt((rows / rng.uniform(0.7, 0.95)) ** 2 + (columns / rng.uniform(0.6, 0.95)) ** 2)
    inside = (radius + 0.04 * _smooth(noise, height, width, 5) < 1).astype(np.float32)
    ring = np.exp(-(((radius - 0.92) / 0.05) ** 2)) * 130
    grey = inside * (90 + 40 * _smooth(noise, height, width, rng.uniform(6, 18)) + ring)
    if rng.random() < 0.35:
        hot = np.clip(_smooth(noise, height, width, 5) - 0.9, 0, None) * 300 * inside
        return _rgb(grey + hot, grey - hot * 0.3, grey - hot)
    return _rgb(grey, grey, grey)


def _photograph(rng: random.Random, noise: np.random.Generator, height: int, width: int) -> Image.Image:
    tones = [rng.uniform(60, 200) for _ in range(3)]
    large, fine = (
        _smooth(noise, height, width, rng.uniform(2, 5)),
        _smooth(noise, height, width, rng.uniform(15, 50)),
    )
    slope = np.linspace(-50, 50, height, dtype=np.float32)[:, None] * rng.uniform(-1, 1)
    return _rgb(*(tone + slope + large * rng.uniform(20, 55) + fine * 14 for tone in tones))


def _electron(rng: random.Random, noise: np.random.Generator, height: int, width: int) -> Image.Image:
    grey = 130 + 35 * _smooth(noise, height, width, rng.uniform(5, 12)) + 25 * _smooth(noise, height, width, 40)
    grey = grey + noise.standard_normal((height, width)).astype(np.float32) * rng.uniform(0, 20)
    if rng.random() < 0.4:
        grey = np.where(_smooth(noise, height, width, 9) > 0.4, grey * 0.45, grey)
    return _rgb(grey, grey, grey)


def _heat_map(rng: random.Random, noise: np.random.Generator, height: int, width: int) -> Image.Image:
    rows, columns = rng.randint(6, 40), rng.randint(4, 30)
    values = noise.standard_normal((rows, columns)).astype(np.float32)
    values += np.linspace(-1, 1, rows, dtype=np.float32)[:, None] * rng.uniform(-2, 2)
    image = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST))
    if rng.random() < 0.5:
        return _rgb(128 + 90 * image, 120 - 40 * np.abs(image), 128 - 90 * image)
    if rng.random() < 0.5:
        return _rgb(110 * image, -110 * image, image * 0)
    return _rgb(255 - 40 * image, 255 - 70 * np.abs(image), 255 - 90 * np.abs(image))


_MAKERS: tuple[Maker, ...] = (
    _fluorescence, _histology, _gel, _scan, _photograph, _electron, _heat_map,
)  # fmt: skip
