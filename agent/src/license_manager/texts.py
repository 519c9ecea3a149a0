"""Every sentence that a person reads, as a plain format string, so that it can be checked and translated in one place."""

from __future__ import annotations

from datetime import datetime

from . import ladder


def moment(instant: float, time_zone: str) -> str:
    """A point in time as people at the server read it: `2026-11-22 12:04`."""
    return datetime.fromtimestamp(instant, ladder.zone(time_zone)).strftime("%Y-%m-%d %H:%M")


THE_VENDOR = "the vendor"
ASK = "If it goes on, ask {contact}."

# check()
OK = "The last validation succeeded on {last_success}."
WARNING = (
    "The last successful validation was on {last_success}, {days} days ago. Last problem: {cause} "
    "The product goes on working until {expires}. If it goes on, ask {contact}."
)
GRACE = (
    "Grace day {grace_day} of 10: the last successful validation was on {last_success}. Last problem: {cause} "
    "Without a validation the product stops on {expires}. Ask {contact}."
)
BLOCKED = (
    "Blocked: the last successful validation was on {last_success}, {days} days ago. Last problem: {cause} "
    "The next successful validation unblocks it: run `license-manager validate`, or ask {contact}."
)
REFUSED_FOR_NOW = (
    "The last successful validation was on {last_success}; the vendor has answered no since. {cause} "
    "The product goes on working until {expires}. Ask {contact}."
)
VERDICT_FINAL = (
    "The vendor has ended the license of this server ({code}). {cause} Last success: {last_success}. Ask {contact}."
)
NOT_ACTIVATED = "This server is not activated. Run `license-manager` on it to activate it, or ask {contact}."
OTHER_MACHINE = (
    "The files of this License Manager belong to another machine. Activate this machine on its own, or ask {contact}."
)
STATE_NOT_TRUSTED = (
    "What is stored on this server can't be trusted. {why} Run `license-manager validate`, or ask {contact}."
)
NOT_LICENSED = "{what} is not part of this server's licenses."
NO_ATTEMPT = "No validation has been tried since; is the License Manager's service running?"

# trust
KEY_NOT_USABLE = "A key is not a P-256 public key for ES256."
KEY_SET_FORGED = "The list of keys was not signed by the vendor's root key."
KEY_SET_INVALID = "The vendor's list of keys has an unknown shape."
KEY_SET_OLDER = "The site sent an older list of keys (version {offered}) than the one already known (version {known})."
KEY_REVOKED = "It was signed with a key that the vendor has revoked."
UNKNOWN_KEY = "It was signed with a key that is not in the vendor's list."
TOKEN_INVALID = "A signed answer is not what it must be."  # noqa: S105
WRONG_NONCE = "The answer is signed, but it belongs to another request."
WRONG_INSTALLATION = "The answer is signed, but it is about another installation."
WRONG_KEY_BINDING = "The answer is signed, but it is bound to another key than this server's."
OLDER_SEQUENCE = "The answer is older than one that was accepted before."
ALREADY_EXPIRED = "The answer had run out before it came."
INTERCEPTED = (
    "TLS is intercepted and the answer was not signed by the vendor's root: something between this server and {host} "
    "(certificate issued by {issuer}) answers in its place. Ask your network's administrator to let {host} through "
    "without inspection."
)
NOT_SIGNED_BY_VENDOR = (
    "The answer of {host} was not signed by the vendor's root. Check the vendor profile, and whether something in your "
    "network answers in its place."
)

# home and state
FOREIGN_OWNER = "{path} belongs to the user {owner}. Run the License Manager and the product as that user."
NOT_READABLE = "{path} can't be read by this user. Run the License Manager and the product as the user that owns it."
IS_A_LINK = "{path} is a link; the License Manager's files must be in its own folder."
STATE_DAMAGED = "The License Manager's state file is damaged."
DAMAGED_KEPT = "The License Manager's state file was damaged. A copy is kept as {copy}. Activate this server again."
BUSY = "Another License Manager is at work in {home}. Try again in a minute."
NOT_ACTIVATED_YET = "This server is not activated. Run `license-manager activate`, or `license-manager` to be guided."
HOME_NOT_OURS = (
    "{path} is open to other users, and nothing in it is a License Manager's. Name an empty folder or a new one with "
    "--home or LICENSE_MANAGER_HOME, or close this one first (chmod 700)."
)
HOME_EMPTY = "--home names no folder."
A_FILE = "A file"
HOME_NOT_WRITABLE = "{path} can't be used: {why}."

