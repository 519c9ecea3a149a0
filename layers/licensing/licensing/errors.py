"""Every refusal the system can give: one class per cause, each with its stable code.

``code`` is part of the HTTP contract and never changes; ``detail`` says what happened and what to do, and may.
This module is the catalogue; the OpenAPI document names each route's from it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from licensing.texts import mark


class LicensingError(Exception):
    """Root of all refusals.

    ``members`` are added to the problem document beside the standard ones (RFC 9457, section 3.2) and fill the
    placeholders of ``detail``. ``retry_after`` is in seconds.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    detail: ClassVar[str]

    def __init__(self, *, retry_after: int | None = None, **members: Any) -> None:
        super().__init__(self.code)
        self.retry_after = retry_after
        self.members: Mapping[str, Any] = members


class MalformedJson(LicensingError):
    """Raised when a body is not JSON at all, or is nested beyond reason."""

    code, status = "MALFORMED_JSON", 400
    detail = mark("The body is not valid JSON.")


class InvalidToken(LicensingError):
    """Raised when a server token is missing, altered, foreign, of another type or signed by a key we don't know."""

    code, status = "INVALID_TOKEN", 401
    detail = mark("The server token is not accepted. Activate this server again with its activation token or tax id.")


class InvalidProof(LicensingError):
    """Raised when the proof of possession (RFC 9449) is missing or does not fit the token, the request or the body."""

    code, status = "INVALID_PROOF", 401
    detail = mark(
        "The proof of possession is missing or does not fit this request. The token is of no use without its key."
    )


class ClockSkewed(LicensingError):
    """Raised when a proof was made at a time too far from ours; ``server_time`` tells ours."""

    code, status = "CLOCK_SKEWED", 401
    detail = mark("This machine's clock is too far off. Set it right; our time is {server_time}.")


class Unauthorized(LicensingError):
    """Raised when nobody, or somebody unknown, asks for what only a user may have."""

    code, status = "UNAUTHORIZED", 401
    detail = mark("Sign in first.")


class Forbidden(LicensingError):
    """Raised when something is a user's own, and not for that user to do."""

    code, status = "FORBIDDEN", 403
    detail = mark("Your role does not allow this.")


class SignInFailed(LicensingError):
    """Raised when e-mail and password do not go together, or there is no such user; it doesn't tell which."""

    code, status = "SIGN_IN_FAILED", 403
    detail = mark("E-mail address or password is not right.")


class PasswordRefused(LicensingError):
    """Raised when a new password is not one that the user pool accepts."""

    code, status = "PASSWORD_REFUSED", 422
    detail = mark("Choose a password of at least 12 characters.")


class LinkInvalid(LicensingError):
    """Raised when a link from an e-mail is unknown, incomplete, used or has ended."""

    code, status = "LINK_INVALID", 404
    detail = mark("This link does not work: it is incomplete, was used already, or has ended.")


class UnlockLinkInvalid(LicensingError):
    """Raised when an unlock link is unknown or was cut off (B2)."""

    code, status = "UNLOCK_LINK_INVALID", 404
    detail = mark("This unlock link is not complete, or was never sent.")


class ForwardingOver(LicensingError):
    """Raised when an unlock link is to pass an activation on more than two weeks after the unlocking (B2)."""

    code, status = "FORWARDING_OVER", 410
    detail = mark("This link does not pass the activation on any more. Ask the reseller for an invitation.")


class FormExpired(LicensingError):
    """Raised when a form comes from another site, or from a page of another session."""

    code, status = "FORM_EXPIRED", 403
    detail = mark("This page was open too long, or you signed in anew meanwhile. Go back, reload it, and try again.")


class AlreadyRegistered(LicensingError):
    """Raised when an e-mail address has its account already; one is for one organization."""

    code, status = "ALREADY_REGISTERED", 409
    detail = mark("This e-mail address has an account already. Sign in with it.")


class TaxIdExists(LicensingError):
    """Raised when somebody has this tax id already."""

    code, status = "TAX_ID_EXISTS", 409
    detail = mark("There is a company with this tax id already.")


class LastAdministrator(LicensingError):
    """Raised when a customer would be left without an administrator."""

    code, status = "LAST_ADMINISTRATOR", 409
    detail = mark("This is the only administrator. Make somebody else one first.")


class StillMember(LicensingError):
    """Raised when a person's traces are to be erased who still has an account."""

    code, status = "STILL_MEMBER", 409
    detail = mark("This person still has an account. Remove the account first.")


class OrderNumberWrong(LicensingError):
    """Raised when an order number does not go with an unlock link (B2)."""

    code, status = "ORDER_NUMBER_WRONG", 403
    detail = mark("This is not the number of this order. It is in the e-mail, and on the reseller's own papers.")


