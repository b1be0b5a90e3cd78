"""The bytes of `score_statistics.safetensors`: spelled out by hand, and everything else refused."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.numpy import load, save

from diffusers_deis_sn.errors import StatisticsFormatError
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics import format as layout
from diffusers_deis_sn.statistics.cost import LocalCost
from diffusers_deis_sn.statistics.trials import Method, Trials
from records import costed_record, gaussian_record, resealed, tiny_record
from refusals import refused

UNSEALED = (
    '{"format_version":1,"origin":{"base_model":"someone/some-model","date":"2026-01-31","dtype":null,'
    '"fingerprint":null,"guidance_scale":7.5,"licence":null,"noise_schedule":null,"num_inference_steps":null,'
    '"prediction_type":null,"prompts_hash":null,"revision":null,"sample_shape":[4,8,8],"seed":0,"solver":null,'
    '"source":null,"versions":{"diffusers":"0.36","torch":"2.0"}}}'
)
GOLDEN_TENSORS = (
    ("num_samples", "I64", struct.pack("<2q", 4, 6)),
    ("log_snr", "F64", struct.pack("<2d", 2.0, -1.0)),
    ("mean_abs", "F64", struct.pack("<2d", 0.5, 0.75)),
    ("mean_abs_data", "F64", struct.pack("<2d", 0.625, 0.375)),
    ("mean_abs_data_error", "F64", struct.pack("<2d", 0.25, 0.0)),
    ("mean_abs_error", "F64", struct.pack("<2d", 0.0, 0.125)),
    ("mean_square", "F64", struct.pack("<2d", 0.25, 1.0)),
    ("mean_square_error", "F64", struct.pack("<2d", 0.5, 0.0625)),
    ("timesteps", "F64", struct.pack("<2d", 0.0, 1.5)),
)


def digest(facts: str, tensors: Sequence[tuple]) -> str:
    """The SHA-256 of the specification, of the facts as text and of tensors as below."""
    found = hashlib.sha256(facts.encode())
    for name, dtype, data, *of_two_axes in sorted(tensors):
        shape = json.dumps(of_two_axes[0] if of_two_axes else [len(data) // 8], separators=(",", ":"))
        found.update(f'["{name}","<{dtype[0].lower()}8",{shape}]\n'.encode() + data)
    return found.hexdigest()


def sealed(facts: str, tensors: Sequence[tuple]) -> str:
    """The facts with their digest; in the order of their names it comes before those of trials."""
    seal = f',"sha256":"{digest(facts, tensors)}"'
    before, trials, after = facts[:-1].partition(',"trials":')
    return before + seal + trials + after + "}"


GOLDEN_METADATA = sealed(UNSEALED, GOLDEN_TENSORS)
GOLDEN_COSTS = (
    '{"corrector":{"num_samples":12,"order":2,"velocity":"sigma"},'
    '"predictor":{"num_samples":8,"order":4,"velocity":"sigma"},'
    '"solver":{"num_samples":6,"order":6,"velocity":"sigma"}}'
)
COSTED_TENSORS = (  # in the order of safetensors, by the width of the dtype and then by name
    GOLDEN_TENSORS[0],
    ("corrector_cost", "F64", struct.pack("<d", 0.5)),
    ("corrector_cost_error", "F64", struct.pack("<d", 0.125)),
    *GOLDEN_TENSORS[1:-1],
    ("predictor_cost", "F64", struct.pack("<d", 0.25)),
    ("predictor_cost_error", "F64", struct.pack("<d", 0.0)),
    ("solver_cost", "F64", struct.pack("<d", 0.375)),
    ("solver_cost_error", "F64", struct.pack("<d", 0.0625)),
    GOLDEN_TENSORS[-1],
)
COSTED_METADATA = sealed('{"costs":' + GOLDEN_COSTS + "," + UNSEALED[1:], COSTED_TENSORS)
GOLDEN_TRIALS = (
    '{"calls":[4,8,20],"num_samples":3,"recipes":[{"corrector_order":2,"grid_exponent":1.5,"integrand":"data",'
    '"solver_order":3,"timestep_spacing":"power_t"},{"corrector_gain":0.375,"corrector_order":4,'
    '"final_sigmas_type":"sigma_min","start_time":0.875,"timestep_spacing":"learned"}]}'
)
TRIED_TENSORS = (
    *GOLDEN_TENSORS,
    ("trial_error", "F64", struct.pack("<6d", 0.5, 0.25, 0.125, 0.625, 0.375, 0.0625), [2, 3]),
    ("trial_grain", "F64", struct.pack("<6d", 1.0, 1.25, 0.0, 0.875, 1.0, 1.5), [2, 3]),
    ("trial_rms", "F64", struct.pack("<6d", 0.75, 0.25, 0.25, 0.75, 0.5, 0.125), [2, 3]),
)
TRIED_METADATA = sealed(UNSEALED[:-1] + ',"trials":' + GOLDEN_TRIALS + "}", TRIED_TENSORS)


def assemble(metadata: object = GOLDEN_METADATA, tensors: tuple = GOLDEN_TENSORS) -> bytes:
    """A file made with json and struct alone: the length of a header, the header padded to eight bytes, the numbers."""
    header = {"__metadata__": {"score_statistics": metadata}} if metadata is not None else {}
    offset = 0
    for name, dtype, data, *of_two_axes in tensors:
        header[name] = {
            "dtype": dtype,
            "shape": of_two_axes[0] if of_two_axes else [len(data) // 8],
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data, *_ in tensors)


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    record = tiny_record()
    return {name: getattr(record, name) for name in layout.DTYPES} | changes


def file_with(tensors: dict[str, np.ndarray], metadata: str = GOLDEN_METADATA) -> bytes:
    """A file whose digest is right, whatever else it holds."""
    return resealed(json.loads(metadata), tensors)


def costed_tiny_record() -> ScoreStatistics:
    return tiny_record().with_costs(
        predictor=LocalCost([0.25], [0.0], 4, 8),
        solver=LocalCost([0.375], [0.0625], 6, 6),
        corrector=LocalCost([0.5], [0.125], 2, 12),
    )


def tried_tiny_record() -> ScoreStatistics:
    return tiny_record().with_trials(
        Trials(
            recipes=(
                Method("data", 3, 2, None, "power_t", 1.5),
                Method("noise", 2, 4, 0.375, "learned", start_time=0.875, final_sigmas_type="sigma_min"),
            ),
            calls=(4, 8, 20),
            error=[[0.5, 0.25, 0.125], [0.625, 0.375, 0.0625]],
            rms=[[0.75, 0.25, 0.25], [0.75, 0.5, 0.125]],
            grain=[[1.0, 1.25, 0.0], [0.875, 1.0, 1.5]],
            num_samples=3,
        )
    )


def trial_arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """All tensors of a file with trials."""
    trials = tried_tiny_record().trials
    tables = {f"trial_{name}": np.array(getattr(trials, name)) for name in ("error", "rms", "grain")}
    return arrays(**tables) | changes


def trial_metadata(**facts: object) -> str:
    """Metadata of a file with trials, with some facts of theirs replaced."""
    payload = json.loads(TRIED_METADATA)
    payload["trials"] |= facts
    return json.dumps(payload)


def cost_arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """All tensors of a file with all costs."""
    costs = {"corrector_cost": 0.5, "corrector_cost_error": 0.125, "predictor_cost": 0.25, "predictor_cost_error": 0.0}
    costs |= {"solver_cost": 0.375, "solver_cost_error": 0.0625}
    return arrays(**{name: np.array([value]) for name, value in costs.items()}) | changes


def cost_metadata(**facts: object) -> str:
    """Metadata of a file with all costs, with facts of the corrector's replaced."""
    payload = json.loads(COSTED_METADATA)
    payload["costs"]["corrector"] |= facts
    return json.dumps(payload)


