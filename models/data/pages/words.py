"""Words, numbers and phrases that fill the pages: they look like a journal and mean nothing."""

import random
from collections.abc import Callable
from functools import lru_cache

_SHORT_WORDS = (
    "the of and in to a is was for with that as by on are were from at which an be or this it not we had "
    "these has been have between than also after may their both can its all but more other no two only "
    "into during each when such using our most there one who did however more than time low high age "
)
_LONG_WORDS = (
    "patients study results analysis data significant group treatment levels expression cells clinical "
    "increased compared observed effect associated protein higher reported different previous method "
    "model control activity response samples performance disease function present population measured "
    "studies mean risk factors tissue values type rate research health system positive changes "
    "development including related showed similar based lower test three blood found induced specific "
    "human used participants differences evidence concentration temperature receptor interaction "
    "distribution structure information intervention sensitivity correlation respectively approximately "
    "mechanism environmental conditions experiments statistical parameters demonstrated investigation "
    "regions "
)
SHORT = tuple(_SHORT_WORDS.split())
LONG = tuple(_LONG_WORDS.split())
MADE = 240
_ONSETS = (
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "st",
    "tr",
    "pr",
    "gl",
    "ph",
    "ch",
    "sc",
    "pl",
    "cr",
)
_VOWELS = ("a", "e", "i", "o", "u", "ia", "io", "ea", "ou")
_CODAS = ("", "", "", "n", "r", "s", "l", "m", "nt", "st", "ct")
_ENDINGS = (
    "tion",
    "ment",
    "al",
    "ic",
    "ed",
    "ing",
    "ity",
    "ous",
    "ine",
    "ate",
    "ly",
    "es",
    "is",
    "um",
    "ar",
    "ance",
    "ology",
)


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """About 1200 words, short ones repeated as often as running text repeats them."""
    rng = random.Random(11)
    made = [_made_word(rng) for _ in range(MADE)]
    names = [word.capitalize() for word in made[:60]] + [
        "DNA",
        "RNA",
        "HIV",
        "MRI",
        "BMI",
        "IL-6",
        "TNF",
        "CI",
        "PCR",
        "SD",
    ]
    numbers = [str(rng.randint(2, 2015)) for _ in range(12)] + ["0.05", "95%", "1.2", "n = 24"]
    stops = [word + "." for word in (*made[60:90], *LONG[:25])] + [word + "," for word in made[90:125]]
    brackets = [f"({word})" for word in ("Figure 1", "Table 2", "p < 0.01", "n = 30", "see below", "SD")]
    return (*SHORT * 5, *LONG * 2, *made, *names, *numbers, *stops, *brackets)


def _made_word(rng: random.Random) -> str:
    syllables = rng.choice((1, 1, 1, 2, 2))
    stem = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables))
    return stem + (rng.choice(_ENDINGS) if rng.random() < 0.55 else "")


@lru_cache(maxsize=1)
def numeric_cells() -> tuple[tuple[str, ...], ...]:
    """Pools of table entries, each pool of one format."""
    rng = random.Random(12)
    formats: tuple[Callable[[], str], ...] = (
        lambda: str(rng.randint(0, 99)),
        lambda: f"{rng.uniform(0, 10):.2f}",
        lambda: f"{rng.uniform(0, 100):.1f}",
        lambda: f"{rng.uniform(1, 90):.1f} ± {rng.uniform(0, 9):.1f}",
        lambda: f"{rng.randint(1, 300)} ({rng.uniform(0, 100):.1f})",
        lambda: f"{rng.uniform(0.2, 3):.2f} ({rng.uniform(0, 1):.2f}-{rng.uniform(1, 5):.2f})",
        lambda: rng.choice(("<0.001", f"{rng.uniform(0, 1):.3f}", f"0.0{rng.randint(1, 9)}*")),
        lambda: rng.choice(("+", "-", "+", "Yes", "No", "NS", "NA")),
        lambda: f"{rng.randint(1, 40)},{rng.randint(100, 999)}",
    )
    return tuple(tuple(make() for _ in range(40)) for make in formats)


def phrase(rng: random.Random, count: int) -> str:
    """`count` content words, the first with a capital letter."""
    words = [rng.choice(LONG) if i % 3 != 2 else rng.choice(SHORT) for i in range(count)]
    return " ".join(words).capitalize()


def person(rng: random.Random) -> str:
    """Draw a name such as an author list holds."""
    names = vocabulary()
    first = len(SHORT) * 5 + len(LONG) * 2
    surname = names[first + rng.randrange(MADE)].capitalize()
    return f"{chr(65 + rng.randrange(26))}. {surname}"
