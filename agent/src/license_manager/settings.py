"""What the administrator may set (`settings.json` in the home); each setting is checked when it is set."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from . import language, proxies
from .errors import Misuse
from .home import Home
from .proxies import DIRECT, masked
from .reporting import checked
from .texts import texts

SETTINGS_FILE = "settings.json"
LOCK_TIMEOUT = 10.0


@dataclass(frozen=True)
class Settings:
    """`site` is auto, 1 or 2; `proxy` an address or `direct`; `validate_at` HH:MM in the server's local time, `language`
    one of `language.LANGUAGES`."""

    site: str = "auto"
    proxy: str | None = None
    ca_file: str | None = None
    validate_at: str | None = None
    app_version: str | None = None
    databases: tuple[str, ...] = ()
    language: str | None = None

    def shown(self) -> dict[str, str]:
        """The settings as they may be seen by anybody: passwords masked."""
        return {
            "site": self.site,
            "proxy": masked(self.proxy) if self.proxy else "",
            "ca_file": self.ca_file or "",
            "validate_at": self.validate_at or "",
            "app_version": self.app_version or "",
            "databases": ", ".join(self.databases),
            "language": self.language or "",
        }


NAMES = tuple(part.name for part in fields(Settings))


def load(home: Home) -> Settings:
    """The home's settings, or the defaults. Raises Misuse if the file was edited into something else."""
    content = home.read(SETTINGS_FILE)
    if content is None:
        return Settings()
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise ValueError(texts.NO_JSON_OBJECT)
        return change(Settings(), document)
    except (ValueError, RecursionError, Misuse) as error:
        raise Misuse(
            "INVALID_SETTING", texts.SETTINGS_WRONG.format(path=home / SETTINGS_FILE, why=str(error).rstrip("."))
        ) from error


def update(home: Home, changes: Mapping[str, Any]) -> Settings:
    """Changes some settings on disk, and returns all. Raises Misuse, Busy, NotPrivate."""
    home.prepare()
    with home.locked(LOCK_TIMEOUT):
        changed = change(load(home), changes)
        save(home, changed)
    return changed


def save(home: Home, settings: Settings) -> None:
    """Writes the settings atomically. The caller holds the home's lock."""
    home.prepare()
    home.write(SETTINGS_FILE, json.dumps(asdict(settings), indent=1).encode())


def change(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """New settings with some values replaced; an empty value goes back to the default. Raises Misuse."""
    for name, value in changes.items():
        if name not in NAMES:
            raise Misuse("INVALID_SETTING", texts.UNKNOWN_SETTING.format(name=name, names=", ".join(NAMES)))
        empty = value in (None, "", [], ())
        try:
            settings = replace(settings, **{name: getattr(Settings(), name) if empty else _READERS[name](value)})
        except ValueError as error:
            raise Misuse("INVALID_SETTING", texts.SETTING_WRONG.format(why=error)) from error
    return settings


def _site(value: Any) -> str:
    if str(value) not in {"auto", "1", "2"}:
        raise ValueError(texts.BAD_SITE)
    return str(value)


def _proxy(value: Any) -> str:
    return DIRECT if value == DIRECT else proxies.checked(value)


def _ca_file(value: Any) -> str:
    try:
        path = Path(str(value)).expanduser().absolute()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ValueError(texts.BAD_CA_FILE) from error
    return str(path)


def _time_of_day(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError(texts.BAD_TIME)
    return value


def _language(value: Any) -> str:
    wanted = str(value).replace("_", "-").lower()
    for known in language.LANGUAGES:
        if known.lower() == wanted:
            return known
    raise ValueError(texts.BAD_LANGUAGE.format(languages=", ".join(language.LANGUAGES)))


def _app_version(value: Any) -> str:
    return str(checked({"app_version": value})["app_version"])


def _databases(value: Any) -> tuple[str, ...]:
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    return tuple(checked({"databases": list(names) if isinstance(names, list | tuple) else names})["databases"])


_READERS: dict[str, Callable[[Any], Any]] = {
    "site": _site,
    "proxy": _proxy,
    "ca_file": _ca_file,
    "validate_at": _time_of_day,
    "app_version": _app_version,
    "databases": _databases,
    "language": _language,
}