class OrderingNotAllowed(LicensingError):
    """Raised when a reseller orders that the vendor does not let order."""

    code, status = "ORDERING_NOT_ALLOWED", 403
    detail = mark("This reseller may not order. Ask the vendor.")


class CodeWrong(LicensingError):
    """Raised when the one-time code does not match; also for a tax id that nobody has."""

    code, status = "CODE_WRONG", 403
    detail = mark("The code is not right. Check the newest e-mail; {tries_left} tries are left.")


class TicketInvalid(LicensingError):
    """Raised when a ticket is unknown, has ended, or has been used for another server."""

    code, status = "TICKET_INVALID", 403
    detail = mark("The activation ticket is not valid any more. Begin again with the tax id.")


class ActivationTokenInvalid(LicensingError):
    """Raised when an activation token is unknown or was replaced by a newer one."""

    code, status = "ACTIVATION_TOKEN_INVALID", 403
    detail = mark(
        "The activation token is unknown or was replaced. Copy the current one from the server's page in the portal."
    )


class Refused(LicensingError):
    """Raised when a guard says no where that is an error, as at activation; code and detail are the guard's."""

    code, status = "REFUSED", 403
    detail = ""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__()
        self.code = code  # type: ignore[misc]
        self.detail = detail  # type: ignore[misc]


class SilentTooLong(LicensingError):
    """Raised when the server behind a station has not validated for more than ten days (A5)."""

    code, status = "SILENT_TOO_LONG", 403
    detail = mark(
        "This server has not validated for more than ten days. Let its License Manager validate, then try again."
    )


class KeyMissing(LicensingError):
    """Raised when the customer has no activation key (C10)."""

    code, status = "KEY_MISSING", 403
    detail = mark(
        "There is no activation key. Import the key that the vendor sent; if there is none, turn to the vendor."
    )


class KeyForeignCompany(LicensingError):
    """Raised when the activation key does not name the company, or is another customer's key (C9, C10)."""

    code, status = "KEY_FOREIGN_COMPANY", 403
    detail = mark(
        "The activation key does not name the company {tax_id}. Check the tax id, or ask the vendor for a key with it."
    )


class KeyExpired(LicensingError):
    """Raised when the activation key's last day is over (C11)."""

    code, status = "KEY_EXPIRED", 403
    detail = mark(
        "The activation key ended on {last_day}. Import the renewed key; ask the vendor for it if it has not come."
    )


class KeyNotYetValid(LicensingError):
    """Raised when the activation key's first day has not come."""

    code, status = "KEY_NOT_YET_VALID", 403
    detail = mark("The activation key is valid from {first_day}.")


class NotFound(LicensingError):
    """Raised when there is no such thing, or it is not yours."""

    code, status = "NOT_FOUND", 404
    detail = mark("There is no such thing here.")


class InstallationTaken(LicensingError):
    """Raised when another machine holds the installation (A2, A7)."""

    code, status = "INSTALLATION_TAKEN", 409
    detail = mark(
        "Another server holds this installation. Deactivate it there, or release it in the portal, and try again."
    )


class StaleVersion(LicensingError):
    """Raised when what is to be changed was changed by somebody else since it was read; ``version`` is the one now."""

    code, status = "STALE_VERSION", 409
    detail = mark("Somebody else changed this meanwhile. Look at it as it is now, and decide again.")


class QuantityExceeded(LicensingError):
    """Raised when more is assigned than a license, or the licenses of a row, have."""

    code, status = "QUANTITY_EXCEEDED", 409
    detail = mark("{license}: {assigned} are more than the {quantity} that can be assigned.")


class RedundancyServer(LicensingError):
    """Raised when a redundancy license would be on a server that holds the main product (B4)."""

    code, status = "REDUNDANCY_SERVER", 409
    detail = mark(
        "{application}: {installation} can't hold the product and its redundancy license at once. Redundancy licenses are for "
        "another server, which takes over."
    )


class RedundancyExceeded(RedundancyServer):
    """Raised when more redundancy licenses are assigned than there is of the main product (B4)."""

    detail = mark(
        "{application}: {assigned} redundancy licenses are more than the {quantity} of the product that they stand in for."
    )


class LicenseOver(LicensingError):
    """Raised when more of a license is assigned that has ended, or was refunded or returned."""

    code, status = "LICENSE_OVER", 409
    detail = mark("License {license} is over. What is assigned can be taken back, and nothing new can be assigned.")