def refusal(folder, data: bytes) -> str:
    """The message with which a file is refused; it names the file and a remedy."""
    path = folder / "suspect.safetensors"
    path.write_bytes(data)
    with pytest.raises(StatisticsFormatError) as error:
        ScoreStatistics.load(path)
    message = str(error.value)
    assert str(path) in message
    assert "deis-sn calibrate" in message or "must be something else" in message
    return message


def test_bytes_are_those_of_the_specification():
    assert tiny_record().to_bytes() == assemble()


def test_the_digest_is_what_the_lines_in_the_specification_compute():
    text = (Path(__file__).parents[2] / "stats" / "README.md").read_text()
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", text, re.S) if "sha256" in one)
    for data in (family_file(), assemble(TRIED_METADATA, TRIED_TENSORS), costed_record().to_bytes()):
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = json.loads(header["__metadata__"]["score_statistics"])
        names = {"facts": facts, "data": data, "json": json, "hashlib": hashlib, "safetensors": safetensors}
        promised = facts.pop("sha256")
        exec(code, names)
        assert names["digest"].hexdigest() == promised


@pytest.mark.parametrize("wrong", ["0" * 64, "", None, 0, []])
def test_a_file_with_a_wrong_digest_or_none_is_refused(tmp_path, wrong):
    facts = json.loads(GOLDEN_METADATA) | {"sha256": wrong}
    assert "sha256" in refusal(tmp_path, assemble(json.dumps(facts))).lower().replace("-", "")
    assert "no `sha256`" in refusal(tmp_path, assemble(UNSEALED))
    upper = GOLDEN_METADATA.replace(digest(UNSEALED, GOLDEN_TENSORS), digest(UNSEALED, GOLDEN_TENSORS).upper())
    assert "is damaged" in refusal(tmp_path, assemble(upper))


