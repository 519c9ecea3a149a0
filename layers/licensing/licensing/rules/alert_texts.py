"""Alerts in words: what is the matter, and what to do about it. Marked here, said in the reader's language."""

from collections.abc import Mapping
from datetime import timedelta

from licensing.rules.alerts import Alert, AlertKind, Group
from licensing.rules.heartbeat import GRACE_DAYS
from licensing.texts import Say, mark

#: By kind: what ends in some days, tomorrow, today, and what has ended.
_ENDS: Mapping[AlertKind, tuple[str, str, str, str]] = {
    "license": (
        mark("{name} ends in {days} days, on {day}."),
        mark("{name} ends tomorrow, {day}."),
        mark("{name} ends today, {day}."),
        mark("{name} ended on {day}."),
    ),
    "trial": (
        mark("The trial of {name} ends in {days} days, on {day}."),
        mark("The trial of {name} ends tomorrow, {day}."),
        mark("The trial of {name} ends today, {day}."),
        mark("The trial of {name} ended on {day}."),
    ),
    "care": (
        mark("The support plan {care} of {name} ends in {days} days, on {day}."),
        mark("The support plan {care} of {name} ends tomorrow, {day}."),
        mark("The support plan {care} of {name} ends today, {day}."),
        mark("The support plan {care} of {name} ended on {day}."),
    ),
    "activation_key": (
        mark("The activation key of {name} ends in {days} days, on {day}."),
        mark("The activation key of {name} ends tomorrow, {day}."),
        mark("The activation key of {name} ends today, {day}."),
        mark("The activation key of {name} ended on {day}."),
    ),
    "offline_license": (
        mark("The offline license of {name} ends in {days} days, on {day}."),
        mark("The offline license of {name} ends tomorrow, {day}."),
        mark("The offline license of {name} ends today, {day}."),
        mark("The offline license of {name} ended on {day}."),
    ),
    "signing_key": (
        mark("The signing key for {name} is due to be replaced in {days} days, on {day}."),
        mark("The signing key for {name} is due to be replaced tomorrow, {day}."),
        mark("The signing key for {name} is due to be replaced today, {day}."),
        mark("The signing key for {name} was due to be replaced on {day}."),
    ),
}

#: What a signing key signs, by its use.
_SIGNED: Mapping[str, str] = {
    "server": mark("server tokens"),
    "file": mark("offline licenses"),
    "key": mark("activation keys"),
    "seat": mark("seats"),
    "seal": mark("seals of the operation log"),
}


def what(alert: Alert, say: Say) -> str:
    """What is the matter."""
    if alert.kind == "silence":
        blocked = alert.day + timedelta(days=GRACE_DAYS + 1)
        if alert.days > GRACE_DAYS:
            return say(
                mark("The server {name} has been blocked since {blocked}: it last validated on {day}."),
                name=alert.name, blocked=blocked, day=alert.day,
            )  # fmt: skip
        return say(
            mark("The server {name} has not validated for {days} days, since {day}. It will be blocked on {blocked}."),
            name=alert.name, days=alert.days, day=alert.day, blocked=blocked,
        )  # fmt: skip
    later, tomorrow, today, over = _ENDS[alert.kind]
    text = over if alert.days > 0 else today if alert.days == 0 else tomorrow if alert.days == -1 else later
    name = say(_SIGNED[alert.name]) if alert.kind == "signing_key" else alert.name
    return say(text, name=name, days=-alert.days, day=alert.day, care=alert.facts.get("care", ""))


def what_to_do(alert: Alert, group: Group, say: Say) -> str:
    """What the reader can do about it."""
    own = group.organization == "customer"
    match alert.kind:
        case "license" if own:
            return _asking(group.seller, mark("To go on using it, ask {seller} to renew it."), say)
        case "license":
            return say(mark("Renew it in the portal, or agree with the customer that it ends."))
        case "trial" if own:
            return _asking(group.seller, mark("To keep it, ask {seller} for a license."), say)
        case "trial":
            return say(mark("Turn it into a license in the portal, or let it end."))
        case "care" if own:
            return _asking(group.seller, mark("To keep support and updates, ask {seller} to renew the plan."), say)
        case "care":
            return say(mark("Renew the plan in the portal, or agree with the customer that it ends."))
        case "activation_key" if own:
            return say(mark("Import the renewed key that you were sent. If there is none, ask for it in the portal."))
        case "activation_key":
            return say(mark("Make sure that the customer has the renewed key, and has imported it."))
        case "offline_license":
            return say(
                mark("Write a new request file on the server, and exchange it for a license file in the portal.")
            )
        case "signing_key":
            return say(
                mark("Publish a new key, and switch to it an hour later: cloud-licensing keys publish, keys switch.")
            )
    if own:
        return say(
            mark("Make sure that the License Manager runs on {host} and reaches the internet, and validate there."),
            host=alert.code,
        )
    return say(
        mark("Ask the customer whether {host} runs, and whether its License Manager reaches the internet."),
        host=alert.code,
    )


def _asking(seller: str, text: str, say: Say) -> str:
    """A sentence about whom to ask. One that ends with a name such as "S.r.l." has its full stop already."""
    said = say(text, seller=seller)
    return said.removesuffix(".") if said.endswith("..") else said
