"""Every sentence and word that a person reads, in one place, where it can be checked and translated.

Each is written in English, as a plain format string, and read in the language that is spoken at that moment. `_` and `counted`
mark them for the extraction (`make messages`).
"""

from __future__ import annotations

from .language import Counted as counted  # noqa: N813
from .language import Sentence as _


class Texts:
    """All of them, by name."""

    THE_VENDOR = _("the vendor")
    ASK = _("If it goes on, ask {contact}.")

    # check()
    OK = _("The last validation succeeded on {last_success}.")
    WARNING = _(
        "The last successful validation was on {last_success}, {days} days ago. Last problem: {cause} "
        "The product goes on working until {expires}. If it goes on, ask {contact}."
    )
    GRACE = _(
        "Grace day {grace_day} of 10: the last successful validation was on {last_success}. Last problem: {cause} "
        "Without a validation the product stops on {expires}. Ask {contact}."
    )
    BLOCKED = _(
        "Blocked: the last successful validation was on {last_success}, {days} days ago. Last problem: {cause} "
        "The next successful validation unblocks it: run `license-manager validate`, or ask {contact}."
    )
    REFUSED_FOR_NOW = _(
        "The last successful validation was on {last_success}; the vendor has answered no since. {cause} "
        "The product goes on working until {expires}. Ask {contact}."
    )
    VERDICT_FINAL = _(
        "The vendor has ended the license of this server ({code}). {cause} Last success: {last_success}. Ask {contact}."
    )
    NOT_ACTIVATED = _("This server is not activated. Run `license-manager` on it to activate it, or ask {contact}.")
    OTHER_MACHINE = _(
        "The files of this License Manager belong to another machine. Activate this machine on its own, or ask {contact}."
    )
    STATE_NOT_TRUSTED = _(
        "What is stored on this server can't be trusted. {why} Run `license-manager validate`, or ask {contact}."
    )
    NOT_LICENSED = _("{what} is not part of this server's licenses.")
    NO_ATTEMPT = _("No validation has been tried since; is the License Manager's service running?")

    # trust
    KEY_NOT_USABLE = _("A key is not a P-256 public key for ES256.")
    KEY_SET_FORGED = _("The list of keys was not signed by the vendor's root key.")
    KEY_SET_INVALID = _("The vendor's list of keys has an unknown shape.")
    KEY_SET_OLDER = _(
        "The site sent an older list of keys (version {offered}) than the one already known (version {known})."
    )
    KEY_REVOKED = _("It was signed with a key that the vendor has revoked.")
    UNKNOWN_KEY = _("It was signed with a key that is not in the vendor's list.")
    TOKEN_INVALID = _("A signed answer is not what it must be.")
    WRONG_NONCE = _("The answer is signed, but it belongs to another request.")
    WRONG_INSTALLATION = _("The answer is signed, but it is about another installation.")
    NO_SEATS = _("There are no seats for {what} here.")
    ON_LOST_FAILED = _("The seat was lost ({reason}), and the product failed when it was told: {error}.")
    WRONG_KEY_BINDING = _("The answer is signed, but it is bound to another key than this server's.")
    OLDER_SEQUENCE = _("The answer is older than one that was accepted before.")
    ALREADY_EXPIRED = _("The answer had run out before it came.")
    INTERCEPTED = _(
        "TLS is intercepted and the answer was not signed by the vendor's root: something between this server and {host} "
        "(certificate issued by {issuer}) answers in its place. Ask your network's administrator to let {host} through "
        "without inspection."
    )
    NOT_SIGNED_BY_VENDOR = _(
        "The answer of {host} was not signed by the vendor's root. Check the vendor profile, and whether something in your "
        "network answers in its place."
    )

    # home and state
    FOREIGN_OWNER = _("{path} belongs to the user {owner}. Run the License Manager and the product as that user.")
    NOT_READABLE = _(
        "{path} can't be read by this user. Run the License Manager and the product as the user that owns it."
    )
    IS_A_LINK = _("{path} is a link; the License Manager's files must be in its own folder.")
    STATE_DAMAGED = _("The License Manager's state file is damaged.")
    DAMAGED_KEPT = _(
        "The License Manager's state file was damaged. A copy is kept as {copy}. Activate this server again."
    )
    BUSY = _("Another License Manager is at work in {home}. Try again in a minute.")
    NOT_ACTIVATED_YET = _(
        "This server is not activated. Run `license-manager activate`, or `license-manager` to be guided."
    )
    HOME_NOT_OURS = _(
        "{path} is open to other users, and nothing in it is a License Manager's. Name an empty folder or a new one with "
        "--home or LICENSE_MANAGER_HOME, or close this one first (chmod 700)."
    )
    HOME_EMPTY = _("--home names no folder.")
    A_FILE = _("A file")
    HOME_NOT_WRITABLE = _("{path} can't be used: {why}.")

    # profile and settings
    NO_PROFILE = _(
        "There is no vendor profile at {path}. Your vendor ships the file `vendor.json` with its product: name it with "
        "--vendor FILE or {variable}, or copy it into the home."
    )
    PROFILE_UNREADABLE = _("The vendor profile {path} can't be read: {why}.")
    PROFILE_WRONG = _("The vendor profile {path} is not usable: {why}.")
    SETTINGS_WRONG = _("The settings in {path} are not usable: {why}.")
    NO_JSON_OBJECT = _("it is not a JSON object")
    ONE_OR_TWO_SITES = _("`sites` must list one or two addresses")
    NO_ROOT_KEYS = _("`root_keys` must list at least one key")
    MUST_HOLD_TEXTS = _("`{name}` must hold texts")
    MUST_BE_TEXT = _("`{name}` must be a text")
    NO_ADDRESS = _("{address} is not an address such as https://licensing.example")
    HTTPS_ONLY = _("{address} must begin with https")
    UNKNOWN_SETTING = _("There is no setting {name}. Settings: {names}.")
    SETTING_WRONG = _("The setting {why}.")
    VARIABLE_WRONG = _("The environment variable {name} is not usable: {why}.")
    BAD_SITE = _("site must be auto, 1 or 2")
    NO_SECOND_SITE = _("The vendor has one site only.")
    BAD_PROXY = _("proxy must be an address such as http://user:password@proxy.example:3128, or `direct` for none")
    SOCKS_PROXY = _("proxy must be an HTTP proxy; SOCKS is not supported")
    BAD_CA_FILE = _("ca_file must be a readable file with certificates in PEM form")
    BAD_TIME = _("validate_at must be a time of day such as 12:30")
    BAD_LANGUAGE = _("language must be one of {languages}")
    BAD_VERSION = _("app_version must be a text of at most {most} characters")
    BAD_DATABASES = _("databases must be at most {most} names of 1 to {longest} characters")
    BAD_USAGE = _("usage must be at most {most} counters, each a whole number from 0")

    # faults: what is wrong with a site, and what to do
    DNS = _("The name {host} can't be resolved. Check this server's DNS settings, or set a proxy that can.")
    CONNECTION_REFUSED = _(
        "{name} refuses the connection on port {port}. Check the firewall; outgoing HTTPS (443) must be allowed."
    )
    UNREACHABLE = _("There is no way from here to {host}. Check network, gateway and firewall.")
    TIMEOUT = _("{host} did not answer in time. Check firewall and proxy; outgoing HTTPS (443) must be allowed.")
    CONNECTION_LOST = _("The connection to {host} was cut before the answer came.")
    PROXY_DNS = _("The proxy's name {proxy} can't be resolved. Check the setting `proxy`.")
    PROXY_UNREACHABLE = _("The proxy {proxy} can't be reached. Check the setting `proxy` and whether the proxy runs.")
    PROXY_TIMEOUT = _("The proxy {proxy} did not answer in time.")
    PROXY_AUTH_REQUIRED = _(
        "The proxy {proxy} asks for a password. Set it: license-manager settings set proxy http://USER:PASSWORD@{proxy}"
    )
    PROXY_AUTH_WRONG = _("The proxy {proxy} does not accept the user name or password in the setting `proxy`.")
    PROXY_DENIED = _("The proxy {proxy} does not allow {host}. Ask its administrator to allow it.")
    PROXY_CANNOT_CONNECT = _("The proxy {proxy} can't reach {host} (it answered {status}).")
    PROXY_TLS = _(
        "The certificate of the proxy {proxy} is not trusted. Add its CA: license-manager settings set ca_file FILE"
    )
    TLS_UNTRUSTED = _(
        "The certificate of {host} is not trusted: it was issued by {issuer}. If that is your company's own CA, add it: "
        "license-manager settings set ca_file FILE. If you don't know it, TLS is being intercepted."
    )
    TLS_EXPIRED = _(
        "The certificate of {host} is not valid today (issued by {issuer}). Check this server's clock first."
    )
    TLS_NAME = _(
        "The certificate shown for {host} is for another name (issued by {issuer}): another machine answers in its place."
    )
    TLS_FAILED = _("TLS with {host} failed: {why}.")
    UNKNOWN_ISSUER = _("an unknown issuer")
    OTHER_CONTENT = _(
        "Something else answered in place of {host} (status {status}, {content_type}). It may be a log-in page of your "
        "network, a proxy's error page, or a wrong address."
    )
    NO_CONTENT_TYPE = _("no content type")
    SITE_TROUBLE = _("{host} has trouble at the moment (status {status}). It will be tried again.")
    SITE_STANDBY = _("{host} is on standby for this: {detail}")
    TOO_MANY_REQUESTS = counted(
        "{host} asks to slow down. Try again in {count} second.",
        "{host} asks to slow down. Try again in {count} seconds.",
    )
    TOO_MANY_REQUESTS_LATER = _("{host} asks to slow down. Try again later.")
    CLOCK_AHEAD = _("This server's clock is {difference} ahead of the vendor's. Set it right (NTP).")
    CLOCK_BEHIND = _("This server's clock is {difference} behind the vendor's. Set it right (NTP).")
    DAYS = counted("{count} day", "{count} days")
    HOURS = counted("{count} hour", "{count} hours")
    MINUTES = counted("{count} minute", "{count} minutes")
    SECONDS = counted("{count} second", "{count} seconds")
    CLOCK_TURNED_BACK = _(
        "This server's clock is {difference} behind the time already seen: it was turned back, or was ahead before. "
        "Set it right (NTP); days are counted on regardless."
    )
    AGENT_TOO_OLD = _("This License Manager is version {version}; the vendor needs at least {lowest}. Update it.")
    ANSWER_TOO_LARGE = _("The answer of {host} is too large.")
    REQUEST_TOO_LARGE = _("The request is too large: report fewer databases or counters.")
    ALL_SITES_FAILED = _("No site could be reached. {faults}")
    ONE_SITE_FAILED = _("Site {number}: {fault}")
    NEEDS_HOME_SITE = _(
        "Activation and deactivation are served by Site 1 only, and Site 1 can't be reached now. Servers that are active go "
        "on through Site 2."
    )
    NOT_AT_CHOSEN_SITE = _(
        "Activation and deactivation are served by Site 1 only, and Site 2 was chosen here. Run "
        "`license-manager site use auto` first."
    )
    PROBE_OK = _("ok, {milliseconds} ms, region {region}")

    # answers
    WRONG_FIELD = _("{field}: {why}.")
    REFUSED_PLAIN = _("The vendor's site answered {code} (status {status}).")
    ACTIVATED = _("First validation")
    COMPLETED = _("Operation completed")
    REPEATING = _("An earlier activation was not answered. Repeating it…")
    VALIDATED_AGAIN = _("The answer to an earlier request came late; validated once more.")
    DEACTIVATED = _("This server is deactivated; {name} is available again.")
    NOT_DEACTIVATED = _("Nothing was changed.")
    ASK_DEACTIVATE = _(
        "Deactivate {name}? The product stops here at once, and the installation can be given to another server."
    )

    # without a network
    OFFLINE_OK = _("Licensed by a license file of {issued}; it is not validated online.")
    LICENSE_FILE_ENDED = _(
        "The license file of this server ended on {expires}. Run `license-manager offline request` and have a new one made "
        "in the portal, or ask {contact}."
    )
    LICENSE_FILE_OVER = _("This license file ended on {expires}. Have a new one made in the portal.")
    LICENSE_FILE_DAMAGED = _(
        "This is not a license file, or it is not complete. Take it from the portal again, and leave it as it is."
    )
    LICENSE_NOT_TRUSTED = _("The license file can't be trusted: it was changed, or the vendor did not make it. {why}")
    LICENSE_OF_OTHER_MACHINE = _(
        "This license file is for another machine. Make a request on this one: license-manager offline request"
    )
    LICENSE_OF_OTHER_REQUEST = _(
        "This license file does not answer the request that was made here last. Hand that request in at the portal: "
        "license-manager offline request"
    )
    NO_OFFLINE_REQUEST = _(
        "No request is waiting for a license file here: each file is good for one request. Make a new one: "
        "license-manager offline request"
    )
    NO_OFFLINE_LICENSE = _("This server has no license file, so there is nothing to give up.")
    NOTHING_TO_VALIDATE = _("This server is licensed by a file, so there is nothing to validate online.")
    DEACTIVATE_OFFLINE_FIRST = _(
        "This server is licensed by a file. Give that up first, and hand its receipt in at the portal: "
        "license-manager offline deactivate"
    )
    REQUEST_WRITTEN = _("The request is in {path}. It is for this machine only, and no secret.")
    REQUEST_NEXT = _(
        "Hand it in at the page of this server in the portal, and import the license file that you get there: "
        "license-manager offline import FILE"
    )
    REQUEST_NEXT_AT = _(
        "Hand it in at the page of this server in the portal ({portal}), and import the license file that you get there: "
        "license-manager offline import FILE"
    )
    QR_WRITTEN = _("The QR code is in {path}.")
    PNG_OR_SVG = _("{path} must end with .png or .svg.")
    TERMINAL_TOO_NARROW = _(
        "The QR code needs {needed} columns, this terminal has {columns}. Make it wider, or write a picture with --qr-file."
    )
    IMPORTED = _("The license file is in use.")
    RECEIPT_NEXT = _(
        "This server has given its license up. Hand this receipt in at the page of this server in the portal; only then "
        "what it held is free again. `license-manager offline deactivate` shows it again."
    )
    RECEIPT_WRITTEN = _("The receipt is in {path}.")
    OFFLINE_WAITING = _(
        "A request for a license file was made here; that file was not imported yet. To show it again: "
        "license-manager offline request"
    )
    RECEIPT_KEPT = _("The receipt for the license that was given up: license-manager offline deactivate")
    SERVICE_OFFLINE = _("Licensed by a file; there is nothing to validate. Looking again every minute.")

    # guided flow
    TITLE = _("{vendor} · License Manager {version}")
    INTRODUCTION = _(
        "This server is not activated yet. You need your company's tax id, or an activation token from the portal."
    )
    DAMAGED_INTRODUCTION = _("Activating this server again puts everything right.")
    ASK_TAX_ID = _(
        "Tax id with its country, such as IT00743110157 (t: paste a token instead, o: no network here, q: quit)"
    )
    ASK_CONFIRM = _("Tax id {tax_id}. Is this right?")
    ASK_TOKEN = _("Activation token")
    ASK_CODE = _("Code from the e-mail (n: send a new code, q: quit)")
    ASK_WHICH = _("Which installation is this server? 1 to {count} (q: quit)")
    ASK_MENU = _("v: validate now, s: show, t: test the connection, q: quit")
    CODE_SENT = counted(
        "If this tax id is registered, a code is on its way to the registered contact's e-mail. "
        "It is good for {count} minute.",
        "If this tax id is registered, a code is on its way to the registered contact's e-mail. "
        "It is good for {count} minutes.",
    )
    BAD_TAX_ID = _("A tax id has 5 to 20 letters and digits, with its country in front, such as IT00743110157.")
    BAD_CODE = _("The code has 6 digits.")
    BAD_CHOICE = _("Type a number from 1 to {count}.")
    BAD_MENU = _("Type v, s, t or q.")
    TRIES_LEFT = _("{detail} Tries left: {tries}.")
    ASK_NEW_CODE = _("Send a new code?")
    NO_INSTALLATIONS = _("{customer} has no installation yet. Create one in the portal, or ask {contact}.")
    STOPPED = _("Stopped. Nothing was activated.")
    GOODBYE = _("Goodbye.")
    CHOOSE_BY_OPTION = _("{customer} has several installations; name one with --installation: {names}.")
    NO_SUCH_INSTALLATION = _("{customer} has no installation {name}. There are: {names}.")
    CODE_NEEDED = _(
        "A code was sent by e-mail, and nobody is here to type it. Run `license-manager activate` in a terminal."
    )
    EMPTY_TOKEN = _("The activation token is empty.")
    ONE_WAY_ONLY = _("Use one of --tax-id, --token and --file.")
    UNKNOWN_ANSWERS = _("unknown: {names}")
    TOKEN_OR_TAX_ID = _("it must hold either activation_token or tax_id")
    MUST_BE_OBJECT = _("`{name}` must be an object")
    ANSWERS_WRONG = _("The file {path} is not usable: {why}.")
    ALREADY_ACTIVE = _("This server is active as {name}. Run `license-manager deactivate` first, or add --again.")

    ASK_LICENSE_FILE = _("License file from the portal (n: activate another way, q: quit)")
    ASK_DEACTIVATE_OFFLINE = _(
        "Give up the license of {name}? The product stops here at once. The receipt frees in the portal what it held."
    )
    YES_OR_NO = _("Y/n")
    NO_OR_YES = _("y/N")
    #: What else counts as yes and as no, beside the English words; several are separated by spaces.
    YES = _("y yes")
    NO = _("n no")

    # words and headings
    CUSTOMER = _("Customer")
    INSTALLATION = _("Installation")
    STATUS = _("Status")
    OVERDUE_SINCE = _("Validation overdue since")
    NEXT_VALIDATION = _("Next validation")
    WORKS_WITHOUT_CONTACT = _("Works without contact until")
    WORKS_UNTIL = _("Works until")
    LICENSE_FILE = _("Licensed by")
    OFFLINE = _("license file, without validation")
    NEVER_ENDS = _("never ends")
    APPLICATION = _("Application")
    MODULES = _("Modules")
    QUANTITY = _("Quantity")
    TYPE = _("Type")
    CARE = _("Care")
    CARE_UNTIL = _("{care} to {day}")
    LAST_DAY = _("Last day")
    DATABASE = _("Database")
    ACTIVATED_ON = _("Activated on")
    SITE = _("Site {number}")
    SITE_CHOICE = _("Choice: {choice}")
    WHEN = _("When")
    COMMAND = _("Command")
    RESULT = _("Result")
    CODE = _("Code")
    AT_SITE = _("Site")
    DETAIL = _("Detail")
    NOT_SET = _("not set")
    GRACE_OF_TEN = _("grace {day}/10")
    STATUS_OK = _("ok")
    STATUS_WARNING = _("warning")
    STATUS_BLOCKED = _("blocked")
    STATUS_REFUSED = _("refused")
    STATUS_NOT_ACTIVATED = _("not activated")
    RESULT_OK = _("ok")
    RESULT_WARNING = _("warning")
    RESULT_REFUSED = _("refused")
    RESULT_FAILED = _("failed")
    INSTALLATION_AVAILABLE = _("available")
    INSTALLATION_ACTIVE = _("active")
    INSTALLATION_BLOCKED = _("blocked")
    INSTALLATION_DISABLED = _("disabled")
    TYPE_PERPETUAL = _("perpetual")
    TYPE_SUBSCRIPTION = _("subscription")
    TYPE_TRIAL = _("trial")

    # help of the commands
    HELP = _("Activates this server's licenses and validates them every day. Without a command, it guides you.")
    HELP_EXIT_CODES = _(
        "Exit codes: 0 done; 1 refused or failed; 2 wrong use; 3 this server is not activated; 4 no site can be reached."
    )
    HELP_SITE = _("Choose the site: 1 (primary), 2 (backup) or auto.")
    HELP_SETTINGS = _("Show and change proxy, CA, language and what is reported.")
    HELP_OFFLINE = _("License a server that has no network, by files that people carry.")
    HELP_JSON = _("Print JSON, for programs.")
    HELP_HOME = _("Where state, settings and log are. (Or by LICENSE_MANAGER_HOME.)")
    HELP_VENDOR = _("The vendor's vendor.json. (Or by LICENSE_MANAGER_VENDOR.)")
    HELP_HELP = _("Show this help and exit.")
    HELP_VERSION = _("Show the version and exit.")
    HELP_TAX_ID = _("The company's tax id, with its country.")
    HELP_TOKEN = _("The activation token from the portal; - reads it from standard input.")
    HELP_FILE = _("Answers for an unattended activation, as JSON.")
    HELP_INSTALLATION = _("Which installation, by name or id.")
    HELP_AGAIN = _("Activate even if this server is active.")
    HELP_YES = _("Do not ask.")
    HELP_LINES = _("How many of the newest entries.")
    HELP_SETTING_NAME = _("One of: {names}.")
    HELP_SETTING_VALUE = _("The value; - reads it from standard input; '' for the default.")
    HELP_ACTIVATE = _("Activate this server: by tax id and e-mailed code, by token, or unattended from a file.")
    HELP_VALIDATE = _("Validate now, and show what this server may use.")
    HELP_STATUS = _("Show licenses, dates and problems as they are known here. Opens no connection and writes nothing.")
    HELP_TEST = _("Test the connection to each site, and say what is wrong and what to do.")
    HELP_RUN = _("Validate every day, until stopped: what the service runs.")
    HELP_DEACTIVATE = _("Give this server's installation back; the product stops here at once.")
    HELP_LOG = _("Show what the License Manager did here.")
    HELP_SITE_USE = _("Use Site 1, Site 2, or (auto) Site 1 first and Site 2 if it fails.")
    HELP_SITE_SHOW = _("Show the choice and the sites' addresses.")
    HELP_SETTINGS_SHOW = _("Show all settings; passwords are masked.")
    HELP_SETTINGS_SET = _("Change one setting, such as: settings set proxy http://user:password@proxy.example:3128")
    HELP_OFFLINE_REQUEST = _(
        "Write the request file that the portal answers with a license file. The same one, until that is imported."
    )
    HELP_REQUEST_OUT = _("Where to write it; - prints it. Else license-request.txt in this folder.")
    HELP_QR = _("Show it as a QR code, too.")
    HELP_QR_FILE = _("Write it as a QR code, too: .png or .svg.")
    HELP_NEW_REQUEST = _("Make a new one; the last one's license file can't be imported any more.")
    HELP_OFFLINE_IMPORT = _("Take a license file into use.")
    HELP_LICENSE_FILE = _("The license file from the portal; - reads it from standard input.")
    HELP_OFFLINE_DEACTIVATE = _(
        "Give the license up, and print the receipt that frees it in the portal. Again: the same receipt."
    )
    HELP_RECEIPT_OUT = _("Write the receipt to a file, too.")

    # service and log
    SERVICE_STARTED = _("License Manager {version} watches over {home}.")
    SERVICE_NEXT = _("Next validation: {when}.")
    SERVICE_WAITS = _("Not activated yet; looking again every minute.")
    SERVICE_STOPPED = _("Stopped.")
    LOG_EMPTY = _("The log is empty.")
    SAVED = _("{name} is now {value}.")
    SITE_SAVED = _("Saved: {choice}. It is used from now on.")
    SITE_AUTO = _("auto (Site 1 first, Site 2 if it fails)")
    PROXY_IN_USE = _("Proxy in use: {proxy}")
    NO_PROXY_IN_USE = _("Proxy in use: none")
    UNEXPECTED = _("Unexpected trouble: {why}. It will be tried again.")
    NO_ENTITLEMENTS = _("No application is licensed on this server at the moment.")


texts = Texts()
