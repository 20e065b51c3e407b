"""Other scripts than Latin: letters for which a font may have glyphs, and square glyphs drawn without one."""

import random
import re
import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw

ALPHABETS: dict[str, str] = {
    "greek": "αβψδεφγηιξκλμνοπθρστυωχζ",
    "cyrillic": "абцдефгхийклмнопъярстужвьз",
}
"""Letters in place of a, b, c, ...; from the start again where there are fewer than 26."""
ARABIC: tuple[str, ...] = (
    "ALEF",
    "BEH",
    "TEH",
    "DAL",
    "YEH",
    "FEH",
    "GHAIN",
    "HAH",
    "YEH",
    "JEEM",
    "KAF",
    "LAM",
    "MEEM",
    "NOON",
    "WAW",
    "QAF",
    "QAF",
    "REH",
    "SEEN",
    "TAH",
    "WAW",
    "AIN",
    "SHEEN",
    "KHAH",
    "HEH",
    "ZAIN",
)
_NOT_JOINED = {"ALEF", "DAL", "REH", "WAW", "ZAIN"}
"""Letters that do not reach for the next one."""
_FORMS = {(False, False): "ISOLATED", (False, True): "INITIAL", (True, True): "MEDIAL", (True, False): "FINAL"}
SQUARE: tuple[str, ...] = ("han", "kana", "hangul")
GLYPHS = 300
"""Different square glyphs of a script."""


def transliterated(text: str, script: str) -> str:
    """Put letters of an alphabet, in the order in which they are drawn, in place of the Latin ones of one word."""
    if script == "arabic":
        return _arabic(text)
    letters = ALPHABETS[script]

    def letter(character: str) -> str:
        if not ("a" <= character.lower() <= "z"):
            return character
        other = letters[(ord(character.lower()) - ord("a")) % len(letters)]
        return other.upper() if character.isupper() else other

    return "".join(map(letter, text))


def _arabic(text: str) -> str:
    """Join letters as Arabic does and turn each run of them round."""
    return re.sub("[A-Za-z]+", lambda run: _joined(run[0].lower()), text)


def _joined(letters: str) -> str:
    names = [ARABIC[ord(letter) - ord("a")] for letter in letters]
    drawn = []
    for i, name in enumerate(names):
        before = i > 0 and names[i - 1] not in _NOT_JOINED
        after = i + 1 < len(names) and name not in _NOT_JOINED
        drawn.append(unicodedata.lookup(f"ARABIC LETTER {name} {_FORMS[before, after]} FORM"))
    return "".join(reversed(drawn))


def square_word(text: str, script: str, side: int, bold: bool) -> Image.Image:
    """Draw a word of square glyphs, half as many as `text` has letters: an 8-bit image [side, n * side], 255 = ink."""
    count = max(1, round(sum(character.isalpha() for character in text) / 2))
    rng = random.Random(f"{script} {text}")
    image = Image.new("L", (count * side, side))
    for k in range(count):
        image.paste(_glyph(script, rng.randrange(GLYPHS), side, bold), (k * side, 0))
    return image


@lru_cache(maxsize=4 * GLYPHS)
def _glyph(script: str, index: int, side: int, bold: bool) -> Image.Image:
    rng = random.Random(f"{script} {index}")
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    edge, stroke = side * 0.06, max(1, round(side * (0.11 if bold else 0.07)))
    area = (edge, edge, side - edge - 1, side - edge - 1)
    if script == "kana":
        _kana(draw, rng, area, stroke)
    elif script == "hangul":
        _hangul(draw, rng, area, stroke)
    else:
        _han(draw, rng, area, stroke)
    return image


Area = tuple[float, float, float, float]


def _han(draw: ImageDraw.ImageDraw, rng: random.Random, area: Area, stroke: int) -> None:
    """Draw one component, or two beside, above or within each other."""
    x0, y0, x1, y1 = area
    plan = rng.random()
    if plan < 0.5:
        cut = x0 + (x1 - x0) * rng.choice((0.33, 0.4, 0.5))
        _component(draw, rng, (x0, y0, cut - stroke, y1), stroke)
        _component(draw, rng, (cut + stroke, y0, x1, y1), stroke)
    elif plan < 0.8:
        cut = y0 + (y1 - y0) * rng.choice((0.35, 0.45, 0.55))
        _component(draw, rng, (x0, y0, x1, cut - stroke), stroke)
        _component(draw, rng, (x0, cut + stroke, x1, y1), stroke)
    elif plan < 0.88:
        draw.rectangle(area, outline=255, width=stroke)
        inset = stroke * 2.5
        _component(draw, rng, (x0 + inset, y0 + inset, x1 - inset, y1 - inset), stroke)
    else:
        _component(draw, rng, area, stroke)