def test_a_file_assembled_by_hand_is_read(tmp_path):
    (tmp_path / "by-hand.safetensors").write_bytes(assemble())
    assert ScoreStatistics.load(tmp_path / "by-hand.safetensors") == tiny_record()


def test_a_header_that_begins_like_a_pickle_is_read():
    facts = (UNSEALED.replace("some-model", "m" * length) for length in range(400))
    longer = (assemble(sealed(one, GOLDEN_TENSORS)) for one in facts)
    data = next(data for data in longer if data.startswith(b"\x80\x04"))  # 1152 bytes of header
    curves = layout.decode(data, "here")[0][0].curves
    assert curves["timesteps"].tolist() == [0.0, 1.5]


def test_other_metadata_keys_and_unknown_facts_are_ignored():
    payload = json.loads(GOLDEN_METADATA)
    payload["origin"]["invented_later"] = 1
    data = resealed(payload, arrays(), format="pt")
    assert layout.decode(data, "here")[0][0].origin == tiny_record().origin


@pytest.mark.parametrize("length", range(0, len(assemble()), 7))
def test_a_truncated_file_is_refused(length):
    with pytest.raises(StatisticsFormatError, match=r"not a whole safetensors file|truncated"):
        layout.decode(assemble()[:length], "here")


def test_bytes_after_the_end_are_refused():
    with pytest.raises(StatisticsFormatError, match="damaged"):
        layout.decode(assemble() + b"\0", "here")


class Bomb:
    """An object whose unpickling would be noticed."""

    def __reduce__(self):
        return pytest.fail, ("the file was unpickled",)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_a_renamed_pickle_is_refused_and_not_opened(tmp_path, protocol):
    message = refusal(tmp_path, pickle.dumps(Bomb(), protocol=protocol))
    assert "not" in message
    if protocol >= 2:
        assert "a Python pickle" in message


@pytest.mark.parametrize("zipped", [True, False])
def test_a_renamed_torch_file_is_refused_and_not_opened(tmp_path, zipped):
    buffer = io.BytesIO()
    torch.save({"mean_abs": torch.ones(3), "bomb": Bomb()}, buffer, _use_new_zipfile_serialization=zipped)
    assert ("zip archive" if zipped else "pickle") in refusal(tmp_path, buffer.getvalue())


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x93NUMPY\x01\x00v\x00", "NumPy"),
        (b"", "not a whole"),
        (b"\0" * 64, "not a whole"),
        (struct.pack("<Q", 2) + b"[]", "not a whole"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "not a whole"),
    ],
)
def test_what_is_not_safetensors_is_named(tmp_path, data, kind):
    assert kind in refusal(tmp_path, data)


def test_foreign_safetensors_are_refused(tmp_path):
    assert "metadata" in refusal(tmp_path, save({"weight": np.ones((2, 2), np.float32)}))
    assert "metadata" in refusal(tmp_path, save(arrays(), metadata={"format": "pt"}))
    assert "metadata" in refusal(tmp_path, assemble(metadata=None))


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None])
def test_an_unknown_version_is_refused(tmp_path, version):
    payload = json.loads(GOLDEN_METADATA) | {"format_version": version}
    message = refusal(tmp_path, assemble(json.dumps(payload)))
    assert f"version {version!r}" in message
    assert "Upgrade" in message