# profile and settings
NO_PROFILE = (
    "There is no vendor profile at {path}. Your vendor ships the file `vendor.json` with its product: name it with "
    "--vendor FILE or {variable}, or copy it into the home."
)
PROFILE_UNREADABLE = "The vendor profile {path} can't be read: {why}."
PROFILE_WRONG = "The vendor profile {path} is not usable: {why}."
SETTINGS_WRONG = "The settings in {path} are not usable: {why}."
UNKNOWN_SETTING = "There is no setting {name}. Settings: {names}."
SETTING_WRONG = "The setting {why}."
VARIABLE_WRONG = "The environment variable {name} is not usable: {why}."
BAD_SITE = "site must be auto, 1 or 2"
NO_SECOND_SITE = "The vendor has one site only."
BAD_PROXY = "proxy must be an address such as http://user:password@proxy.example:3128, or `direct` for none"
SOCKS_PROXY = "proxy must be an HTTP proxy; SOCKS is not supported"
BAD_CA_FILE = "ca_file must be a readable file with certificates in PEM form"
BAD_TIME = "validate_at must be a time of day such as 12:30"

# faults: what is wrong with a site, and what to do
DNS = "The name {host} can't be resolved. Check this server's DNS settings, or set a proxy that can."
CONNECTION_REFUSED = (
    "{name} refuses the connection on port {port}. Check the firewall; outgoing HTTPS (443) must be allowed."
)
UNREACHABLE = "There is no way from here to {host}. Check network, gateway and firewall."
TIMEOUT = "{host} did not answer in time. Check firewall and proxy; outgoing HTTPS (443) must be allowed."
CONNECTION_LOST = "The connection to {host} was cut before the answer came."
PROXY_DNS = "The proxy's name {proxy} can't be resolved. Check the setting `proxy`."
PROXY_UNREACHABLE = "The proxy {proxy} can't be reached. Check the setting `proxy` and whether the proxy runs."
PROXY_TIMEOUT = "The proxy {proxy} did not answer in time."
PROXY_AUTH_REQUIRED = (
    "The proxy {proxy} asks for a password. Set it: license-manager settings set proxy http://USER:PASSWORD@{proxy}"
)
PROXY_AUTH_WRONG = "The proxy {proxy} does not accept the user name or password in the setting `proxy`."
PROXY_DENIED = "The proxy {proxy} does not allow {host}. Ask its administrator to allow it."
PROXY_CANNOT_CONNECT = "The proxy {proxy} can't reach {host} (it answered {status})."
PROXY_TLS = "The certificate of the proxy {proxy} is not trusted. Add its CA: license-manager settings set ca_file FILE"
TLS_UNTRUSTED = (
    "The certificate of {host} is not trusted: it was issued by {issuer}. If that is your company's own CA, add it: "
    "license-manager settings set ca_file FILE. If you don't know it, TLS is being intercepted."
)
TLS_EXPIRED = "The certificate of {host} is not valid today (issued by {issuer}). Check this server's clock first."
TLS_NAME = (
    "The certificate shown for {host} is for another name (issued by {issuer}): another machine answers in its place."
)
TLS_FAILED = "TLS with {host} failed: {why}."
UNKNOWN_ISSUER = "an unknown issuer"
OTHER_CONTENT = (
    "Something else answered in place of {host} (status {status}, {content_type}). It may be a log-in page of your "
    "network, a proxy's error page, or a wrong address."
)
SITE_TROUBLE = "{host} has trouble at the moment (status {status}). It will be tried again."
SITE_STANDBY = "{host} is on standby for this: {detail}"
TOO_MANY_REQUESTS = "{host} asks to slow down. Try again in {seconds} seconds."
TOO_MANY_REQUESTS_LATER = "{host} asks to slow down. Try again later."
CLOCK_OFF = "This server's clock is {difference} {direction} the vendor's. Set it right (NTP)."
CLOCK_TURNED_BACK = (
    "This server's clock is {difference} behind the time already seen: it was turned back, or was ahead before. "
    "Set it right (NTP); days are counted on regardless."
)
AGENT_TOO_OLD = "This License Manager is version {version}; the vendor needs at least {lowest}. Update it."
ANSWER_TOO_LARGE = "The answer of {host} is too large."
REQUEST_TOO_LARGE = "The request is too large: report fewer databases or counters."
ALL_SITES_FAILED = "No site could be reached. {faults}"
ONE_SITE_FAILED = "Site {number}: {fault}"
NEEDS_HOME_SITE = (
    "Activation and deactivation are served by Site 1 only, and Site 1 can't be reached now. Servers that are active go "
    "on through Site 2."
)
NOT_AT_CHOSEN_SITE = (
    "Activation and deactivation are served by Site 1 only, and Site 2 was chosen here. Run "
    "`license-manager site use auto` first."
)
PROBE_OK = "ok, {milliseconds} ms, region {region}"