class InstallationDisabled(LicensingError):
    """Raised when something is assigned to a disabled installation (B5)."""

    code, status = "INSTALLATION_DISABLED", 409
    detail = mark("{installation} is disabled. Enable it before you assign something to it.")


class NameTaken(LicensingError):
    """Raised when a customer has an installation of this name already."""

    code, status = "INSTALLATION_NAME_TAKEN", 409
    detail = mark("There is a server called {name} already. Give each a name of its own.")


class InstallationInUse(LicensingError):
    """Raised when an installation is to be deleted that a server has activated, or that something is assigned to."""

    code, status = "INSTALLATION_IN_USE", 409
    detail = mark(
        "{installation} can't be deleted: a server has activated it, or something is assigned to it. Disable it instead."
    )


class TooManyChanges(LicensingError):
    """Raised when a change is too large to be made all at once."""

    code, status = "TOO_MANY_CHANGES", 422
    detail = mark("These are too many changes for one save, which is all or nothing. Save them in several steps.")


class OfflineNotAllowed(LicensingError):
    """Raised when a subscription or trial is assigned to an installation that is to go offline (B8).

    ``reason`` is ``ONLINE_REQUIRED`` or ``NOTHING_PERPETUAL``, ``licenses`` are the codes in the way.
    """

    code, status = "OFFLINE_NOT_ALLOWED", 409
    detail = mark(
        "Subscriptions and trials must be validated online, and at least one is assigned to this installation. "
        "Assign it to another one first, or activate this server online."
    )


class NothingPerpetual(OfflineNotAllowed):
    """Raised when no perpetual license in force is assigned to an installation that is to go offline (B8)."""

    detail = mark(
        "Only perpetual licenses can be used offline, and none that is in force is assigned to this installation. "
        "Assign one first."
    )


class OfflineRequestUsed(LicensingError):
    """Raised when a request file has led to a license before, and that is not the one in use any more."""

    code, status = "OFFLINE_REQUEST_USED", 409
    detail = mark(
        "This request file was used before. Make a new one on the server with `license-manager offline request --new`."
    )


class ReceiptMismatch(LicensingError):
    """Raised when a deactivation receipt is about another installation, or about a license that is not out."""

    code, status = "DEACTIVATION_RECEIPT_MISMATCH", 409
    detail = mark(
        "This deactivation receipt belongs to another installation, or not to the license file that this one has now. "
        "If a newer license file was made for the server, import that one there, and deactivate again."
    )


class SeatLimitReached(LicensingError):
    """Raised when all seats of a pool are taken (C5)."""

    code, status = "SEAT_LIMIT_REACHED", 409
    detail = mark(
        "All {capacity} seats are taken ({in_use} in use). Try again when somebody leaves; if this happens often, "
        "reconsider the quantity."
    )


class SeatBorrowed(LicensingError):
    """Raised when a borrowed seat is to be released: it counts until it is returned or ends (C13)."""

    code, status = "SEAT_BORROWED", 409
    detail = mark("This seat is borrowed until {until}. It is free again when it is returned, or at that time.")


class BorrowingNotAllowed(LicensingError):
    """Raised when a seat can't be borrowed, or not for so long (C13)."""

    code, status = "BORROWING_NOT_ALLOWED", 409
    detail = mark("This seat can be borrowed for at most {max_days} days.")


class LeaseTimeInKey(LicensingError):
    """Raised when the lease time of a pool is to be changed that an activation key says."""

    code, status = "LEASE_TIME_IN_KEY", 409
    detail = mark(
        "The activation key says how long a lease of these seats lasts. Ask the vendor for a key that says otherwise."
    )


class CompanyLimitReached(LicensingError):
    """Raised when the key's quota of companies is used up (C2)."""

    code, status = "COMPANY_LIMIT_REACHED", 409
    detail = mark("All {limit} companies of the activation key are in use. Ask the vendor for a key with more.")


class CompanyExists(LicensingError):
    """Raised when a company with this tax id is there already."""

    code, status = "TAX_ID_EXISTS", 409
    detail = mark("There is a company with this tax id already.")


class KeySuperseded(LicensingError):
    """Raised when a newer activation key of the same group was imported already (C9)."""

    code, status = "KEY_SUPERSEDED", 409
    detail = mark(
        "A newer activation key was imported on {imported_on}. Use the newest one; the vendor can send it again."
    )


class PreviewStale(LicensingError):
    """Raised when a key's preview is too old, or another key was imported since it was made."""

    code, status = "STALE_VERSION", 409
    detail = mark("This preview is out of date. Look at the key again, and confirm what it shows then.")