@pytest.mark.parametrize(
    "metadata", ["", "[]", "{}", '{"format_version":1}', '{"format_version":1,"origin":[]}', '{"format_version":NaN}']
)
def test_broken_metadata_are_refused(tmp_path, metadata):
    assert "metadata" in refusal(tmp_path, assemble(metadata))


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("base_model", 3),
        ("seed", "0"),
        ("seed", True),
        ("guidance_scale", "high"),
        ("sample_shape", [4, 0]),
        ("sample_shape", "4x8"),
        ("versions", {"torch": 2}),
        ("date", "yesterday"),
        ("source", ["here"]),
    ],
)
def test_a_fact_of_the_wrong_type_is_refused(tmp_path, fact, value):
    payload = json.loads(GOLDEN_METADATA)
    payload["origin"][fact] = value
    assert f"`{fact}`" in refusal(tmp_path, resealed(payload, arrays()))


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: values for name, values in arrays().items() if name not in names}


@pytest.mark.parametrize("name", ["timesteps", "log_snr", "mean_abs"])
def test_a_missing_curve_is_refused(tmp_path, name):
    assert f"lacks the tensors ['{name}']" in refusal(tmp_path, file_with(without(name)))


@pytest.mark.parametrize(
    "names",
    [
        ("mean_abs_error",),
        ("num_samples",),
        ("mean_square_error",),
        ("mean_square", "mean_square_error"),
        ("mean_abs_data", "mean_abs_data_error"),
        ("mean_abs_error", "mean_square", "mean_square_error", "mean_abs_data", "mean_abs_data_error", "num_samples"),
    ],
)
def test_what_is_not_known_is_absent_and_read_as_none(tmp_path, names):
    (tmp_path / "some.safetensors").write_bytes(file_with(without(*names)))
    record = ScoreStatistics.load(tmp_path / "some.safetensors")
    assert record == replace(tiny_record(), **dict.fromkeys(names))
    assert [name for name in layout.DTYPES if getattr(record, name) is None] == list(names)
    assert set(load(record.to_bytes())) == set(layout.DTYPES) - set(names)


def test_an_error_of_nothing_is_refused(tmp_path):
    assert "`mean_square`, which is None" in refusal(tmp_path, file_with(without("mean_square")))
    assert "`mean_abs_data`, which is None" in refusal(tmp_path, file_with(without("mean_abs_data")))


@pytest.mark.parametrize("name", layout.DTYPES)
def test_each_tensor_has_its_dtype_and_shape(tmp_path, name):
    whole = arrays()
    assert name in refusal(tmp_path, file_with(whole | {name: whole[name].astype(np.float32)}))
    other = np.int64 if whole[name].dtype == np.float64 else np.float64
    assert name in refusal(tmp_path, file_with(whole | {name: whole[name].astype(other)}))
    refusal(tmp_path, file_with(whole | {name: np.repeat(whole[name], 2)}))
    refusal(tmp_path, file_with(whole | {name: whole[name][None]}))


def test_unexpected_tensors_are_refused(tmp_path):
    assert "['extra']" in refusal(tmp_path, file_with(arrays(extra=np.ones(2))))


