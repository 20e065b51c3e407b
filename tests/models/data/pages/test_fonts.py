"""Other scripts: letters where a font has them, square glyphs everywhere, and widths that layouts can rely on."""

import random

import numpy as np
import pytest

from models.data.pages import fonts
from models.data.pages.fonts import Font, foreign_families, sized
from models.data.pages.scripts import ALPHABETS, SQUARE, transliterated


def test_square_glyphs_need_no_font() -> None:
    assert {family.name for family in foreign_families()} >= set(SQUARE)


@pytest.mark.parametrize("script", SQUARE)
def test_a_word_of_square_glyphs_is_as_wide_as_it_says_and_has_ink(script: str) -> None:
    face = sized(Font(None, script), 20)
    word = face.word("treatment")
    assert word.advance == pytest.approx(4 * face.size, rel=0.02)
    assert word.ink.shape[1] <= word.advance + 2
    assert 0.05 < (word.ink > 128).mean() < 0.7
    assert not np.array_equal(word.ink, face.word("different").ink)
    assert face.word("123").advance < 3 * face.size  # numbers are in the font's digits


def test_a_word_keeps_its_length_and_numbers_in_another_alphabet() -> None:
    for script in (*ALPHABETS, "arabic"):
        written = transliterated("Levels(24).", script)
        assert len(written) == len("Levels(24).")
        assert written[6:] == "(24)."
        assert not set(written[:6].lower()) & set("abcdefghijklmnopqrstuvwxyz")


def test_letters_of_arabic_join_within_a_word_that_is_drawn_from_its_end() -> None:
    beh_initial, beh_medial, beh_final, alef_final = "\ufe91", "\ufe92", "\ufe90", "\ufe8e"
    assert transliterated("bbb", "arabic") == beh_final + beh_medial + beh_initial
    assert transliterated("ba", "arabic") == alef_final + beh_initial
    assert transliterated("ab", "arabic") == "\ufe8f\ufe8d"  # alef does not join the next one


def test_fonts_of_another_script_have_its_letters() -> None:
    for family in foreign_families():
        if family.regular.script not in SQUARE:
            assert family.regular.path is not None
            for font in (family.regular, family.bold, family.italic):
                face = sized(font, 20)
                drawn = {face.word(letter).ink.tobytes() for letter in "abcdefghij"}
                assert len(drawn) >= 5
    assert fonts.draw_foreign_family(random.Random(1)) in foreign_families()
