"""What a release says of itself agrees: versions, the changelog, and where the project lives."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks import readme
from diffusers_deis_sn import __version__

ROOT = Path(__file__).resolve().parents[1]
PLACE = re.compile(r"https://(?:[\w.]*github\w*\.com/([\w-]+)|([\w-]+)\.github\.io)/diffusers-deis-sn\b")


def tracked() -> Iterator[tuple[str, str]]:
    """Texts of the repository but those of tests, which may say anything."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout of git")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if not name.startswith("tests/") and path.is_file() and path.suffix not in (".png", ".safetensors", ".npz"):
            yield name, path.read_text(errors="replace")


def owners(text: str) -> set[str]:
    return {a or b for a, b in PLACE.findall(text)}


# ------------------------------------------------------------------------------------------------------ where it lives


def test_whoever_says_where_the_project_lives_is_told_when_it_moves() -> None:
    saying = {name for name, text in tracked() if owners(text)}
    assert saying <= {"pyproject.toml", "README.md", *readme.ADDRESSED}
    assert "README.md" in readme.DOCUMENTS and set(readme.ADDRESSED) <= saying


def test_one_command_moves_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("pyproject.toml", *readme.DOCUMENTS, *readme.ADDRESSED)
    for name in (*names, *(source for one in readme.DOCUMENTS.values() for source in one.values())):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    readme.main(["--owner", "Some-One"])
    with pytest.raises(SystemExit) as checked:
        readme.main(["--check"])
    assert checked.value.code == 0
    for name in names:
        before, after = (ROOT / name).read_text(), (tmp_path / name).read_text()
        assert owners(after) <= {"Some-One", "some-one"}, name  # the host of a site is in small letters
        assert len(PLACE.findall(after)) == len(PLACE.findall(before))
        for ours, moved in zip(before.splitlines(), after.splitlines(), strict=True):
            assert ours == moved or owners(ours), f"{name}: {moved}"


def test_pictures_and_links_of_the_front_page_are_whole_addresses() -> None:
    """The package index shows README too, and knows nothing of the repository's files."""
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) < 7000  # read in one go; the rest is on the site
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links and all(re.match(r"https://|#", link) for link in links)
    for path in re.findall(r"https://raw\.githubusercontent\.com/[\w-]+/diffusers-deis-sn/main/([^)\s]+)", text):
        assert (ROOT / path).is_file(), f"README shows {path}"
    for path in re.findall(r"https://github\.com/[\w-]+/diffusers-deis-sn/blob/main/([^)\s#]+)", text):
        assert (ROOT / path).is_file(), f"README links to {path}"


# -------------------------------------------------------------------------------------------------------- what it says


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_the_changelog_has_the_form_it_names() -> None:
    """Releases, newest first; in each the groups of Keep a Changelog; the first release has only what was added."""
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings and all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - (unreleased|\d{4}-\d\d-\d\d)", one) for one in headings)
    assert [one for one in headings if "unreleased" in one] in ([], headings[:1])
    groups = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    first = text[text.index(f"## {headings[-1]}") :]
    assert re.findall(r"^### (.*)$", first, re.MULTILINE) == ["Added"]
    diary = re.findall(r"\b(?:no longer|is again|now (?:hold|has|is)|as it was before|benchmarks/\w+)", first)
    assert not diary, f"{diary}: what was never released cannot have changed, and users run no benchmarks"


def test_places_where_people_are_sent_are_there() -> None:
    """No address of a person is written down: problems go to the repository's own private reports."""
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md"):
        text = (ROOT / name).read_text()
        assert "*Report a vulnerability*" in text and not re.search(r"[\w.]+@[\w.]+\.\w+", text)
    for form in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        assert isinstance(yaml.safe_load(form.read_text()), dict)