@pytest.mark.parametrize("name", [name for name, dtype in layout.DTYPES.items() if dtype == "F64"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, name, value):
    assert f"`{name}` must be finite" in refusal(tmp_path, file_with(arrays(**{name: np.array([1.0, value])})))


def test_numbers_that_contradict_one_another_are_refused(tmp_path):
    assert "increase" in refusal(tmp_path, file_with(arrays(timesteps=np.array([1.5, 0.0]))))
    assert "at least mean_abs squared" in refusal(tmp_path, file_with(arrays(mean_square=np.array([0.2, 1.0]))))


def test_a_single_time_is_refused(tmp_path):
    assert "two times" in refusal(tmp_path, file_with({key: value[:1] for key, value in arrays().items()}))


def test_a_file_beyond_reason_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "huge.safetensors"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(layout.LARGEST_FILE + 1)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(StatisticsFormatError, match=r"has 16777217 bytes"):
        ScoreStatistics.load(path)


def test_equal_records_are_equal_bytes():
    assert len({gaussian_record().to_bytes() for _ in range(20)}) == 1


# --------------------------------------------------------------------------------------------------------------- costs


def test_bytes_of_costs_are_those_of_the_specification():
    assert costed_tiny_record().to_bytes() == assemble(COSTED_METADATA, COSTED_TENSORS)


def test_a_file_with_costs_assembled_by_hand_is_read(tmp_path):
    (tmp_path / "by-hand.safetensors").write_bytes(assemble(COSTED_METADATA, COSTED_TENSORS))
    record = ScoreStatistics.load(tmp_path / "by-hand.safetensors")
    assert record == costed_tiny_record()
    corrector, predictor = record.cost("corrector"), record.cost("predictor")
    assert (corrector.values.tolist(), corrector.error.tolist()) == ([0.5], [0.125])
    assert (corrector.order, corrector.num_samples, predictor.order, predictor.num_samples) == (2, 12, 4, 8)


@pytest.mark.parametrize("name", ["corrector", "predictor", "solver"])
def test_one_cost_alone_is_read(tmp_path, name):
    record = tiny_record().with_costs(**{name: costed_tiny_record().cost(name)})
    record.save(tmp_path)
    assert ScoreStatistics.load(tmp_path) == record
    assert list(ScoreStatistics.load(tmp_path).costs) == [name]


def test_without_costs_there_is_no_word_of_them():
    assert b"cost" not in tiny_record().to_bytes()
    assert json.loads(GOLDEN_METADATA).keys() == {"format_version", "origin", "sha256"}


def test_equal_costs_are_equal_bytes():
    record = costed_record()
    swapped = gaussian_record().with_costs(predictor=record.cost("predictor"), corrector=record.cost("corrector"))
    assert len({record.to_bytes(), swapped.to_bytes(), costed_record().to_bytes()}) == 1


def test_facts_of_a_cost_that_are_not_known_are_ignored(tmp_path):
    (tmp_path / "later.safetensors").write_bytes(file_with(cost_arrays(), cost_metadata(invented_later=[1])))
    assert ScoreStatistics.load(tmp_path / "later.safetensors") == costed_tiny_record()


@pytest.mark.parametrize("costs", [None, [], 3, "corrector", {"corrector": 2}, {"corrector": None}])
def test_costs_that_are_no_objects_are_refused(tmp_path, costs):
    metadata = json.dumps(json.loads(GOLDEN_METADATA) | {"costs": costs})
    assert "`costs` in its metadata that are not a JSON object" in refusal(tmp_path, file_with(arrays(), metadata))


def test_a_foreign_cost_is_refused(tmp_path):
    payload = json.loads(COSTED_METADATA)
    payload["costs"]["energy"] = payload["costs"]["corrector"]
    tensors = cost_arrays(energy_cost=np.ones(1), energy_cost_error=np.ones(1))
    message = refusal(tmp_path, file_with(tensors, json.dumps(payload)))
    assert "a cost 'energy'" in message and "corrector, predictor, solver" in message


@pytest.mark.parametrize("velocity", ["unit", "vp_sigma", "Sigma", "", None, 1])
def test_costs_of_another_velocity_are_refused(tmp_path, velocity):
    message = refusal(tmp_path, file_with(cost_arrays(), cost_metadata(velocity=velocity)))
    assert f"a corrector cost of velocity {velocity!r}, not 'sigma'" in message


def test_a_cost_without_a_velocity_is_refused(tmp_path):
    metadata = COSTED_METADATA.replace('"order":2,"velocity":"sigma"', '"order":2')
    assert "velocity None" in refusal(tmp_path, file_with(cost_arrays(), metadata))


@pytest.mark.parametrize("name", [name for name, *_ in COSTED_TENSORS if "_cost" in name])
class TestEachCostTensor:
    def test_is_there(self, tmp_path, name):
        tensors = {one: values for one, values in cost_arrays().items() if one != name}
        assert f"lacks the tensors ['{name}']" in refusal(tmp_path, file_with(tensors, COSTED_METADATA))

    def test_belongs_to_a_cost_that_the_metadata_name(self, tmp_path, name):
        payload = json.loads(COSTED_METADATA)
        del payload["costs"][name.split("_")[0]]
        message = refusal(tmp_path, file_with(cost_arrays(), json.dumps(payload)))
        assert f"'{name}'" in message and "does not know" in message
        assert f"'{name}'" in refusal(tmp_path, file_with(arrays(**{name: np.ones(1)})))

    def test_has_one_number_for_each_interval(self, tmp_path, name):
        for wrong in (np.ones(2), np.ones(3), np.ones((1, 1)), np.ones((1, 1, 1))):
            message = refusal(tmp_path, file_with(cost_arrays(**{name: wrong}), COSTED_METADATA))
            assert f"'{name}'" in message and "F64 [1]" in message

    @pytest.mark.parametrize("dtype", [np.float32, np.int64])
    def test_is_float64(self, tmp_path, name, dtype):
        message = refusal(tmp_path, file_with(cost_arrays(**{name: np.ones(1, dtype)}), COSTED_METADATA))
        assert f"'{name}'" in message and "F64 [1]" in message

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-9])
    def test_is_finite_and_not_negative(self, tmp_path, name, value):
        message = refusal(tmp_path, file_with(cost_arrays(**{name: np.array([value])}), COSTED_METADATA))
        assert f"must be finite and not negative, got {value} at position 0" in message


