"""What is sent is read alike by every parser: subjects and senders of any length, in any language."""

import email
import email.policy
import random
from email.header import decode_header, make_header
from email.utils import parseaddr
from typing import Any

import pytest
from licensing import mail
from licensing.rules.vendor import Vendor

WORDS = [
    "the", "è", "à", "support", "plan", "(5 channels)", "Räksmörgås", "scaduto", "of", "días,", "não", "日本語", "x", "31",
    "Reception-and-Queue-Management-Enterprise-Edition-for-Large-Hospitals-2027",
]  # fmt: skip
SUBJECTS = [
    "The support plan GOLD of Reception-and-Queue-Management-Enterprise-Edition-for-Large-Hospitals ended on 1 May 2027",
    "Il piano di assistenza GOLD di Gestione code Enterprise (5 channels) è scaduto il 31 marzo 2027",
    "x of the the días, scaduto (5 não 日本語 日本語 y y",
]


class _Template:
    def __init__(self, text: str) -> None:
        self._text = text

    def render(self, told: Any) -> str:
        return self._text


class _Environment:
    def __init__(self, subject: str) -> None:
        self._subject = subject

    def get_template(self, name: str) -> _Template:
        return _Template(f"{self._subject}\n\nText" if name.endswith(".txt") else "<p>Text</p>")


def sent(monkeypatch: pytest.MonkeyPatch, subject: str, vendor: str) -> bytes:
    monkeypatch.setenv("MAIL_SENDER", "licenses@aurora.example")
    monkeypatch.setattr(mail, "_environment", lambda chosen: _Environment(subject))
    return mail.compose("alerts", "en", Vendor(vendor), ["giulia@officine.example"], {}).as_bytes()


def test_a_subject_reads_as_it_was_written_in_either_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(6)
    subjects = SUBJECTS + [" ".join(chance.choices(WORDS, k=chance.randint(3, 25))) for _ in range(300)]
    for subject in subjects:
        raw = sent(monkeypatch, subject, "Aurora")
        newer, older = email.message_from_bytes(raw, policy=email.policy.default), email.message_from_bytes(raw)
        assert str(newer["Subject"]) == subject
        # RFC 5322: unfolding takes the line ends away, and nothing else.
        assert str(make_header(decode_header(older["Subject"].replace("\n", "")))) == subject
        assert all(len(word) <= 75 for word in raw.partition(b"\nFrom:")[0].split() if word.startswith(b"=?"))


@pytest.mark.parametrize(
    "name", ["Aurora Software", "Aurora, Inc.", "Räksmörgås & Søner (5 kanäler), Aktiebolag för Växlar i Hela Norden"]
)
def test_a_sender_reads_as_it_was_written_in_either_parser(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    raw = sent(monkeypatch, "Test", name)
    newer, older = email.message_from_bytes(raw, policy=email.policy.default), email.message_from_bytes(raw)
    # Python's newer parser leaves the blank between two encoded words in names (until 3.13).
    assert newer["From"].addresses[0].display_name.replace(" ", "") == name.replace(" ", "")
    assert newer["From"].addresses[0].addr_spec == "licenses@aurora.example"
    said, address = parseaddr(older["From"].replace("\n", ""))
    assert (str(make_header(decode_header(said))), address) == (name, "licenses@aurora.example")
