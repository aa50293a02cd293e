import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.fold import fold, words

VIETNAMESE = st.text("aăâbcdđeêghiklmnoôơpqrstuưvxyáàảãạấầẩẫậắằẳẵặéèẻẽẹếềểễệíìỉĩịóòỏõọốồổỗộớờởỡợúùủũụứừửữựýỳỷỹỵ ")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Nguyễn Đức", "nguyen duc"),
        ("NGUYỄN   ĐỨC", "nguyen duc"),
        ("Nguyễn-Trần", "nguyen tran"),
        ("O'Brien", "obrien"),
        ("Thành phố  Hồ Chí Minh, Q.1", "thanh pho ho chi minh q 1"),
        ("Straße", "strasse"),
        ("?", "?"),
        ("", ""),
    ],
)
def test_case_marks_punctuation_and_blanks_do_not_matter(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(VIETNAMESE)
def test_composed_and_decomposed_letters_in_either_case_fold_alike(text: str) -> None:
    forms = {fold(unicodedata.normalize(form, case)) for form in ("NFC", "NFD") for case in (text, text.upper())}
    assert len(forms) == 1
    assert forms.pop().isascii()


@given(st.text())
def test_folding_twice_changes_nothing_for_texts_that_have_a_letter(text: str) -> None:
    once = fold(text)
    if any(character.isalnum() for character in once):
        assert fold(once) == once


@given(st.text(min_size=1))
def test_only_a_blank_text_folds_to_nothing(text: str) -> None:
    assert bool(fold(text)) == bool(text.strip())


def test_words_are_parted_at_blanks_and_punctuation() -> None:
    assert words("Lê Lợi,P.Bến Nghé") == ["le", "loi", "p", "ben", "nghe"]
