"""Fonts of the machine, and faces that keep each word drawn once as an array."""

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFont

from models.data.pages.scripts import ALPHABETS, SQUARE, square_word, transliterated
from models.data.pages.words import vocabulary

FONT_FOLDERS: tuple[str, ...] = (
    "/usr/share/fonts",
    "/usr/share/texmf/fonts/opentype",
    "/usr/local/share/fonts",
)
MASTER_SIZE = 32
VOCABULARY_SIZE = 200
SIZE_STEP = 1.06
MAX_MASTERS = 4000
MAX_WORDS = 1200
FAINT = 40

# name, weight in the draw, files of the regular, bold and italic faces
_SERIF = (
    ("Liberation Serif", 6, "LiberationSerif-Regular LiberationSerif-Bold LiberationSerif-Italic"),
    ("Termes", 4, "texgyretermes-regular texgyretermes-bold texgyretermes-italic"),
    ("Libertine", 5, "LinLibertine_R LinLibertine_RB LinLibertine_RI"),
    ("Pagella", 2, "texgyrepagella-regular texgyrepagella-bold texgyrepagella-italic"),
    ("Schola", 2, "texgyreschola-regular texgyreschola-bold texgyreschola-italic"),
    ("Bonum", 1, "texgyrebonum-regular texgyrebonum-bold texgyrebonum-italic"),
    ("Caladea", 2, "Caladea-Regular Caladea-Bold Caladea-Italic"),
    ("Free Serif", 2, "FreeSerif FreeSerifBold FreeSerifItalic"),
    ("DejaVu Serif", 0.5, "DejaVuSerifCondensed DejaVuSerifCondensed-Bold DejaVuSerifCondensed-Italic"),
)
_SANS = (
    ("Liberation Sans", 6, "LiberationSans-Regular LiberationSans-Bold LiberationSans-Italic"),
    ("Heros", 2, "texgyreheros-regular texgyreheros-bold texgyreheros-italic"),
    ("Carlito", 3, "Carlito-Regular Carlito-Bold Carlito-Italic"),
    ("Heros Condensed", 1, "texgyreheroscn-regular texgyreheroscn-bold texgyreheroscn-italic"),
    ("Narrow", 1, "LiberationSansNarrow-Regular LiberationSansNarrow-Bold LiberationSansNarrow-Italic"),
    ("Biolinum", 1, "LinBiolinum_R LinBiolinum_RB LinBiolinum_RI"),
    ("DejaVu Sans", 0.7, "DejaVuSansCondensed DejaVuSansCondensed-Bold DejaVuSansCondensed-Oblique"),
)
_MONOSPACED = (
    ("Liberation Mono", 4, "LiberationMono-Regular LiberationMono-Bold LiberationMono-Italic"),
    ("DejaVu Sans Mono", 1, "DejaVuSansMono DejaVuSansMono-Bold DejaVuSansMono-Oblique"),
    ("Cursor", 3, "texgyrecursor-regular texgyrecursor-bold texgyrecursor-italic"),
    ("Free Mono", 2, "FreeMono FreeMonoBold FreeMonoOblique"),
)
_LISTS = {"serif": _SERIF, "sans": _SANS, "mono": _MONOSPACED}


class Word(NamedTuple):
    """A drawn word: uint8 ink [h, w] (255 = ink), offset from the pen, advance and size of the font, in pixels."""

    ink: npt.NDArray[np.uint8]
    left: int
    top: int
    advance: float
    size: float


class Font(NamedTuple):
    """A font file, None for the font that Pillow brings, and the script that words are put into."""

    path: str | None
    script: str = "latin"
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """Fonts of one typeface."""

    name: str
    regular: Font
    bold: Font
    italic: Font


