"""What makes this machine this machine (A7): a handful of properties, each only as a hash.

A clone or a restored backup is told by the sequence of validations; the fingerprint tells a copied folder. Most
components must match, so that a new network card or a new disk does no harm.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

ENOUGH = 3
#: A source that fails so has nothing on this machine; any other failure (no file descriptors left) may be over soon.
ABSENT = (FileNotFoundError, NotADirectoryError, PermissionError, ValueError, subprocess.CalledProcessError)
_SALT = "license-manager/fingerprint/1"


def digest(name: str, value: str) -> str:
    """The component as it is sent: base64url SHA-256 over label, name and value; 43 characters."""
    from base64 import urlsafe_b64encode

    hashed = sha256("\0".join((_SALT, name, value)).encode()).digest()
    return urlsafe_b64encode(hashed).rstrip(b"=").decode()


def matches(enrolled: Mapping[str, str], current: Mapping[str, str]) -> bool:
    """The rule of both sides: more than half of the enrolled components are there with an equal hash."""
    same = sum(1 for name, hashed in enrolled.items() if current.get(name) == hashed)
    return 2 * same > len(enrolled)


class Collector:
    """The components of a machine: hashes of what the sources yield, and where that is less than three (a container),
    of what the fallback yields too. They are read once, unless a source failed for a reason that may pass."""

    def __init__(
        self, sources: Mapping[str, Callable[[], str | None]], fallback: Mapping[str, Callable[[], str | None]]
    ) -> None:
        self._sources = sources
        self._fallback = fallback
        self._kept: Mapping[str, str] | None = None

    def __call__(self) -> Mapping[str, str]:
        if self._kept is not None:
            return self._kept
        found: dict[str, str] = {}
        complete = True
        for name, source in (*self._sources.items(), *self._fallback.items()):
            if name in self._fallback and len(found) >= ENOUGH:
                break
            value = None
            try:
                value = source()
            except ABSENT:
                pass
            except (OSError, subprocess.SubprocessError):
                complete = False
            if value and value.strip():
                found[name] = digest(name, value.strip().lower())
        if complete:
            self._kept = found
        return found


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace").strip()


def _match(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else None


# Linux


def _machine_id() -> str | None:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(*ABSENT):
            if value := _read(path):
                return value
    return None


def _product_uuid() -> str | None:
    return _read("/sys/class/dmi/id/product_uuid")  # readable by root only


def _first_physical_mac() -> str | None:
    for interface in sorted(Path("/sys/class/net").iterdir()):
        if (interface / "device").exists():  # bridges, tunnels and a container's interfaces have none
            address = _read(str(interface / "address"))
            if address.strip("0:"):
                return address
    return None


def _linux_cpu() -> str | None:
    text = _read("/proc/cpuinfo")
    return _match(r"^model name\s*:\s*(.+)$", text) or _match(r"^Model\s*:\s*(.+)$", text)


def _root_filesystem() -> str | None:
    device = os.stat("/").st_dev
    for link in sorted(Path("/dev/disk/by-uuid").iterdir()):
        with suppress(*ABSENT):
            if link.stat().st_rdev == device:
                return link.name
    return None


# Windows


def _registry(path: str, name: str) -> str | None:
    if sys.platform != "win32":
        return None
    import winreg

    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY) as key:
        return str(winreg.QueryValueEx(key, name)[0])


def _windows_volume() -> str | None:
    if sys.platform != "win32":
        return None
    import ctypes

    serial = ctypes.c_ulong()
    drive = os.environ.get("SYSTEMDRIVE", "C:") + "\\"
    done = ctypes.windll.kernel32.GetVolumeInformationW(drive, None, 0, ctypes.byref(serial), None, None, None, 0)
    return f"{serial.value:08x}" if done else None


def _hardware_mac() -> str | None:
    node = uuid.getnode()
    return None if node >> 40 & 1 else f"{node:012x}"  # with the multicast bit it is a random number


# macOS


def _platform_expert(name: str) -> str | None:
    text = _output("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
    return _match(rf'"{name}" = "([^"]+)"', text)


def _macos_cpu() -> str | None:
    return _output("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout  # noqa: S603


_LINUX: dict[str, Callable[[], str | None]] = {
    "machine_id": _machine_id,
    "product_uuid": _product_uuid,
    "mac": _first_physical_mac,
    "cpu_model": _linux_cpu,
    "root_filesystem": _root_filesystem,
}
_WINDOWS: dict[str, Callable[[], str | None]] = {
    "machine_guid": lambda: _registry(r"SOFTWARE\Microsoft\Cryptography", "MachineGuid"),
    "hardware_id": lambda: _registry(r"SYSTEM\CurrentControlSet\Control\SystemInformation", "ComputerHardwareId"),
    "cpu_model": lambda: _registry(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString"),
    "volume": _windows_volume,
    "mac": _hardware_mac,
}
_MACOS: dict[str, Callable[[], str | None]] = {
    "platform_uuid": lambda: _platform_expert("IOPlatformUUID"),
    "serial_number": lambda: _platform_expert("IOPlatformSerialNumber"),
    "cpu_model": _macos_cpu,
    "mac": _hardware_mac,
}
_ANYWHERE: dict[str, Callable[[], str | None]] = {
    "hostname": socket.gethostname,
    "architecture": platform.machine,
    "system": platform.system,
}

of_this_machine = Collector({"linux": _LINUX, "win32": _WINDOWS, "darwin": _MACOS}.get(sys.platform, {}), _ANYWHERE)
"""The components of this machine."""