@pytest.mark.parametrize("name", ["order", "num_samples"])
@pytest.mark.parametrize("value", [0, -2, 2.0, "2", True, None, [2]])
def test_an_order_or_count_that_is_none_is_refused(tmp_path, name, value):
    message = refusal(tmp_path, file_with(cost_arrays(), cost_metadata(**{name: value})))
    assert f"`{name}` of a cost must be a whole number above zero, got {value!r}" in message


@pytest.mark.parametrize("length", range(0, len(assemble(COSTED_METADATA, COSTED_TENSORS)), 11))
def test_a_truncated_file_with_costs_is_refused(length):
    with pytest.raises(StatisticsFormatError, match=r"not a whole safetensors file|truncated"):
        layout.decode(assemble(COSTED_METADATA, COSTED_TENSORS)[:length], "here")


# -------------------------------------------------------------------------------------------------------------- trials


def test_bytes_of_trials_are_those_of_the_specification():
    assert tried_tiny_record().to_bytes() == assemble(TRIED_METADATA, TRIED_TENSORS)


def test_a_file_with_trials_assembled_by_hand_is_read(tmp_path):
    (tmp_path / "by-hand.safetensors").write_bytes(assemble(TRIED_METADATA, TRIED_TENSORS))
    record = ScoreStatistics.load(tmp_path / "by-hand.safetensors")
    assert record == tried_tiny_record() and record != tiny_record()
    assert record.trials.best(8, learned=False) == Method("data", 3, 2, None, "power_t", 1.5)
    assert record.trials.error[1].tolist() == [0.625, 0.375, 0.0625]


def test_costs_and_trials_go_together(tmp_path):
    record = costed_tiny_record().with_trials(tried_tiny_record().trials)
    record.save(tmp_path)
    assert ScoreStatistics.load(tmp_path) == record
    assert record.with_trials(None) == costed_tiny_record() and b"trial" not in costed_tiny_record().to_bytes()


def test_equal_recipes_are_equal_bytes_however_their_numbers_were_written():
    one, other = (
        Method("noise", 2, 4, gain, "power_t", exponent, start)
        for gain, exponent, start in ((1, 2, 1), (1.0, np.float64(2.0), 1.0))
    )
    tables = dict.fromkeys(("error", "rms", "grain"), np.ones((1, 1)))
    records = [tiny_record().with_trials(Trials((recipe,), (5,), **tables, num_samples=2)) for recipe in (one, other)]
    assert records[0] == records[1] and records[0].to_bytes() == records[1].to_bytes()


def test_facts_of_trials_that_are_not_known_are_ignored(tmp_path):
    (tmp_path / "later.safetensors").write_bytes(file_with(trial_arrays(), trial_metadata(invented_later=[1])))
    assert ScoreStatistics.load(tmp_path / "later.safetensors") == tried_tiny_record()