class Typeface:
    """One font file, with each word drawn once, large, for all sizes to be reduced from."""

    def __init__(self, source: Font) -> None:
        if source.path is None:
            font = ImageFont.load_default(MASTER_SIZE)
        else:
            font = ImageFont.truetype(source.path, MASTER_SIZE, layout_engine=ImageFont.Layout.BASIC)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise TypeError("drawing pages needs a Pillow with FreeType")
        self._font, self._source = font, source
        self._masters: dict[str, Master] = {}
        rng = random.Random(str(source.path))
        self.texts = [rng.choice(vocabulary()) for _ in range(VOCABULARY_SIZE)]
        self.advances = [self._length(text) for text in self.texts]
        self.order = sorted(range(VOCABULARY_SIZE), key=self.advances.__getitem__)
        self.sorted_advances = [self.advances[i] for i in self.order]
        self.space = 0.0 if source.script in ("han", "kana") else self._font.getlength(" ")

    def _length(self, text: str) -> float:
        if self._square(text):
            return float(square_word(text, self._source.script, MASTER_SIZE, self._source.bold).width)
        return self._font.getlength(self._written(text))

    def _square(self, text: str) -> bool:
        return self._source.script in SQUARE and any(character.isalpha() for character in text)

    def _written(self, text: str) -> str:
        script = self._source.script
        return text if script == "latin" or script in SQUARE else transliterated(text, script)

    def master(self, text: str) -> "Master":
        """Return the large drawing of `text`, from memory after the first time."""
        found = self._masters.get(text)
        if found is None:
            if len(self._masters) > MAX_MASTERS:
                self._masters.clear()
            if self._square(text):
                image = square_word(text, self._source.script, MASTER_SIZE, self._source.bold)
                found = Master(image.tobytes(), image.size, 0, -round(0.88 * MASTER_SIZE), float(image.width))
            else:
                written = self._written(text)
                mask, (left, top) = self._font.getmask2(written, "L", anchor="ls")
                size, ink = (mask.size, bytes(mask)) if all(mask.size) else ((1, 1), b"\0")
                found = Master(ink, size, left, top, self._font.getlength(written))
            self._masters[text] = found
        return found


class Master(NamedTuple):
    """A word drawn at MASTER_SIZE: 8-bit ink row by row, its width and height, its offset from the pen, the advance."""

    ink: bytes
    size: tuple[int, int]
    left: int
    top: int
    advance: float


class Face:
    """One font file at one size in pixels; `word` draws a string once and remembers it."""

    def __init__(self, font: Font, size: float) -> None:
        self.font, self.size = font, size
        self._typeface = typeface(font)
        self._ratio = MASTER_SIZE / size
        self._words: dict[str, Word] = {}
        self._running: list[Word | None] = [None] * VOCABULARY_SIZE
        self.space = self._typeface.space / self._ratio

    def scaled(self, ratio: float) -> "Face":
        """Return the same font at `ratio` times the size, or the nearest to it that is kept."""
        return sized(self.font, self.size * ratio)

    def word(self, text: str) -> Word:
        """Return the drawn `text`, from memory after the first time."""
        word = self._words.get(text)
        if word is None:
            if len(self._words) > MAX_WORDS:
                self._words.clear()
            word = self._words[text] = self._reduce(self._typeface.master(text))
        return word

    def string(self, text: str) -> Word:
        """Return a drawn string, put together from the words it is made of."""
        if " " not in text:
            return self.word(text)
        words = [self.word(part) for part in text.split(" ")]
        top = min(word.top for word in words)
        bottom = max(word.top + word.ink.shape[0] for word in words)
        pens = [0.0]
        for word in words:
            pens.append(pens[-1] + word.advance + self.space)
        starts = [int(pen + 0.5) + word.left for pen, word in zip(pens, words, strict=False)]
        left = min(starts)
        right = max(start + word.ink.shape[1] for start, word in zip(starts, words, strict=True))
        ink = np.zeros((bottom - top, right - left), np.uint8)
        for start, word in zip(starts, words, strict=True):
            h, w = word.ink.shape
            part = ink[word.top - top : word.top - top + h, start - left : start - left + w]
            np.maximum(part, word.ink, out=part)
        return Word(ink, left, top, pens[-1] - self.space, self.size)

    def running_word(self, rng: random.Random) -> Word:
        """Draw one word of running text."""
        return self._running_word(int(rng.random() * VOCABULARY_SIZE))

    def fitting_word(self, rng: random.Random, room: float) -> Word | None:
        """Draw one of the widest words of running text no wider than `room` pixels, or None."""
        count = bisect_right(self._typeface.sorted_advances, room * self._ratio)
        if not count:
            return None
        return self._running_word(self._typeface.order[max(0, count - 1 - int(rng.random() * 8))])

    def _running_word(self, i: int) -> Word:
        word = self._running[i]
        if word is None:
            word = self._running[i] = self.word(self._typeface.texts[i])
        return word

    def _reduce(self, master: Master) -> Word:
        ratio = self._ratio
        x0, y0 = math.floor(master.left / ratio), math.floor(master.top / ratio)
        x1 = max(math.ceil((master.left + master.size[0]) / ratio), x0 + 1)
        y1 = max(math.ceil((master.top + master.size[1]) / ratio), y0 + 1)
        size = (math.ceil((x1 - x0) * ratio), math.ceil((y1 - y0) * ratio))
        sheet = Image.new("L", size)
        image = Image.frombytes("L", master.size, master.ink)
        sheet.paste(image, (round(master.left - x0 * ratio), round(master.top - y0 * ratio)))
        box = (0.0, 0.0, min((x1 - x0) * ratio, size[0]), min((y1 - y0) * ratio, size[1]))
        ink = np.asarray(sheet.resize((x1 - x0, y1 - y0), Image.Resampling.BOX, box))
        top, bottom = 0, ink.shape[0]
        if bottom > 1 and ink[0].max() < FAINT:
            top = 1
        if bottom - top > 1 and ink[-1].max() < FAINT:
            bottom -= 1
        return Word(ink[top:bottom].copy(), x0, y0 + top, master.advance / ratio, self.size)


