"""Offline activation (B8, B9): from a server's request file to its license file, and back by its deactivation receipt.

The server has no network at any point: people carry the files. The request is signed by the server's new key, the license by the
deployment's, the receipt by the server's key again.
"""

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

import jwt
from pydantic import ValidationError
from pynamodb.transactions import TransactWrite

from licensing import answers, contract, deployment, tokens
from licensing.errors import (
    InstallationTaken,
    NotFound,
    NothingPerpetual,
    OfflineFileAltered,
    OfflineFileDamaged,
    OfflineFileWrong,
    OfflineNotAllowed,
    OfflineRequestUsed,
    PayloadTooLarge,
    ReceiptMismatch,
    Refused,
)
from licensing.key_ring import ring
from licensing.operations import operation, record_in
from licensing.rules import offline as rules
from licensing.rules import pasted
from licensing.rules.accounts import Account, OfflineGrant, standing
from licensing.rules.entitlements import Standing
from licensing.rules.guards import OFFLINE_GUARDS, Facts, judge
from licensing.rules.offline import OfflineRequest
from licensing.rules.operations import Origin
from licensing.rules.sequence import Kind, Presented, ServerState, nonce_hash, release
from licensing.rules.sequence import activate as activate_state
from licensing.signing import thumbprint
from licensing.store import accounts, servers, tables
from licensing.store.idempotency import Keep, keep_nothing
from licensing.store.vendor import cached as vendor_settings
from licensing.store.vendor import catalogue

#: A request fits into a QR code, and a receipt is shorter: whatever is much longer is neither.
LIMIT = 16 * 1024
_REQUEST_TYP = "offline-request+jwt"
_RECEIPT_TYP = "deactivation+jwt"
_LICENSE_TYP = "license+jwt"
#: What makes each kind of file.
_COMMANDS = {
    _REQUEST_TYP: "license-manager offline request",
    _RECEIPT_TYP: "license-manager offline deactivate",
}


def read_request(text: str) -> OfflineRequest:
    """Verify a request file; what mail and paste do to one doesn't matter. The server's clock is not judged.

    Raises:
        OfflineFileWrong: it is something else, or says what no License Manager says.
        OfflineFileDamaged: it is not whole.
        OfflineFileAltered: the key that it shows has not signed it as it is.
        PayloadTooLarge: no request is so long.
    """
    jws, header = _unpack(text, _REQUEST_TYP)
    shown = header.get("jwk")
    try:
        public_key = contract.PublicKey.model_validate(shown).model_dump()
    except ValidationError as error:
        raise _wrong(_REQUEST_TYP) from error
    claims = _verified(jws, _REQUEST_TYP, public_key)
    try:
        report = contract.ServerReport.model_validate(
            {
                "fingerprint": claims.get("fp"),
                "hostname": claims.get("hostname"),
                "time_zone": claims.get("tz"),
                "app_version": claims.get("app_version"),
                "agent_version": claims.get("agent_version"),
                "databases": claims.get("databases", []),
                "nonce": claims.get("nonce"),
            }
        )
        issued_at = _time(claims)
    except ValueError as error:
        raise _wrong(_REQUEST_TYP) from error
    return OfflineRequest(str(claims["jti"]), issued_at, report.nonce, report.report(), public_key)


def given_up(customer_id: str, installation_id: str, now: datetime) -> list[contract.GivenUp]:
    """What the installation goes without once it is offline, to be shown before anybody chooses that (B8). Raises NotFound."""
    return _given_up(_account(customer_id, installation_id), installation_id, now)


