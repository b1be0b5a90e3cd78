"""Names of files: those of the specification, and none that Diffusers would take for weights."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME

from diffusers_deis_sn.errors import PublishError, StatisticsError
from diffusers_deis_sn.hub.names import FILE_NAME, PLACES, SIDE_FILE, check_revision
from refusals import refused

SPECIFICATION = Path(__file__).resolve().parent.parent.parent / "stats/README.md"


def test_the_file_has_the_name_that_its_specification_gives_it():
    assert f"`{FILE_NAME}`" in SPECIFICATION.read_text(encoding="utf-8")


def test_it_is_looked_for_in_the_folder_itself_first_and_never_among_a_components_files():
    assert PLACES[0] == FILE_NAME and SIDE_FILE in PLACES
    for place in PLACES:
        assert PurePosixPath(place).name == FILE_NAME != SAFETENSORS_WEIGHTS_NAME
        assert PurePosixPath(place).parent.name != "scheduler"


@pytest.mark.parametrize("revision", [None, "main", "refs/pr/3", "v1.0-rc+2", "8a6ef29", "user/topic@home"])
def test_revisions_that_git_has(revision):
    check_revision(revision, StatisticsError)


@pytest.mark.parametrize(
    "revision", ["", " ", "-rf", "a b", "a\nb", "a\x1b[31m", "a..b", "a@{1}", "a//b", "~", 1, b"a", ()]
)
def test_revisions_that_git_has_not(revision):
    refused(PublishError, ["`revision`", repr(revision)[:3]], check_revision, revision, PublishError)
