"""Hold a wheel and a source distribution to what they promise: python .ci/package_contents.py WHEEL SOURCE WHEEL2.

WHEEL2 was built from the tree itself, WHEEL from the unpacked source distribution: both have the same files.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "diffusers_deis_sn"
KINDS = {".py", ".json", ".css", ".js", ".html"}  # of files in the package, beside py.typed
SIZES = {".whl": 600, ".gz": 2000}  # kB at most
NEEDED = (  # of a source distribution
    "pyproject.toml",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "constraints.txt",
    "Makefile",
    "src/diffusers_deis_sn/py.typed",
    "tests/conftest.py",
)
LINK = re.compile(r"\]\(([^)\s]+)|(?:src|href)=\"([^\"]+)\"")


def wheel_faults(names: list[str], metadata: Message, entry_points: str) -> list[str]:
    """What is wrong with a wheel."""
    inside = [name for name in names if not name.startswith(f"{PACKAGE}-")]
    faults = [] if f"{PACKAGE}/py.typed" in names else ["there is no py.typed: users would get no types"]
    for name in inside:
        path = PurePosixPath(name)
        if path.parts[0] != PACKAGE:
            faults.append(f"{name} is not of the package")
        elif path.suffix not in KINDS and path.name != "py.typed":
            faults.append(f"{name} is no code")
    missing = {f"{PACKAGE}/{path.relative_to(ROOT / 'src' / PACKAGE).as_posix()}" for path in sources()} - set(names)
    faults += [f"{name} is missing" for name in sorted(missing)]
    faults += metadata_faults(metadata)
    if f"deis-sn = {PACKAGE}.cli.app:main" not in entry_points:
        faults.append("the command deis-sn is missing")
    return faults


def metadata_faults(metadata: Message) -> list[str]:
    """What is wrong with what an index shows: a link there leads somewhere only if it is a whole address."""
    text = str(metadata.get_payload())
    links = [a or b for a, b in LINK.findall(text)]
    faults = [f"the description links to {link}" for link in links if not re.match(r"https://|#", link)]
    if not any(link.endswith(".png") for link in links):
        faults.append("the description has no picture")
    version = re.search(r'^__version__ = "(.+)"', (ROOT / "src" / PACKAGE / "_version.py").read_text(), re.MULTILINE)
    if version is None or metadata["Version"] != version[1]:
        faults.append(f"the version is {metadata['Version']}")
    for field in ("Summary", "License-Expression", "License-File", "Requires-Python", "Project-URL", "Keywords"):
        if not metadata.get_all(field):
            faults.append(f"the metadata has no {field}")
    bare = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    extra = [one for one in bare if re.match(r"matplotlib|gradio|pytest|ruff|mypy", one)]
    return [*faults, *(f"{one} is asked of every user" for one in extra)]


def source_faults(names: list[str]) -> list[str]:
    """What is wrong with a source distribution: data in it, or a part left out that builds or tests need."""
    faults = [f"{n} is data" for n in names if n.endswith((".safetensors", ".png", ".npz", ".bin", ".pt", ".pyc"))]
    inside = {name.partition("/")[2] for name in names}
    return faults + [f"{name} is missing" for name in NEEDED if name not in inside]


def sources() -> list[Path]:
    """Files of the package in this checkout."""
    return [path for path in (ROOT / "src" / PACKAGE).rglob("*") if path.suffix in KINDS or path.name == "py.typed"]


def _checksums(wheel: zipfile.ZipFile) -> dict[str, int]:
    return {one.filename: one.CRC for one in wheel.infolist() if not one.filename.endswith("/RECORD")}


def main(wheel: str, source: str, again: str) -> None:
    """Print every fault and exit with status 1 if there is one, else the sizes."""
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    info = next(name.partition("/")[0] for name in names if ".dist-info/" in name)
    metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
    faults = wheel_faults(names, metadata, archive.read(f"{info}/entry_points.txt").decode())
    faults += source_faults(tarfile.open(source).getnames())
    other = _checksums(zipfile.ZipFile(again))
    faults += [f"{n} differs if built from the tree" for n, _ in _checksums(archive).items() ^ other.items()]
    for file in (Path(wheel), Path(source)):
        size = file.stat().st_size // 1024
        print(f"{file.name}: {size} kB")
        if size > SIZES[file.suffix]:
            faults.append(f"{file.name} has {size} kB, more than {SIZES[file.suffix]}")
    if faults:
        sys.exit("check-package: " + "\n  ".join(faults))


if __name__ == "__main__":
    main(*sys.argv[1:])
