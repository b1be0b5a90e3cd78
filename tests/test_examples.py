"""The short scripts and README say what works: each is run, and README holds what the files say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import readme
from diffusers_deis_sn import ScoreStatistics

ROOT = Path(__file__).resolve().parent.parent
SHORT = ("swap_scheduler.py", "calibrate_your_model.py")


def run(script: str, *arguments: str, folder: Path) -> str:
    """Run an example in `folder`, where the paths that are its defaults are found."""
    for name in ("examples", "stats"):
        (folder / name).symlink_to(ROOT / name)
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(ROOT / "examples" / script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SHORT)
def test_short_examples_are_short(script: str) -> None:
    assert len((ROOT / "examples" / script).read_text().splitlines()) <= 30


def test_swap_scheduler_draws_a_picture(tmp_path: Path) -> None:
    run("swap_scheduler.py", folder=tmp_path)
    image = Image.open(tmp_path / "swap_scheduler.png")
    assert image.size == (32, 32)
    red, green, blue = image.convert("RGB").getpixel((1, 1))
    assert blue > 60 and blue > 2 * max(red, green)  # "... on a dark blue background"


def test_calibrate_your_model_takes_any_folder_and_prompts(tmp_path: Path) -> None:
    model = str(ROOT / "examples/models/tiny-sd-digits")
    out = run("calibrate_your_model.py", model, "measured", "a red one on a black background", folder=tmp_path)
    statistics = ScoreStatistics.load(tmp_path / "measured")
    assert len(statistics) == 50
    assert "measured" in out and "E|eps|" in out


def test_readme_holds_what_the_files_say() -> None:
    for name in (*readme.DOCUMENTS, *readme.ADDRESSED):
        assert readme.filled(name) == (ROOT / name).read_text(), "run `python -m benchmarks.readme`"


def test_links_of_the_documents_lead_somewhere() -> None:
    for name in ("README.md", "benchmarks/README.md", "stats/README.md", "stats/tiny-sd-digits/README.md"):
        document = ROOT / name
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
