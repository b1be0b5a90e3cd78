"""The folder of published statistics: the file, its figures and its card, made once."""

from __future__ import annotations

from diffusers_deis_sn.publish.folder import content, own_files, write_folder
from records import costed_record, gaussian_record

FILE = "score_statistics.safetensors"
RECORD = gaussian_record().with_origin(base_model="someone/model", licence="MIT", guidance_scale=7.5)


def test_a_folder_is_written_the_same_twice(tmp_path):
    changed = write_folder(RECORD, tmp_path, "user/repo")
    assert sorted(path.name for path in changed) == ["README.md", "normaliser.png", FILE]
    assert write_folder(RECORD, tmp_path, "user/repo") == []
    assert b"matplotlib" not in (tmp_path / "normaliser.png").read_bytes().lower()


def test_what_is_there_already_is_taken_as_it_is(tmp_path):
    (tmp_path / "README.md").write_bytes(b"mine")
    (tmp_path / "normaliser.png").write_bytes(b"drawn")
    (tmp_path / "notes.txt").write_bytes(b"not for everybody")
    files = content(RECORD, "user/repo", own=own_files(tmp_path))
    assert files == {FILE: RECORD.to_bytes(), "README.md": b"mine", "normaliser.png": b"drawn"}


def test_the_figure_of_a_schedule_is_there_where_there_are_costs_and_the_card_shows_it():
    files = content(costed_record(), "user/repo", own={"normaliser.png": b"drawn"})
    assert files["schedule.png"].startswith(b"\x89PNG") and b"(schedule.png)" in files["README.md"]
    bare = content(RECORD, "user/repo", own={"normaliser.png": b"drawn"})
    assert "schedule.png" not in bare and b"schedule.png" not in bare["README.md"]