def _component(draw: ImageDraw.ImageDraw, rng: random.Random, area: Area, stroke: int) -> None:
    x0, y0, x1, y1 = area
    middle = (x0 + x1) / 2
    if rng.random() < 0.25:
        draw.rectangle(area, outline=255, width=stroke)
        draw.line((x0, (y0 + y1) / 2, x1, (y0 + y1) / 2), 255, stroke)
        return
    bars = max(1, min(rng.randint(1, 4), int((y1 - y0) / (2.2 * stroke))))
    for i in range(bars):
        y = y0 + (y1 - y0) * (i + 0.5) / bars
        inset = (x1 - x0) * rng.choice((0.0, 0.0, 0.15))
        draw.line((x0 + inset, y, x1 - inset, y), 255, stroke)
    if rng.random() < 0.7:
        draw.line((middle, y0, middle, y1), 255, stroke)
    if rng.random() < 0.5:
        draw.line((middle, (y0 + y1) / 2, x0, y1), 255, stroke)
        draw.line((middle, (y0 + y1) / 2, x1, y1), 255, stroke)


def _kana(draw: ImageDraw.ImageDraw, rng: random.Random, area: Area, stroke: int) -> None:
    x0, y0, x1, y1 = area
    inset = (x1 - x0) * 0.1
    for _ in range(rng.randint(1, 2)):
        top = y0 + (y1 - y0) * rng.uniform(0.0, 0.4)
        start = rng.randint(0, 360)
        draw.arc((x0 + inset, top, x1 - inset, y1), start, start + rng.randint(120, 280), 255, stroke)
    y = y0 + (y1 - y0) * rng.uniform(0.15, 0.4)
    draw.line((x0 + inset, y, x1 - inset, y), 255, stroke)
    if rng.random() < 0.6:
        x = x0 + (x1 - x0) * rng.uniform(0.3, 0.7)
        draw.line((x, y0, x, y1 - inset), 255, stroke)


def _hangul(draw: ImageDraw.ImageDraw, rng: random.Random, area: Area, stroke: int) -> None:
    x0, y0, x1, y1 = area
    below = rng.random() < 0.5
    foot = y0 + (y1 - y0) * (0.55 if below else 0.95)
    if rng.random() < 0.6:  # a vowel at the right
        cut = x0 + (x1 - x0) * 0.6
        _consonant(draw, rng, (x0, y0, cut - stroke, foot), stroke)
        draw.line((x1 - stroke, y0, x1 - stroke, foot), 255, stroke)
        draw.line((cut + stroke, (y0 + foot) / 2, x1 - stroke, (y0 + foot) / 2), 255, stroke)
    else:
        cut = y0 + (foot - y0) * 0.6
        _consonant(draw, rng, (x0 + stroke, y0, x1 - stroke, cut - stroke), stroke)
        draw.line((x0, foot - stroke / 2, x1, foot - stroke / 2), 255, stroke)
        draw.line(((x0 + x1) / 2, cut, (x0 + x1) / 2, foot), 255, stroke)
    if below:
        _consonant(draw, rng, (x0 + 2 * stroke, foot + stroke, x1 - stroke, y1), stroke)


def _consonant(draw: ImageDraw.ImageDraw, rng: random.Random, area: Area, stroke: int) -> None:
    x0, y0, x1, y1 = area
    kind = rng.randrange(5)
    if kind == 0:
        draw.ellipse(area, outline=255, width=stroke)
    elif kind == 1:
        draw.rectangle(area, outline=255, width=stroke)
    elif kind == 2:
        draw.line([(x0, y0), (x1, y0), (x1, y1)], 255, stroke)
    elif kind == 3:
        draw.line([(x0, y0), (x0, y1), (x1, y1)], 255, stroke)
    else:
        draw.line([(x0, y1), ((x0 + x1) / 2, y0), (x1, y1)], 255, stroke)
