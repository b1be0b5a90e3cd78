"""Give files of statistics from before the digest theirs; no tensor and no fact of them is changed.

    python -m benchmarks.seal_statistics              # those that are shipped, and the index of them
    python -m benchmarks.seal_statistics runs         # those in folders, at any depth

A file that has one is left alone, right or wrong: whether it is right is for readers to say.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.numpy import load

from benchmarks.places import ROOT
from benchmarks.shipped_statistics import index
from diffusers_deis_sn.hub.atomic_write import write_together
from diffusers_deis_sn.hub.names import FILE_NAME
from diffusers_deis_sn.hub.sealed import SEAL, VERSION, header_of, read_json, seal
from diffusers_deis_sn.statistics.format import FORMAT_VERSION, METADATA_KEY
from diffusers_deis_sn.statistics.index import INDEX_NAME


def with_digest(data: bytes) -> bytes:
    """A file with its digest; the same bytes where it has one, or is none of statistics."""
    metadata = (header_of(data) or {}).get("__metadata__") or {}
    facts = read_json(metadata.get(METADATA_KEY, ""))
    if not isinstance(facts, dict) or SEAL in facts or facts.pop(VERSION, None) != FORMAT_VERSION:
        return data
    tensors = load(data)
    sealed = seal(tensors, facts, METADATA_KEY, FORMAT_VERSION)
    again = load(sealed)
    assert again.keys() == tensors.keys() and all(
        (one.dtype, one.shape, one.tobytes()) == (again[name].dtype, again[name].shape, again[name].tobytes())
        for name, one in tensors.items()
    )
    return sealed


def seal_below(folder: Path) -> list[Path]:
    """Give digests to all files of statistics in a folder; those that were written."""
    files = sorted(folder.rglob(FILE_NAME))
    return write_together({path: with_digest(path.read_bytes()) for path in files})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="where the files lie")
    folders = parser.parse_args().folders or [ROOT / "stats"]
    for folder in folders:
        for path in seal_below(folder):
            print(path)
    if ROOT / "stats" in folders:
        (ROOT / "stats" / INDEX_NAME).write_text(index())


if __name__ == "__main__":
    main()