@lru_cache(maxsize=96)
def typeface(font: Font) -> Typeface:
    """Return the typeface of a font."""
    return Typeface(font)


@lru_cache(maxsize=1000)
def face(font: Font, step: int) -> Face:
    """Return the face of a font at the `step`-th of the sizes that grow by SIZE_STEP from one pixel."""
    return Face(font, SIZE_STEP**step)


def sized(font: Font, size: float) -> Face:
    """Return the face whose size is nearest to `size` pixels among those kept."""
    return face(font, round(math.log(max(size, 3.0), SIZE_STEP)))


@lru_cache(maxsize=1)
def installed_files() -> dict[str, str]:
    """Return the paths of the font files by their stems."""
    found: dict[str, str] = {}
    for folder in FONT_FOLDERS:
        for path in sorted(Path(folder).rglob("*.[ot]tf")):
            found.setdefault(path.stem, str(path))
    return found


@lru_cache(maxsize=len(_LISTS))
def families(kind: str) -> tuple[tuple[Family, ...], tuple[float, ...]]:
    """Return the installed families of a kind (serif, sans or mono) and their weights; one without files if none is."""
    found, weights, files = [], [], installed_files()
    for name, weight, stems in _LISTS[kind]:
        paths = [files.get(stem) for stem in stems.split()]
        if None not in paths:
            found.append(Family(name, *map(Font, paths)))
            weights.append(float(weight))
    return (
        (tuple(found), tuple(weights)) if found else ((Family("bundled", Font(None), Font(None), Font(None)),), (1.0,))
    )


def family_names() -> tuple[str, ...]:
    """Return the names of the installed families that pages are drawn with: other families make other pages."""
    return tuple(family.name for kind in _LISTS for family in families(kind)[0])


def draw_family(rng: random.Random, kind: str) -> Family:
    """Draw an installed family of a kind."""
    return rng.choices(*families(kind))[0]


def draw_foreign_family(rng: random.Random) -> Family:
    """Draw a family that writes another script: one that a font has the letters of, or square glyphs."""
    foreign = foreign_families()
    return rng.choices(foreign, [1.5 if family.regular.script in SQUARE else 1.0 for family in foreign])[0]


@lru_cache(maxsize=1)
def foreign_families() -> tuple[Family, ...]:
    """Return a family for each script and each installed family that can write it."""
    found = []
    for script in (*ALPHABETS, "arabic"):
        sample = transliterated("abcdefghijklmnopqrstuvwxyz", script)
        for kind in ("serif", "sans"):
            for family in families(kind)[0]:
                fonts = [font for font in (family.regular, family.bold, family.italic) if _writes(font.path, sample)]
                if family.regular in fonts:
                    regular, bold, italic = (
                        (font if font in fonts else family.regular)._replace(script=script)
                        for font in (family.regular, family.bold, family.italic)
                    )
                    found.append(Family(f"{family.name}, {script}", regular, bold, italic))
    latin = families("sans")[0][0].regular.path
    for script in SQUARE:
        regular = Font(latin, script)
        found.append(Family(script, regular, regular._replace(bold=True), regular))
    return tuple(found)


def _writes(path: str | None, sample: str) -> bool:
    """Tell whether a font has the letters of a sample: one that it has not looks as one that no font has."""
    if path is None:
        return False
    font = ImageFont.truetype(path, MASTER_SIZE, layout_engine=ImageFont.Layout.BASIC)
    missing = bytes(font.getmask("\uffff", "L"))
    return all(bytes(font.getmask(letter, "L")) != missing for letter in sample)