class KeyRenewalTooEarly(LicensingError):
    """Raised when a renewal is asked for before the vendor has had its time to send it (C1)."""

    code, status = "RENEWAL_TOO_EARLY", 409
    detail = mark("The renewed key is sent by itself. It can be asked for from {from_day}.")


class OfflineLicenseOut(LicensingError):
    """Raised when what an offline license holds would be taken away while its file is out (B9)."""

    code, status = "OFFLINE_LICENSE_OUT", 409
    detail = mark(
        "{installation} is offline, with a license file that nobody can call back. What it holds stays as it is until the server's "
        "deactivation receipt is handed in, or until it ends."
    )


class OrderExists(LicensingError):
    """Raised when a reseller's order number is taken already."""

    code, status = "ORDER_EXISTS", 409
    detail = mark("There is an order {order_number} of this reseller already.")


class AlreadyUnlocked(LicensingError):
    """Raised when an order is unlocked again, or cancelled too late; ``unlocked_at`` says since when."""

    code, status = "ALREADY_UNLOCKED", 409
    detail = mark("This order is unlocked since {unlocked_at}.")


class CustomerDeleted(LicensingError):
    """Raised when something is ordered or unlocked for a customer that is deleted."""

    code, status = "CUSTOMER_DELETED", 409
    detail = mark("This customer is deleted. The vendor can restore it.")


class RenewalTooEarly(LicensingError):
    """Raised when something is renewed more than 365 days before its end (D6)."""

    code, status = "RENEWAL_TOO_EARLY", 409
    detail = mark("It ends on {last_day} and can be renewed from {renewable_from} on.")


class RenewalTooLate(LicensingError):
    """Raised when something is renewed that has ended (D6)."""

    code, status = "RENEWAL_TOO_LATE", 409
    detail = mark("It ended on {last_day}. Order it anew.")


class NotRenewable(LicensingError):
    """Raised when a license has nothing that could be renewed: no end, no care plan, or it is locked or given back."""

    code, status = "NOT_RENEWABLE", 409
    detail = mark("License {license_code} has nothing that can be renewed in this way.")


class OrderCancelled(LicensingError):
    """Raised when something is done with an order that was cancelled."""

    code, status = "ORDER_CANCELLED", 410
    detail = mark("This order was cancelled.")


class CodeExpired(LicensingError):
    """Raised when a one-time code has ended, was used up by wrong tries, or was never asked for."""

    code, status = "CODE_EXPIRED", 410
    detail = mark("This code has ended. Ask for a new one.")


class SeatLost(LicensingError):
    """Raised when a seat's lease has ended, or somebody released it: a heartbeat never revives one."""

    code, status = "SEAT_LOST", 410
    detail = mark("This seat is not held any more: its lease ended, or it was released. Ask for a new one.")


class PayloadTooLarge(LicensingError):
    """Raised when a body is larger than any honest one."""

    code, status = "PAYLOAD_TOO_LARGE", 413
    detail = mark("The body is too large; at most {limit} bytes are accepted.")


class UnsupportedMediaType(LicensingError):
    """Raised when a body is not declared as JSON."""

    code, status = "UNSUPPORTED_MEDIA_TYPE", 415
    detail = mark("Send the body as application/json.")


class InvalidRequest(LicensingError):
    """Raised when JSON is well formed and not what the route takes; ``errors`` points at each fault (RFC 6901)."""

    code, status = "INVALID_REQUEST", 422
    detail = mark("The request is not valid; see errors.")


class ProductUnknown(LicensingError):
    """Raised when there is no such product, or it does not go with the license that it is to expand."""

    code, status = "PRODUCT_UNKNOWN", 422
    detail = mark("There is no product {sku} that fits.")


class LicenseUnknown(LicensingError):
    """Raised when an order names a license that is not the customer's, or that its reseller may not know of."""

    code, status = "LICENSE_UNKNOWN", 422
    detail = mark("The customer has no license {license_code}.")


class ResellerUnknown(LicensingError):
    """Raised when an order names no reseller, or one that is not there."""

    code, status = "RESELLER_UNKNOWN", 422
    detail = mark("There is no reseller with this tax id.")


class CustomerDetailsMissing(LicensingError):
    """Raised when an order is for a customer that is new, and does not say enough to make it."""

    code, status = "CUSTOMER_DETAILS_MISSING", 422
    detail = mark("For a new customer, give name, country, time zone and language.")


class RecipientMissing(LicensingError):
    """Raised when an order's e-mail would have nobody to go to."""

    code, status = "RECIPIENT_MISSING", 422
    detail = mark("Say to whom the e-mail goes: neither the order nor the reseller has an address.")