def activate(
    customer_id: str, installation_id: str, request_text: str, now: datetime, by: Origin, keep: Keep = keep_nothing
) -> contract.OfflineLicense:
    """Give an installation to the server whose request file this is: a new generation, and a license file bound to that machine.

    One transaction writes all that follows: the server's state, under its version; the installation, offline, with the license
    that is out; and that license as it was signed. It is signed before: what nobody has seen does no harm, and a license that is
    out and forgotten would. The same request again gives the same license, whoever asks, until it is deactivated.

    Raises NotFound, what ``read_request`` raises, OfflineNotAllowed, OfflineRequestUsed, InstallationTaken, and Refused where a
    guard says no.
    """
    deployment.require_home_site()
    request = read_request(request_text)
    report = request.report
    vendor = vendor_settings(now)
    presented = Presented(0, 0, request.nonce, report, report.fingerprint, request.public_key)

    def attempt() -> contract.OfflineLicense:
        # The state before the account: a license given in between is then seen in one of the two, or stops the write.
        state, version = servers.get(installation_id)
        account = _account(customer_id, installation_id)
        outcome = activate_state(state, presented, now)
        if outcome in ("repeat", "taken") and nonce_hash(request.nonce) in state.activations:
            return _again(account, installation_id, state, now, repeat=outcome == "repeat")
        if outcome == "taken":
            raise InstallationTaken
        sold = catalogue()
        where = standing(account, installation_id, sold)
        step: Kind = "suspect" if outcome == "suspect" else "advance"
        verdict = judge(
            Facts(where, step, report.agent_version, report.app_version, vendor.policy, now), OFFLINE_GUARDS
        )
        if not verdict.valid:
            raise Refused(verdict.code, verdict.detail)
        if codes := rules.online_only(where):
            raise OfflineNotAllowed(reason="ONLINE_REQUIRED", licenses=codes)
        entitlements = rules.licensed(where, now, report.app_version, vendor.releases)
        if not entitlements:
            codes = [each.license_code for each in where.entitlements]
            raise NothingPerpetual(reason="NOTHING_PERPETUAL", licenses=codes)
        assert isinstance(outcome, ServerState)  # noqa: S101  "suspect" was refused by its guard
        begun = outcome
        codes = [each.license_code for each in entitlements]
        grant = OfflineGrant(
            jti=tokens.jti(installation_id, begun.gen, 0),
            gen=begun.gen,
            issued_at=now,
            until=rules.end(now, vendor.offline_days, account.customer.time_zone),
            quantities={
                key: license.allocations[installation_id]
                for key, license in account.licenses.items()
                if license.code in codes
            },
        )
        after = rules.take_offline(account, installation_id, grant, now)
        where = standing(after, installation_id, sold)
        signed = _sign(
            where,
            grant,
            request,
            answers.in_token(
                [
                    answers.entitlement(where, each)
                    for each in rules.licensed(where, now, report.app_version, vendor.releases)
                ]
            ),
            now,
        )
        answer = _answer(account, installation_id, signed, grant.until, now)

        told = operation(
            customer_id, by, "server.activated_offline", now, installation_id, gen=begun.gen, hostname=report.hostname
        )

        def also(transaction: TransactWrite) -> None:
            servers.put_in(transaction, installation_id, begun, version, customer_id)
            record_in(transaction, told)
            accounts.put_offline_license_in(transaction, customer_id, installation_id, signed)
            keep(transaction, answer)

        accounts.write(account, after, sold, also)
        return answer

    return tables.unraced(attempt)


def deactivate(
    customer_id: str, installation_id: str, receipt_text: str, now: datetime, by: Origin, keep: Keep = keep_nothing
) -> contract.OfflineDeactivation:
    """Take a server's receipt for the license that it gave up: the installation is available again, what was held is free.

    Handing it in again succeeds too, until the installation is activated anew.

    Raises NotFound; OfflineFileWrong, OfflineFileDamaged, OfflineFileAltered, PayloadTooLarge as ``read_request``;
    ReceiptMismatch where it is about another installation or license.
    """
    deployment.require_home_site()
    jws, _ = _unpack(receipt_text, _RECEIPT_TYP)

    def attempt() -> contract.OfflineDeactivation:
        state, version = servers.get(installation_id)
        account = _account(customer_id, installation_id)
        said = _unverified(jws)
        place = (installation_id, state.gen, tokens.jti(installation_id, state.gen, 0))
        if (said.get("iss"), said.get("gen"), said.get("license")) != place or state.public_key is None:
            raise ReceiptMismatch
        _verified(jws, _RECEIPT_TYP, dict(state.public_key))
        grant = account.installations[installation_id].offline
        if state.held and (grant is None or grant.gen != state.gen):
            raise ReceiptMismatch  # this generation was activated online
        after = rules.bring_back(account, installation_id)
        name = account.installations[installation_id].name
        answer = contract.OfflineDeactivation(
            installation=contract.InstallationName(installation_id=installation_id, name=name, mode="online"),
            server_time=now,
        )
        if not state.held:
            return answer

        told = operation(customer_id, by, "server.deactivated_offline", now, installation_id, gen=state.gen)

        def also(transaction: TransactWrite) -> None:
            servers.put_in(transaction, installation_id, release(state), version, customer_id)
            record_in(transaction, told)
            keep(transaction, answer)

        accounts.write(account, after, catalogue(), also)
        return answer

    return tables.unraced(attempt)


def _account(customer_id: str, installation_id: str) -> Account:
    account = accounts.read(customer_id)
    if account is None or installation_id not in account.installations:
        raise NotFound
    return account


