"""`hf-finemix doctor`: versions, devices, cache and Hub; changes nothing."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .answers import Answer, add_json, answered
from .console import STYLES, paint, printable, table, wrapped


if TYPE_CHECKING:
    from ..doctor import Diagnosis
    from ..doctor_hub import Hub
    from ..doctor_machine import Device, Folder
    from ..doctor_packages import Extra, Package


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "doctor",
        help="check versions, devices, cache and the way to the Hub; changes nothing",
        description="Say which packages are installed and whether their versions work, what computes, where downloads "
        "go, whether the Hub answers and knows your token (which is not shown), and whose weights are trusted as a "
        "base. Exit status 1 if something keeps hf-finemix from working; a Hub that cannot be reached is a warning.",
    )
    parser.add_argument("--offline", action="store_true", help="do not ask the Hub")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """Runs the command. Its JSON: the fields of a [`~hf_finemix.doctor.Diagnosis`]."""
    from ..doctor import diagnose

    found = diagnose(args.offline)
    return Answer(found.to_dict(), lambda: _show(found), int(bool(found.problems)))


def _show(found: "Diagnosis") -> None:
    print(f"hf-finemix {found.version} on {printable(found.system)}")
    for part in (_packages(found.packages), _extras(found.extras), _devices(found.devices), _folders(found.folders)):
        print(f"\n{part}" if part else "", end="\n" if part else "")
    print()
    if found.hub is not None:
        print(wrapped(_hub(found.hub)))
    names = printable(", ".join(found.trusted_publishers)) or "none"
    source = (
        f" ({found.trusted_from}): {names}" if found.trusted_from else ": unknown, as a package cannot be imported"
    )
    print(wrapped(f"Trusted publishers{source}."))
    print()
    for kind, lines in (("problem", found.problems), ("warning", found.warnings)):
        for line in lines:
            print(paint(wrapped(f"{kind}: {printable(line)}"), STYLES[kind]))
    if not found.problems:
        print(paint("All that hf-finemix needs is there.", STYLES["ok"]))


def _packages(packages: Sequence["Package"]) -> str:
    if not packages:
        return ""
    rows, styles = [], []
    for package in packages:
        said = "ok" if package.fits else "missing" if package.version is None else "does not fit"
        rows.append([package.name, package.version or "", package.wanted, said])
        styles.append("" if package.fits else STYLES["problem"])
    return table(["package", "installed", "supported", "status"], rows, left=4, styles=styles)


def _extras(extras: Sequence["Extra"]) -> str:
    if not extras:
        return ""
    rows = []
    for extra in extras:
        there = ", ".join(f"{item.name} {item.version or '-'}" for item in extra.packages)
        rows.append([extra.name, "installed" if extra.installed else extra.command, there])
    return table(["extra", "add it with", "packages"], rows, left=3)


def _devices(devices: Sequence["Device"]) -> str:
    rows = []
    for device in devices:
        name = device.name if device.units is None else f"{device.name}, {device.units} processors"
        rows.append([device.kind, printable(name), _size(device.memory), "yes" if device.bf16 else "no"])
    return table(["device", "name", "memory", "bfloat16"], rows, left=4)


def _folders(folders: Sequence["Folder"]) -> str:
    if not folders:
        return ""
    rows = [
        [item.purpose, printable(item.path), _size(item.size), _size(item.free), "yes" if item.writable else "no"]
        for item in folders
    ]
    styles = ["" if item.writable else STYLES["problem"] for item in folders]
    return table(["cache", "folder", "size", "free", "writable"], rows, left=2, styles=styles)


def _hub(hub: "Hub") -> str:
    note = f" ({printable(hub.note)})" if hub.note else ""
    token = "the token cannot be read" if hub.problem else "no token"
    if hub.has_token:
        whose = "" if hub.user is None else f", of {printable(hub.user)}"
        token = f"a token is there{whose}"
    return f"Hub {printable(hub.endpoint)}: {hub.state}{note}; {token}."


def _size(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"
