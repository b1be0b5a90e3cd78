"""Score statistics as a value, and on their way to a file and back."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diffusers_deis_sn.errors import (
    StatisticsError,
    StatisticsFormatError,
    StatisticsNotFoundError,
)
from diffusers_deis_sn.statistics import ScoreStatistics, StatisticsOrigin
from records import gaussian_record, tiny_record

FILE = "score_statistics.safetensors"


# --------------------------------------------------------------------------------------------------------- the value


def test_arrays_are_copied_and_cannot_be_changed():
    times = np.array([0.0, 1.5])
    record = replace(tiny_record(), timesteps=times)
    times[0] = 1.0
    assert record.timesteps[0] == 0.0
    for copied in (record, copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        with pytest.raises(ValueError, match="read-only"):
            copied.mean_abs[0] = 1.0
        with pytest.raises(FrozenInstanceError):
            copied.mean_abs = record.mean_square


def test_equality_is_bit_for_bit_and_includes_the_origin():
    record = tiny_record()
    assert record == tiny_record()
    assert hash(record) == hash(tiny_record())
    assert record == copy.deepcopy(record) == pickle.loads(pickle.dumps(record))
    assert record != record.with_origin(seed=1)
    assert record != replace(record, mean_abs=np.nextafter(record.mean_abs, 1.0))
    assert record != replace(record, timesteps=np.array([-0.0, 1.5]))
    assert record != "statistics"


def test_unknown_curves_are_none_and_part_of_equality():
    record = tiny_record()
    bare = ScoreStatistics(record.timesteps, record.log_snr, record.mean_abs, origin=record.origin)
    for name in ("mean_abs_error", "mean_square", "mean_square_error", "mean_abs_data", "num_samples"):
        assert getattr(bare, name) is None
        assert replace(bare, **{name: None}) == bare
    assert bare == copy.deepcopy(bare) == pickle.loads(pickle.dumps(bare))
    assert hash(bare) == hash(copy.deepcopy(bare))
    assert bare != record
    assert bare != replace(bare, num_samples=record.num_samples)
    assert bare != replace(bare, mean_abs_error=[0.0, 0.0])
    assert (record.most_samples, bare.most_samples) == (6, None)
    assert "6 samples" in repr(record)
    assert "unknown number of samples" in repr(bare)


def test_counts_are_integers_and_curves_float64():
    record = replace(tiny_record(), num_samples=[4.0, 6.0], mean_abs=np.array([0.5, 0.75], np.float32))
    assert record.num_samples.dtype == np.int64
    assert record.mean_abs.dtype == np.float64
    assert len(record) == 2


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"timesteps": [1.5, 0.0]}, "`timesteps` must increase"),
        ({"timesteps": [0.0, 0.0]}, "`timesteps` must increase"),
        ({"timesteps": [[0.0, 1.5]]}, "shape"),
        ({"log_snr": [-1.0, 2.0]}, "`log_snr` must decrease"),
        ({"log_snr": [1.0]}, "must have the shape"),
        ({"mean_abs": [0.0, 0.75]}, "`mean_abs` must be positive"),
        ({"mean_abs": [0.5, np.nan]}, "finite"),
        ({"mean_abs": ["a", "b"]}, "real numbers"),
        ({"mean_abs_error": [-0.1, 0.0]}, "must not be negative"),
        ({"mean_square_error": [0.0, -0.1]}, "must not be negative"),
        ({"mean_square": [0.24, 1.0]}, "at least mean_abs squared"),
        ({"num_samples": [0, 1]}, "at least 1"),
        ({"num_samples": [1.5, 1.0]}, "whole"),
        ({"mean_square": None}, "`mean_square_error` is that of `mean_square`"),
        ({"mean_abs": None}, "`mean_abs` must hold real numbers"),
        ({"origin": {"seed": 0}}, "StatisticsOrigin"),
    ],
)
def test_contradictions_are_refused(change, rule):
    with pytest.raises(StatisticsError, match=rule):
        replace(tiny_record(), **change)


def test_the_square_may_equal_the_mean_squared_but_for_rounding():
    mean_square = np.array([0.5, 0.75]) ** 2 * (1.0 - 1e-7)
    assert np.array_equal(replace(tiny_record(), mean_square=mean_square).mean_square, mean_square)


# ------------------------------------------------------------------------------------------------- to a file and back


@st.composite
def records(draw) -> ScoreStatistics:
    k = draw(st.integers(2, 12))

    def curve(low: float, high: float) -> np.ndarray:
        return draw(hnp.arrays(np.float64, k, elements=st.floats(low, high)))

    def smooth() -> np.ndarray:  # neighbours no further apart than is allowed at any two levels, nor their squares
        return draw(st.floats(1e-6, 3.0)) * curve(1.0, 3.1)

    r = smooth()
    optional = {
        "mean_abs_error": curve(0.0, 1.0),
        "mean_square": r**2 * curve(1.0, 9.9),
        "mean_square_error": curve(0.0, 1.0),
        "mean_abs_data": smooth(),
        "mean_abs_data_error": curve(0.0, 1.0),
        "num_samples": draw(hnp.arrays(np.int64, k, elements=st.integers(1, 2**62))),
    }
    unknown = draw(st.sets(st.sampled_from(list(optional))))
    unknown |= {f"{name}_error" for name in ("mean_square", "mean_abs_data") if name in unknown}
    return ScoreStatistics(
        timesteps=np.cumsum(curve(1e-3, 50.0)),
        log_snr=-np.cumsum(curve(1e-3, 5.0)),
        mean_abs=r,
        **{name: values for name, values in optional.items() if name not in unknown},
        origin=StatisticsOrigin(
            base_model=draw(st.none() | st.text(max_size=20)),
            guidance_scale=draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
            sample_shape=draw(st.none() | st.lists(st.integers(1, 512), max_size=4).map(tuple)),
            seed=draw(st.none() | st.integers()),
            versions=draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)),
        ),
    )


@settings(max_examples=40, deadline=None)
@given(record=records())
def test_a_file_gives_the_record_back_bit_for_bit(record, tmp_path_factory):
    path = record.save(tmp_path_factory.mktemp("round-trip"))
    loaded = ScoreStatistics.load(path)
    assert loaded == record
    assert loaded.to_bytes() == record.to_bytes() == path.read_bytes()


def test_a_record_is_its_own_source():
    record = tiny_record()
    assert ScoreStatistics.load(record) is record


@pytest.mark.parametrize(
    "place", [FILE, f"score_statistics/{FILE}", f"scheduler/score_statistics/{FILE}", "other.safetensors"]
)
def test_files_and_folders_are_found(tmp_path, place):
    assert tiny_record().save(tmp_path / place) == tmp_path / place
    source = tmp_path if place.endswith(FILE) else tmp_path / place
    assert ScoreStatistics.load(source) == ScoreStatistics.load(str(source)) == tiny_record()


def test_a_folder_is_made_and_given_the_usual_name(tmp_path):
    assert tiny_record().save(tmp_path / "new" / "v1.5") == tmp_path / "new" / "v1.5" / FILE


def test_the_folder_of_a_scheduler_gets_the_file_one_deeper(tmp_path):
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text("{}")
    assert tiny_record().save(tmp_path / "scheduler") == tmp_path / "scheduler" / "score_statistics" / FILE
    assert ScoreStatistics.load(tmp_path) == ScoreStatistics.load(tmp_path / "scheduler") == tiny_record()


def test_the_file_can_be_read_by_those_who_may(tmp_path):
    path = tiny_record().save(tmp_path)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failure):
    path = tiny_record().save(tmp_path)
    before = path.read_bytes()

    def fail(*_):
        raise failure

    monkeypatch.setattr("os.replace", fail)
    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(type(failure)):
        gaussian_record().save(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]
    assert path.read_bytes() == before


def test_a_save_that_fails_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        tiny_record().save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_to_save_to(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for target in ("notes.txt", "notes.txt/deeper", "notes.txt/name.safetensors"):
        with pytest.raises(StatisticsError, match=r"notes\.txt"):
            tiny_record().save(tmp_path / target)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/file.safetensors", "./user/repo", "a/b c", "~/nowhere-at-all"])
def test_a_missing_source_is_named(tmp_path, monkeypatch, missing):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StatisticsNotFoundError) as error:
        ScoreStatistics.load(missing)
    assert repr(missing) in str(error.value)
    assert "user/repo" in str(error.value)
    assert isinstance(error.value, OSError)


def test_an_empty_folder_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(StatisticsNotFoundError, match=f"scheduler/score_statistics/{FILE}"):
        ScoreStatistics.load(tmp_path)


def test_nothing_but_names_and_records_is_a_source():
    with pytest.raises(StatisticsError, match="got dict"):
        ScoreStatistics.load({"mean_abs": [1.0]})


def test_a_damaged_file_names_itself(tmp_path):
    path = tiny_record().save(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StatisticsFormatError, match=FILE):
        ScoreStatistics.load(tmp_path)
