"""Where a measurement goes: never over another one, never to where nothing can be written, and known beforehand."""

from __future__ import annotations

import pytest

from comparisons import planned, statistics
from diffusers_deis_sn.collect.checkpoint import Checkpoint, Keeper
from diffusers_deis_sn.collect.places import checkpoint_beside, choose_places, plans_lost
from diffusers_deis_sn.errors import CalibrationError, CheckpointError
from refusals import refused

FILE, HIDDEN = "score_statistics.safetensors", ".score_statistics.checkpoint.safetensors"


@pytest.mark.parametrize(
    ("target", "file", "hidden"), [("out", f"out/{FILE}", f"out/{HIDDEN}"), ("m.safetensors",) * 3]
)
def test_nothing_is_written_beforehand(tmp_path, target, file, hidden):
    place = choose_places(tmp_path / target, resume=False, force=False)
    hidden = ".m.checkpoint.safetensors" if hidden == file else hidden
    assert (place.output, place.checkpoint, place.states) == (
        tmp_path / file,
        tmp_path / hidden,
        {tmp_path / hidden: None},
    )
    assert not list(tmp_path.iterdir())


def test_another_measurement_is_replaced_only_by_force(tmp_path):
    (tmp_path / FILE).write_bytes(b"a measurement")
    for resume in (False, True):
        refused(CalibrationError, [FILE, "--force"], choose_places, tmp_path, resume=resume, force=False)
    assert choose_places(tmp_path, resume=False, force=True).states == {tmp_path / HIDDEN: None}
    assert (tmp_path / FILE).read_bytes() == b"a measurement"


def test_an_unfinished_one_is_gone_on_from_or_begun_anew_as_is_said(tmp_path):
    Keeper(tmp_path / HIDDEN, False).write(Checkpoint({"seed": 1}))
    refused(CheckpointError, [HIDDEN, "--resume", "--force"], choose_places, tmp_path, resume=False, force=False)
    assert choose_places(tmp_path, resume=True, force=False).states[tmp_path / HIDDEN].run == {"seed": 1}
    assert choose_places(tmp_path, resume=False, force=True).states == {tmp_path / HIDDEN: None}
    assert (tmp_path / HIDDEN).is_file()
    # It was begun with the permission to replace this one, or was killed right after it was written.
    (tmp_path / FILE).write_bytes(b"a measurement")
    assert choose_places(tmp_path, resume=True, force=False).states[tmp_path / HIDDEN] is not None


def test_a_damaged_unfinished_one_is_refused_and_can_be_begun_anew(tmp_path):
    (tmp_path / HIDDEN).write_bytes(b"half")
    refused(CheckpointError, [HIDDEN, "--force"], choose_places, tmp_path, resume=True, force=False)
    assert choose_places(tmp_path, resume=False, force=True).states == {tmp_path / HIDDEN: None}


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/proc/self/nowhere/deep"])
def test_where_nothing_can_be_written_is_refused(folder):
    refused(CalibrationError, [folder, "Choose another folder"], choose_places, folder, resume=False, force=False)


def test_a_full_disk_is_noticed():
    refused(CalibrationError, ["/dev/shm", "No space"], _on_a_full_disk)


def _on_a_full_disk() -> None:
    import tempfile

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, data: bytes) -> None:
            with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
                full.write(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
        choose_places("/dev/shm/nowhere", resume=False, force=False)


def test_two_outputs_of_a_folder_have_two_checkpoints(tmp_path):
    assert checkpoint_beside(tmp_path / "a.safetensors") != checkpoint_beside(tmp_path / "b.safetensors")


def test_several_guidances_have_a_checkpoint_each(tmp_path):
    several = {"guidance_scale": [1.0, 7.5]}
    place = choose_places(tmp_path, resume=False, force=False, arguments=several)
    names = [".score_statistics.checkpoint.g1.safetensors", ".score_statistics.checkpoint.g7.5.safetensors"]
    assert [one.name for one in place.states] == names
    for one in place.states:
        one.write_bytes(b"")
        refused(CheckpointError, [one.name], choose_places, tmp_path, resume=False, force=False, arguments=several)
        one.unlink()
    next(iter(place.states)).write_bytes(b"")
    assert not any(choose_places(tmp_path, resume=False, force=True, arguments=several).states.values())
    place.remove_states()
    assert not list(tmp_path.iterdir())


def test_who_replaces_statistics_is_told_which_plans_go_with_them(tmp_path):
    path = tmp_path / FILE
    assert plans_lost(path) is None
    for there in (statistics(), None):
        statistics().save(path) if there else path.write_bytes(b"no statistics")
        assert plans_lost(path) is None
    planned(5, 8).save(path)
    assert f"{str(path)!r} (5, 8 calls)" in plans_lost(path) and "`tune`" in plans_lost(path)