class PeriodNotOnSale(LicensingError):
    """Raised when a product is not sold for such a period; ``periods`` are those on sale, in years."""

    code, status = "PERIOD_NOT_ON_SALE", 422
    detail = mark("{sku} is not sold for this period. On sale, in years: {periods}.")


class ModuleNotCompatible(LicensingError):
    """Raised when modules do not fit a product's application (D2)."""

    code, status = "MODULE_NOT_COMPATIBLE", 422
    detail = mark("{sku} does not go with the modules {modules}.")


class TaxIdInvalid(LicensingError):
    """Raised when a tax id's form or check digits are wrong (A1)."""

    code, status = "TAX_ID_INVALID", 422
    detail = mark("This is not a valid tax id: its form or its check digits are wrong. Check for a typing error.")


class OfflineFileWrong(LicensingError):
    """Raised when a text is something else than the request file or deactivation receipt that is asked for."""

    code, status = "OFFLINE_FILE_WRONG", 422
    detail = mark("This is not the file that is needed here. `{command}` on the server makes it.")


class OfflineFileDamaged(LicensingError):
    """Raised when a request file or deactivation receipt is not whole."""

    code, status = "OFFLINE_FILE_DAMAGED", 422
    detail = mark("This file is not complete, or was damaged on the way. Take it from the server again.")


class OfflineFileAltered(LicensingError):
    """Raised when a request file or deactivation receipt was not signed as it is by the key that it must be signed with."""

    code, status = "OFFLINE_FILE_ALTERED", 422
    detail = mark(
        "This file was changed after it was made, or signed with another key than the server's. Take it from the server "
        "again."
    )


class EmailInvalid(LicensingError):
    """Raised when an account can't have this e-mail address."""

    code, status = "EMAIL_INVALID", 422
    detail = mark("This is not an e-mail address that we can write to. Check for a typing error.")


class KeySignatureInvalid(LicensingError):
    """Raised when a text is no activation key of this vendor, or was altered (C9)."""

    code, status = "KEY_SIGNATURE_INVALID", 422
    detail = mark(
        "This is not a valid activation key: it is incomplete, altered, or not from the vendor. Copy it whole."
    )


class KeyMixedGroups(LicensingError):
    """Raised when a key names companies of two groups, or a text holds keys of two (C9)."""

    code, status = "KEY_MIXED_GROUPS", 422
    detail = mark("These companies belong to different groups: {tax_ids}. A key is for one group.")


class IdempotencyKeyReused(LicensingError):
    """Raised when an Idempotency-Key comes back with another body."""

    code, status = "IDEMPOTENCY_KEY_REUSED", 422
    detail = mark("This Idempotency-Key was used for another request. Use a new one for each.")


class WebhookUrlInvalid(LicensingError):
    """Raised when nothing is sent to a URL: it is not https, or does not lead to a public address."""

    code, status = "WEBHOOK_URL_INVALID", 422
    detail = mark("Events are sent to public https addresses only, without user name and fragment.")


class TooManyWebhooks(LicensingError):
    """Raised when there are as many webhooks as there may be."""

    code, status = "TOO_MANY_WEBHOOKS", 409
    detail = mark("There are {limit} webhooks already. Delete one first.")


class TooManyRequests(LicensingError):
    """Raised when a limit on tries is reached."""

    code, status = "TOO_MANY_REQUESTS", 429
    detail = mark("Too many requests. Try again in {retry_after} seconds.")


class InternalError(LicensingError):
    """Raised by no rule: what a fault of our own looks like from outside."""

    code, status = "INTERNAL_ERROR", 500
    detail = mark("Something is wrong on our side. It has been noted; try again later.")


class TemporarilyUnavailable(LicensingError):
    """Raised when a service behind us is throttled, conflicts or does not answer. A retry is safe."""

    code, status = "TEMPORARILY_UNAVAILABLE", 503
    detail = mark("The service can't do this right now. Try again in {retry_after} seconds.")

    def __init__(self, *, retry_after: int = 5, **members: Any) -> None:
        super().__init__(retry_after=retry_after, **members)


class OnlyAtHomeSite(TemporarilyUnavailable):
    """Raised by the standby site for all that only the home site may decide: all but validations."""

    detail = mark("This site validates only. Everything else is served by the other site; try again there.")


def catalogue() -> list[type[LicensingError]]:
    """All refusals with a code of their own, by status and code."""

    def below(kind: type[LicensingError]) -> list[type[LicensingError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    named = {
        kind.code: kind for kind in reversed(below(LicensingError)) if hasattr(kind, "code") and kind is not Refused
    }
    return sorted(named.values(), key=lambda kind: (kind.status, kind.code))
