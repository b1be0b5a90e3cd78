"""Names of files: those of the specification, and none that Diffusers would take for weights."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from diffusers.utils import SAFETENSORS_WEIGHTS_NAME

from diffusers_deis_sn.hub.names import FILE_NAME, PLACES, SIDE_FILE

SPECIFICATION = Path(__file__).resolve().parent.parent.parent / "stats/README.md"


def test_the_file_has_the_name_that_its_specification_gives_it():
    assert f"`{FILE_NAME}`" in SPECIFICATION.read_text(encoding="utf-8")


def test_it_is_looked_for_in_the_folder_itself_first_and_never_among_a_components_files():
    assert PLACES[0] == FILE_NAME and SIDE_FILE in PLACES
    for place in PLACES:
        assert PurePosixPath(place).name == FILE_NAME != SAFETENSORS_WEIGHTS_NAME
        assert PurePosixPath(place).parent.name != "scheduler"