def _again(
    account: Account, installation_id: str, state: ServerState, now: datetime, *, repeat: bool
) -> contract.OfflineLicense:
    """The license that this request has led to, if it is the one that is out."""
    grant = account.installations[installation_id].offline
    kept = accounts.get_offline_license(account.customer.customer_id, installation_id) if repeat else None
    if grant is None or grant.gen != state.gen or kept is None:
        raise OfflineRequestUsed
    ends = _unverified(kept).get("exp")
    return _answer(account, installation_id, kept, datetime.fromtimestamp(ends, UTC) if ends else None, now)


def _sign(
    where: Standing,
    grant: OfflineGrant,
    request: OfflineRequest,
    entitlements: list[dict[str, Any]],
    now: datetime,
) -> str:
    """The signed license of an offline server (B9): what a server token says, without the days until the next validation.

    ``names`` are for people: a server that never calls has nowhere else to learn them from.
    """
    issued = int(grant.issued_at.timestamp())
    claims = {
        "iss": deployment.issuer(),
        "aud": tokens.AUDIENCE,
        "sub": where.installation_id,
        "cus": where.customer_id,
        "gen": grant.gen,
        "seq": 0,
        "jti": grant.jti,
        "iat": issued,
        "nbf": issued,
        "nonce": request.nonce,
        "cnf": {"jkt": thumbprint(dict(request.public_key))},
        "fp": dict(request.report.fingerprint),
        "mode": "offline",
        "tz": request.report.time_zone,
        "ent": entitlements,
        "names": {"customer": where.customer_name, "tax_id": where.tax_id, "installation": where.name},
    }
    if grant.until:
        claims["exp"] = int(grant.until.timestamp())
    return ring.sign("file", _LICENSE_TYP, claims, now)


def _answer(
    account: Account, installation_id: str, signed: str, until: datetime | None, now: datetime
) -> contract.OfflineLicense:
    # With the key set as it is now: it holds the key that signed, since those are never retired.
    content = json.dumps({"license": signed, "keyset": ring.current(now).jws}, indent=1) + "\n"
    name = unicodedata.normalize("NFKD", account.installations[installation_id].name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or installation_id
    return contract.OfflineLicense(
        file_name=f"license-{slug}.json",
        content=content,
        until=until,
        given_up=_given_up(account, installation_id, now),
    )


def _given_up(account: Account, installation_id: str, now: datetime) -> list[contract.GivenUp]:
    return [
        contract.GivenUp(license_code=each.license_code, name=each.name, care=each.care)
        for each in rules.given_up(account, installation_id, catalogue(), now)
    ]


def _wrong(typ: str) -> OfflineFileWrong:
    return OfflineFileWrong(command=_COMMANDS[typ])


def _unpack(text: str, typ: str) -> tuple[str, dict[str, Any]]:
    """The compact JWS in a text, and its header, which must be that of our kind of file. Nothing is verified yet."""
    if len(text) > LIMIT:
        raise PayloadTooLarge(limit=LIMIT)
    compact = pasted.compact(text)
    if not compact.startswith("eyJ"):
        raise _wrong(typ)
    try:
        header = jwt.get_unverified_header(compact)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise OfflineFileDamaged from error
    if header.get("typ") != typ or header.get("alg") != "ES256":
        raise _wrong(typ)
    return compact, header


def _unverified(jws: str) -> dict[str, Any]:
    """What a JWS says, to find out what it is about."""
    try:
        claims: dict[str, Any] = jwt.decode(jws, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise OfflineFileDamaged from error
    return claims


def _verified(jws: str, typ: str, public_key: dict[str, str]) -> dict[str, Any]:
    """What a JWS says, if this key has signed it."""
    try:
        key = jwt.PyJWK({**public_key, "alg": "ES256"})
    except (jwt.PyJWTError, ValueError) as error:
        raise _wrong(typ) from error
    try:
        claims: dict[str, Any] = jwt.decode(
            jws,
            key,
            algorithms=["ES256"],
            options={
                "require": ["iat", "jti"],
                "verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False, "verify_iss": False,
            },
        )  # fmt: skip
    except jwt.InvalidSignatureError as error:
        raise OfflineFileAltered from error
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _wrong(typ) from error
    return claims


def _time(claims: dict[str, Any]) -> datetime:
    issued = claims["iat"]
    if type(issued) is not int or not 0 <= issued < 2**40:
        raise ValueError("iat")
    return datetime.fromtimestamp(issued, UTC)
