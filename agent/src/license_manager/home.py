"""The folder in which the License Manager keeps its files: private, written atomically, one writer at a time."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import Busy, NotPrivate
from .texts import texts

APPLICATION = "license-manager"
HOME_VARIABLE = "LICENSE_MANAGER_HOME"
LARGEST_FILE = 16 * 1024 * 1024
#: By these a folder is known as a License Manager's; they belong to state, profile, settings, reporting and journal.
OWN_FILES = frozenset({"state.json", "vendor.json", "settings.json", "product.json", "log.jsonl"})


def is_administrator() -> bool:
    """Whether this process runs as root (POSIX) or with an administrator's rights (Windows)."""
    if sys.platform == "win32":
        import ctypes

        return bool(ctypes.windll.shell32.IsUserAnAdmin())
    return os.geteuid() == 0


def default_home() -> Path:
    """The machine's folder for an administrator or for the account that owns it, else the user's own."""
    import platformdirs

    machine_wide = platformdirs.site_state_path(APPLICATION, appauthor=False)
    if is_administrator():
        return machine_wide
    with suppress(OSError):
        if sys.platform == "win32" or machine_wide.stat().st_uid == os.geteuid():
            return machine_wide
    return platformdirs.user_data_path(APPLICATION, appauthor=False)


def locate(explicit: Path | str | None, environ: Mapping[str, str]) -> Path:
    """The home by argument, by `LICENSE_MANAGER_HOME`, or by the system's custom, in this order."""
    chosen = explicit or environ.get(HOME_VARIABLE)
    return Path(chosen).expanduser() if chosen else default_home()


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise NotPrivate("STATE_NOT_PRIVATE", texts.FOREIGN_OWNER.format(path=path, owner=_user_name(status.st_uid)))


def _user_name(uid: int) -> str:
    if sys.platform != "win32":
        import pwd

        with suppress(KeyError):
            return pwd.getpwuid(uid).pw_name
    return str(uid)


def _protect_on_windows(path: Path) -> None:
    """Takes away what a new folder inherits (ProgramData lets every user read); leaves system, administrators, us."""
    import subprocess

    everyone_else_out = ["/inheritance:r", "/grant:r", "*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F"]
    user = os.environ.get("USERNAME")
    if user and not user.endswith("$"):
        everyone_else_out.append(f"{user}:(OI)(CI)F")
    icacls = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "icacls.exe"
    subprocess.run([str(icacls), str(path), *everyone_else_out], check=False, capture_output=True)  # noqa: S603


class Home:
    """One License Manager's folder (0700) and its files (0600)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def prepare(self) -> None:
        """Makes the folder if it is missing and closes it to others, if it is a License Manager's: nobody else's folder,
        such as `/`, must be closed by a slip in an option. Raises NotPrivate, OSError."""
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.require_own()
        if not self._is_open():
            return
        files = {entry.name for entry in self.path.iterdir()}
        if files and not files & OWN_FILES:
            raise NotPrivate("HOME_NOT_OURS", texts.HOME_NOT_OURS.format(path=self.path))
        if sys.platform == "win32":
            _protect_on_windows(self.path)
        else:
            self.path.chmod(0o700)

    def _is_open(self) -> bool:
        """Whether others may be able to look in; on Windows until there is a state, which is written after this."""
        if sys.platform == "win32":
            return not (self.path / "state.json").exists()
        return stat.S_IMODE(self.path.stat().st_mode) & 0o077 != 0

    def require_own(self) -> None:
        """Raises NotPrivate if the folder is another user's."""
        _refuse_foreign(self.path, self.path.stat())

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None if there is none. Raises NotPrivate if it is a link or another user's."""
        path = self.path / name
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise NotPrivate("STATE_NOT_PRIVATE", texts.NOT_READABLE.format(path=path)) from error
        except OSError as error:
            if path.is_symlink():
                raise NotPrivate("STATE_NOT_PRIVATE", texts.IS_A_LINK.format(path=path)) from error
            raise
        with os.fdopen(descriptor, "rb") as file:
            _refuse_foreign(path, os.fstat(file.fileno()))
            return file.read(LARGEST_FILE)

    def write(self, name: str, content: bytes) -> None:
        """Writes a file so that a reader or a power cut sees the old content or the new, never half of it."""
        temporary = self.path / f".{name}.{os.getpid()}.{time.monotonic_ns()}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _replace(temporary, self.path / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._sync()

    def set_aside(self, name: str, copy: str) -> Path:
        """Renames a file, so that nothing of it is lost, and returns its new path."""
        _replace(self.path / name, self.path / copy)
        self._sync()
        return self.path / copy

    def _sync(self) -> None:
        if sys.platform == "win32":
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        """Holds the home for one writer. Raises Busy after `timeout` seconds."""
        import filelock

        lock = filelock.FileLock(self.path / ".lock", timeout=timeout, mode=0o600)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise Busy("BUSY", texts.BUSY.format(home=self.path)) from error
        try:
            for left in self.path.glob(".state.json.*.new"):  # of a writer that was killed: it holds a private key
                left.unlink(missing_ok=True)
            yield
        finally:
            lock.release()


def _replace(source: Path, target: Path) -> None:
    # Windows refuses to replace a file in the instant in which a product reads it.
    for attempt in range(20):
        try:
            source.replace(target)
            return
        except PermissionError:
            if sys.platform != "win32" or attempt == 19:
                raise
            time.sleep(0.01 * (attempt + 1))