@pytest.mark.parametrize("name", ["trial_error", "trial_rms", "trial_grain"])
class TestEachTrialTensor:
    def test_is_there(self, tmp_path, name):
        tensors = {one: values for one, values in trial_arrays().items() if one != name}
        assert f"lacks the tensors ['{name}']" in refusal(tmp_path, file_with(tensors, TRIED_METADATA))

    def test_belongs_to_trials_in_the_metadata(self, tmp_path, name):
        assert f"'{name}'" in refusal(tmp_path, file_with(arrays(**{name: np.ones((2, 3))})))

    def test_has_a_number_for_each_recipe_and_number_of_calls(self, tmp_path, name):
        for wrong in (np.ones((3, 2)), np.ones((2, 2)), np.ones(6), np.ones((2, 3), np.float32)):
            message = refusal(tmp_path, file_with(trial_arrays(**{name: wrong}), TRIED_METADATA))
            assert f"'{name}'" in message and "F64 [2, 3]" in message

    @pytest.mark.parametrize("value", [np.nan, np.inf, -1e-9])
    def test_is_finite_and_not_negative(self, tmp_path, name, value):
        tables = trial_arrays()
        tables[name][1, 1] = value
        message = refusal(tmp_path, file_with(tables, TRIED_METADATA))
        assert f"`{name.removeprefix('trial_')}` of trials must be finite and not negative" in message


def test_errors_that_no_run_leaves_are_refused(tmp_path):
    tables = trial_arrays()
    tables["trial_error"][0, 2] = 0.0
    assert "`error` of trials must be positive" in refusal(tmp_path, file_with(tables, TRIED_METADATA))
    tables = trial_arrays()
    tables["trial_rms"][1, 0] = 0.5  # below the geometric mean of the same numbers
    assert "`rms` of trials must be at least `error`" in refusal(tmp_path, file_with(tables, TRIED_METADATA))