# answers
WRONG_FIELD = "{field}: {why}."
REFUSED_PLAIN = "The vendor's site answered {code} (status {status})."
ACTIVATED = "First validation"
COMPLETED = "Operation completed"
REPEATING = "An earlier activation was not answered. Repeating it…"
VALIDATED_AGAIN = "The answer to an earlier request came late; validated once more."
DEACTIVATED = "This server is deactivated; {name} is available again."
NOT_DEACTIVATED = "Nothing was changed."
ASK_DEACTIVATE = (
    "Deactivate {name}? The product stops here at once, and the installation can be given to another server."
)

# guided flow
TITLE = "{vendor} · License Manager {version}"
INTRODUCTION = (
    "This server is not activated yet. You need your company's tax id, or an activation token from the portal."
)
DAMAGED_INTRODUCTION = "Activating this server again puts everything right."
ASK_TAX_ID = "Tax id with its country, such as IT00743110157 (t: paste a token instead, q: quit)"
ASK_CONFIRM = "Tax id {tax_id}. Is this right?"
ASK_TOKEN = "Activation token"  # noqa: S105
ASK_CODE = "Code from the e-mail (n: send a new code, q: quit)"
ASK_WHICH = "Which installation is this server? 1 to {count} (q: quit)"
ASK_MENU = "v: validate now, s: show, t: test the connection, q: quit"
CODE_SENT = (
    "If this tax id is registered, a code is on its way to the registered contact's e-mail. "
    "It is good for {minutes} minutes."
)
BAD_TAX_ID = "A tax id has 5 to 20 letters and digits, with its country in front, such as IT00743110157."
BAD_CODE = "The code has 6 digits."
BAD_CHOICE = "Type a number from 1 to {count}."
BAD_MENU = "Type v, s, t or q."
TRIES_LEFT = "{detail} Tries left: {tries}."
ASK_NEW_CODE = "Send a new code?"
NO_INSTALLATIONS = "{customer} has no installation yet. Create one in the portal, or ask {contact}."
STOPPED = "Stopped. Nothing was activated."
GOODBYE = "Goodbye."
CHOOSE_BY_OPTION = "{customer} has several installations; name one with --installation: {names}."
NO_SUCH_INSTALLATION = "{customer} has no installation {name}. There are: {names}."
CODE_NEEDED = "A code was sent by e-mail, and nobody is here to type it. Run `license-manager activate` in a terminal."
EMPTY_TOKEN = "The activation token is empty."  # noqa: S105
ONE_WAY_ONLY = "Use one of --tax-id, --token and --file."
ANSWERS_WRONG = "The file {path} is not usable: {why}."
ALREADY_ACTIVE = "This server is active as {name}. Run `license-manager deactivate` first, or add --again."

# service and log
SERVICE_STARTED = "License Manager {version} watches over {home}."
SERVICE_NEXT = "Next validation: {when}."
SERVICE_WAITS = "Not activated yet; looking again every minute."
SERVICE_STOPPED = "Stopped."
LOG_EMPTY = "The log is empty."
SAVED = "{name} is now {value}."
SITE_SAVED = "Saved: {choice}. It is used from now on."
SITE_AUTO = "auto (Site 1 first, Site 2 if it fails)"
PROXY_IN_USE = "Proxy in use: {proxy}"
NO_PROXY_IN_USE = "Proxy in use: none"
UNEXPECTED = "Unexpected trouble: {why}. It will be tried again."
NO_ENTITLEMENTS = "No application is licensed on this server at the moment."
