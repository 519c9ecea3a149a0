"""Addresses that can have an account, and which of them are the same."""

import pytest
from licensing.rules.people import email_key, is_email


@pytest.mark.parametrize(
    "text", ["a@example.com", " A.B+c@Example.COM ", "o'neil@mail.example.co.uk", "a" * 112 + "@example.com"]
)
def test_plain_addresses(text: str) -> None:
    assert is_email(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "@example.com", "a@", "a@b", "a@@example.com", "a@b@example.com", "a b@example.com", "a@exa mple.com",
     "a,b@example.com",
     "<a@example.com>", '"a"@example.com', "a@example.com\nBcc: b@example.com", "a" * 120 + "@example.com",
     "straße@example.com", "a@bücher.example", "\u0131@example.com", "a@example..com",
     ".a@example.com", "a.@example.com", "a..b@example.com", "a@-example.com", "a@example-.com"],
)  # fmt: skip
def test_what_no_account_can_have(text: str) -> None:
    assert not is_email(text)


def test_case_and_blanks_do_not_make_another_mailbox() -> None:
    assert email_key(" Giulia@Example.com") == email_key("giulia@example.COM")


def test_letters_that_fold_into_others_are_not_taken_for_them() -> None:
    assert email_key("straße@example.com") != email_key("strasse@example.com")
