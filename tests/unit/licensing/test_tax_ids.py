"""One spelling for each tax id, check digits first (A1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licensing.errors import TaxIdInvalid
from licensing.rules.tax_ids import normalize


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("IT00743110157", "IT00743110157"),
        ("it 00743110157", "IT00743110157"),
        ("00743110157", "IT00743110157"),
        ("BR12.ABC.345/01DE-35", "BR12ABC34501DE35"),
        ("12.abc.345/01de-35", "BR12ABC34501DE35"),
        ("16.727.230/0001-97", "BR16727230000197"),
        ("ES A13 585 625", "ESA13585625"),
        ("54362315K", "ES54362315K"),
        ("556036-0793", "SE5560360793"),
        ("SE556036079301", "SE5560360793"),
        ("SE5560360793", "SE5560360793"),
        ("DE136695976", "DE136695976"),
        ("FR40303265045", "FR40303265045"),
        ("EL094259216", "EL094259216"),
        ("GR094259216", "EL094259216"),
        ("FRGR180340630", "FRGR180340630"),  # once taken for a Greek prefix, and spelled as FREL748779071 might be
        ("FREL748779071", "FREL748779071"),
        ("FRFR782863971", "FRFR782863971"),  # once spelled without its prefix
    ],
)
def test_one_spelling(typed: str, spelled: str) -> None:
    assert normalize(typed) == spelled


@pytest.mark.parametrize(
    "typed",
    [
        "IT00743110158",  # check digit
        "IT01234567897",  # passes Luhn, but there is no such province office
        "BR12ABC34501DE36",
        "ESA13585626",
        "SE5560360794",
        "DE136695977",
        "IT" + "٠٠٧٤٣١١٠١٥٧",  # Arabic digits: python-stdnum would let them through unchanged
        "IT007431101５7",  # a full-width digit
        "",
        "IT",
        "XX123456789",
        "1" * 33,
        "IT@00743110157",
        "\x00",
    ],
)
def test_mistyped(typed: str) -> None:
    with pytest.raises(TaxIdInvalid):
        normalize(typed)


@given(st.text(max_size=40))
def test_any_text_is_a_tax_id_or_refused(text: str) -> None:
    try:
        spelled = normalize(text)
    except TaxIdInvalid:
        return
    assert normalize(spelled) == spelled
