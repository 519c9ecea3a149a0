"""Tax ids: one spelling for each, check digits first (A1)."""

from stdnum.br import cnpj
from stdnum.es import nif
from stdnum.eu import vat
from stdnum.exceptions import ValidationError
from stdnum.it import iva
from stdnum.se import orgnr

from licensing.errors import TaxIdInvalid

_LONGEST = 32
_PUNCTUATION = str.maketrans("", "", " .-/")
#: What people of a country write without its prefix. Only where the form alone can't be taken for another country's.
_BARE = (("IT", iva), ("BR", cnpj), ("SE", orgnr), ("ES", nif))


def normalize(text: str) -> str:
    """The one spelling of a tax id: country prefix, then the number, for example ``IT00743110157``.

    Takes Italian, Brazilian (also alphanumeric CNPJ), Spanish, Swedish (organisation or VAT number) and all EU VAT
    numbers, with or without the usual punctuation; the first four also without prefix.

    Raises:
        TaxIdInvalid: form or check digits are wrong, or there is a character beyond ASCII (python-stdnum would let
            other scripts' digits through unchanged).
    """
    if len(text) > _LONGEST or not text.isascii():
        raise TaxIdInvalid
    compact = text.upper().translate(_PUNCTUATION)
    found = _prefixed(compact[:2], compact[2:]) or _bare(compact)
    if found is None:
        raise TaxIdInvalid
    return found


def _prefixed(country: str, number: str) -> str | None:
    try:
        if country == "BR":
            return f"BR{cnpj.validate(number)}"
        if country == "SE" and len(number) == 10:
            return f"SE{orgnr.validate(number)}"
        if country.lower() in vat.MEMBER_STATES or country == "EL":
            prefixed: str = vat.validate(country + number)
            if country == "FR" and len(prefixed) == 11:
                prefixed = (
                    f"FR{prefixed}"  # the number itself begins with FR, and python-stdnum takes that for the prefix
                )
            # A Swedish VAT number is the organisation number and the suffix 01.
            own = prefixed[2:12] if country == "SE" else prefixed[2:]
            return f"{'EL' if country == 'GR' else country}{own}"
    except ValidationError:
        pass
    return None


def _bare(number: str) -> str | None:
    for country, kind in _BARE:
        try:
            return f"{country}{kind.validate(number)}"
        except ValidationError:
            continue
    return None