@pytest.mark.parametrize("trials", [[], 3, "trials", {}, {"calls": [4], "recipes": [{}]}])
def test_trials_that_lack_a_fact_are_refused(tmp_path, trials):
    metadata = json.dumps(json.loads(GOLDEN_METADATA) | {"trials": trials})
    assert "`trials` in its metadata without" in refusal(tmp_path, file_with(arrays(), metadata))


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"calls": [4, 4, 8]}, "`calls` of trials must be rising whole numbers"),
        ({"calls": [20, 8, 4]}, "`calls` of trials must be rising whole numbers"),
        ({"calls": [4.0, 8, 20]}, "`calls` of trials must be rising whole numbers"),
        ({"calls": [0, 8, 20]}, "`calls` of trials must be rising whole numbers"),
        ({"calls": [4, 8, 10**400]}, "`calls` of trials must be rising whole numbers"),
        ({"calls": [4, 8, True]}, "`calls` of trials must be rising whole numbers"),
        ({"num_samples": 0}, "`num_samples` of trials must be a whole number above zero"),
        ({"num_samples": True}, "`num_samples` of trials must be a whole number above zero"),
        ({"num_samples": 2.0}, "without `calls`, `num_samples` or `recipes`"),
        ({"recipes": [{}, None]}, "`recipes` in its metadata that are not JSON objects"),
        ({"recipes": [{}, {"order": 2}]}, "A recipe has no order"),
        ({"calls": list(range(1, 1002))}, "more than 1000"),
        ({"recipes": [{}] * 1001}, "more than 1000"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_trials_that_make_no_sense_are_refused(tmp_path, facts, rule):
    assert rule in refusal(tmp_path, file_with(trial_arrays(), trial_metadata(**facts)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("integrand", "score"),
        ("integrand", ["data"]),
        ("solver_order", 5),
        ("solver_order", 2.0),
        ("corrector_order", True),
        ("corrector_gain", -0.1),
        ("corrector_gain", 10**400),
        ("timestep_spacing", "../grid"),
        ("timestep_spacing", "golden"),
        ("timestep_spacing", None),
        ("grid_exponent", 0.0),
        ("grid_exponent", 1000.0),
        ("start_time", 1.5),
        ("final_sigmas_type", "never"),
    ],
)
def test_a_recipe_that_is_none_is_refused(tmp_path, name, value):
    metadata = trial_metadata(recipes=[{}, {name: value}])
    assert f"`{name}` of a recipe cannot be {value!r}"[:60] in refusal(tmp_path, file_with(trial_arrays(), metadata))


@pytest.mark.parametrize(
    "recipe",
    [{"timestep_spacing": "trailing", "grid_exponent": 2.0}, {"timestep_spacing": "leading", "start_time": 0.5}],
)
def test_a_recipe_that_no_run_can_follow_is_refused(tmp_path, recipe):
    metadata = trial_metadata(recipes=[{}, recipe])
    assert "no run can follow" in refusal(tmp_path, file_with(trial_arrays(), metadata))


@pytest.mark.parametrize("length", range(0, len(assemble(TRIED_METADATA, TRIED_TENSORS)), 13))
def test_a_truncated_file_with_trials_is_refused(length):
    with pytest.raises(StatisticsFormatError, match=r"not a whole safetensors file|truncated"):
        layout.decode(assemble(TRIED_METADATA, TRIED_TENSORS)[:length], "here")


# ------------------------------------------------------------------------------------------------ several guidances


def family_record(scales: Sequence[float] = (7.5, 1.0)) -> ScoreStatistics:
    full = tried_tiny_record().with_costs(solver=LocalCost([0.375], [0.0625], 6, 6))
    return ScoreStatistics.together(full.with_origin(guidance_scale=scale) for scale in scales)


def family_file(change: Callable[[dict, dict], None] | None = None) -> bytes:
    """A file of two guidances made of those of each alone, with NumPy and JSON."""
    singles = [member.to_bytes() for member in family_record().members]
    tensors = {name: np.stack([load(one)[name] for one in singles]) for name in load(singles[0])}
    members = [json.loads(one[8:][: int.from_bytes(one[:8], "little")])["__metadata__"] for one in singles]
    parts = [json.loads(one["score_statistics"]) for one in members]
    for one in parts:
        del one["format_version"], one["sha256"]
    payload = {"format_version": 1, "members": parts}
    if change:
        change(tensors, payload)
    return resealed(payload, tensors)


def test_each_guidance_has_what_a_file_of_its_own_has_on_a_leading_axis(tmp_path):
    record = family_record()
    assert record.to_bytes() == family_file()
    assert ScoreStatistics.load(record.save(tmp_path)) == record
    assert record.to_bytes() == family_record((1.0, 7.5)).to_bytes()
    assert len(record.to_bytes()) < 2 * len(record.members[0].to_bytes()) + 100


def one_member(tensors, payload):
    del payload["members"][1]


def no_members(tensors, payload):
    payload["members"] = []


def members_that_are_none(tensors, payload):
    payload["members"] = ["a", "b"]


def three_members(tensors, payload):
    payload["members"].append(payload["members"][0])


def a_tensor_without_the_axis(tensors, payload):
    tensors["mean_abs"] = tensors["mean_abs"][0]


def a_tensor_that_is_missing(tensors, payload):
    del tensors["trial_rms"]


def a_cost_that_one_member_lacks(tensors, payload):
    del payload["members"][1]["costs"]


def a_member_without_origin(tensors, payload):
    del payload["members"][1]["origin"]


def a_guidance_that_comes_twice(tensors, payload):
    payload["members"][1]["origin"]["guidance_scale"] = 1.0


def a_guidance_that_is_not_known(tensors, payload):
    payload["members"][1]["origin"]["guidance_scale"] = None


def other_times(tensors, payload):
    tensors["timesteps"] = tensors["timesteps"] + [[0.0], [0.25]]


def a_number_that_breaks_a_rule(tensors, payload):
    tensors["mean_abs"] = tensors["mean_abs"] * [[1.0], [-1.0]]


@pytest.mark.parametrize(
    "change",
    [
        one_member,
        no_members,
        members_that_are_none,
        three_members,
        a_tensor_without_the_axis,
        a_tensor_that_is_missing,
        a_cost_that_one_member_lacks,
        a_member_without_origin,
        a_guidance_that_comes_twice,
        a_guidance_that_is_not_known,
        other_times,
        a_number_that_breaks_a_rule,
    ],
)
def test_files_of_several_guidances_that_are_none_are_refused(tmp_path, change):
    file = tmp_path / "family.safetensors"
    file.write_bytes(family_file(change))
    refused(StatisticsFormatError, [str(file)], ScoreStatistics.load, file)


@pytest.mark.parametrize("length", range(0, 900, 90))
def test_a_truncated_file_of_several_guidances_is_refused(length):
    with pytest.raises(StatisticsFormatError):
        layout.decode(family_file()[:length], "here")
