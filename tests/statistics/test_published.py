"""The importer: what was published is read as it was measured, and nothing that a file may hold is ever run."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from benchmarks.exact.flows import DDPM_BETAS, SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import (
    DeisSnError,
    StatisticsFormatError,
    StatisticsMismatchError,
    StatisticsNotFoundError,
)
from diffusers_deis_sn.statistics import ScoreStatistics, published
from diffusers_deis_sn.statistics.published import LARGEST_FILE, TRUSTED_TORCH, read_published
from records import published_content, tiny_record, write_published

pytestmark = pytest.mark.skipif(
    tuple(int(part) for part in torch.__version__.split(".")[:2]) < TRUSTED_TORCH,
    reason="older versions of PyTorch open no files made by tests",
)

FILES = {"cifar": "cifar10_Ls_score_abs.pt", "church": "lsunchurch_Ls_score_abs.pt"}
TIMES = (0, 1, 2, 5, 10, 20, 50, 100, 300, 999)
R = {  # read off the published files independently, to three decimals
    "cifar": (0.546, 0.587, 0.608, 0.647, 0.681, 0.714, 0.751, 0.772, 0.792, 0.798),
    "church": (0.580, 0.618, 0.638, 0.675, 0.706, 0.735, 0.764, 0.779, 0.793, 0.798),
}
UNKNOWN = ("mean_abs_error", "mean_square", "mean_square_error", "mean_abs_data", "num_samples")


def refusal(path: Path, error: type[DeisSnError] = StatisticsFormatError) -> str:
    """The message with which a file is refused; it names the file and a remedy."""
    with pytest.raises(error) as raised:
        read_published(path)
    message = str(raised.value)
    assert type(raised.value) is error
    assert str(path) in message
    assert published.REPOSITORY in message
    assert "weights_only" not in message  # PyTorch's own words tell how to run what is in the file
    return message


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(path: Path, contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def repickled(path: Path, old: bytes, new: bytes) -> Path:
    """A published file with some bytes of its pickle replaced."""
    contents = members(write_published(path))
    (name,) = (name for name in contents if name.endswith("data.pkl"))
    assert old in contents[name]
    return rezip(path, contents | {name: contents[name].replace(old, new)})


# ------------------------------------------------------------------------------------------------ the published files


@pytest.mark.parametrize("name", FILES)
def test_r_of_the_published_files(published_tables, name):
    statistics = read_published(published_tables / FILES[name])
    assert statistics.timesteps.tolist() == list(range(1000))
    np.testing.assert_allclose(statistics.mean_abs[list(TIMES)], R[name], atol=5.1e-4)


@pytest.mark.parametrize("name", FILES)
def test_every_number_is_that_of_the_raw_bytes(published_tables, name):
    raw = {key.rsplit("/", 1)[1]: data for key, data in members(published_tables / FILES[name]).items()}
    score_abs, sigma = (np.frombuffer(raw[key], "<f4").astype(np.float64)[::-1] for key in "01")
    assert np.array_equal(read_published(published_tables / FILES[name]).mean_abs, score_abs * sigma)


@pytest.mark.parametrize(("name", "size"), [("cifar", 32), ("church", 64)])
def test_the_published_files_are_recognised(published_tables, tmp_path, name, size):
    copy = shutil.copy(published_tables / FILES[name], tmp_path / "renamed.pt")
    statistics = read_published(copy)
    origin, noise = statistics.origin, vp_schedule()
    assert f"{size}x{size}" in origin.base_model
    assert origin.sample_shape == (3, size, size)
    assert (origin.licence, origin.num_inference_steps, origin.prediction_type) == ("MIT", 1000, "epsilon")
    assert origin.source.startswith(f"{published.REPOSITORY} {FILES[name]}, SHA-256 ")
    assert (origin.noise_schedule, origin.fingerprint) == (str(noise), noise.fingerprint)
    assert all(getattr(statistics, curve) is None for curve in UNKNOWN)
    assert (origin.seed, origin.date, origin.dtype, origin.versions) == (None, None, None, {})
    assert read_published(str(copy), "mine").origin == replace(origin, base_model="mine")


@pytest.mark.parametrize("name", FILES)
def test_the_published_files_are_opened_by_any_pytorch(published_tables, monkeypatch, name):
    statistics = read_published(published_tables / FILES[name])
    monkeypatch.setattr(torch, "__version__", "2.3.0+cpu")
    assert read_published(published_tables / FILES[name]) == statistics


# ------------------------------------------------------------------------------------------- what is in such a file


def test_r_is_read_at_the_time_it_was_measured_at(tmp_path):
    statistics = read_published(write_published(tmp_path / "a.pt"))
    share = 1.0 - np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))
    r = np.sqrt(2.0 / np.pi * share / (0.09 * (1.0 - share) + share))
    np.testing.assert_allclose(statistics.mean_abs, r, rtol=4e-4)  # float32 of sigma at t = 0; the next entry is 40 %
    np.testing.assert_allclose(statistics.log_snr, np.log(1.0 / share - 1.0), atol=1e-9)
    assert statistics.mean_abs[1] / statistics.mean_abs[0] > 1.3


def test_both_orders_give_the_same_record(tmp_path):
    noisiest_first = read_published(write_published(tmp_path / "a.pt"))
    turned = {key: values.flip(0) for key, values in published_content().items()}
    cleanest_first = read_published(write_published(tmp_path / "b.pt", **turned))
    assert cleanest_first.origin.source != noisiest_first.origin.source
    assert cleanest_first.with_origin(source=None) == noisiest_first.with_origin(source=None)


def test_of_other_files_no_more_is_claimed_than_their_form_implies(tmp_path):
    origin = read_published(write_published(tmp_path / "mine.pt")).origin
    assert (origin.base_model, origin.licence, origin.solver, origin.num_inference_steps) == (None, None, None, None)
    assert (origin.prediction_type, origin.fingerprint) == ("epsilon", vp_schedule().fingerprint)
    assert origin.source.startswith("mine.pt, SHA-256 ")
    assert read_published(tmp_path / "mine.pt", "someone/model").origin.base_model == "someone/model"


def test_harmless_variants_give_the_same_record(tmp_path):
    content = published_content()
    wanted = read_published(write_published(tmp_path / "a.pt")).with_origin(source=None)
    variants = (
        {key: values.double() for key, values in content.items()},
        {key: torch.stack([values, values], 1)[:, 0] for key, values in content.items()},  # a view with strides
        OrderedDict(reversed(content.items())),
        content | {"epoch": 7, "note": "an additional key", "more": torch.zeros(3)},
    )
    for variant in variants:
        statistics = read_published(write_published(tmp_path / "b.pt", variant))
        assert statistics.with_origin(source=None) == wanted


def test_tensors_of_a_gpu_are_read_without_one(tmp_path):
    path = repickled(tmp_path / "gpu.pt", b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    wanted = read_published(write_published(tmp_path / "cpu.pt"))
    assert np.array_equal(read_published(path).mean_abs, wanted.mean_abs)


def test_the_record_goes_through_its_file(tmp_path):
    statistics = read_published(write_published(tmp_path / "mine.pt"), "someone/model")
    path = statistics.save(tmp_path)
    assert ScoreStatistics.load(tmp_path) == statistics
    assert ScoreStatistics.load(path).to_bytes() == path.read_bytes()


def test_the_scheduler_of_the_model_takes_it_and_another_does_not(tmp_path):
    statistics = read_published(write_published(tmp_path / "mine.pt"))
    scheduler = DEISSNScheduler.from_config(
        DDPMScheduler(**DDPM_BETAS).config, stats=statistics, clip_normalizer_steps=5
    )
    scheduler.set_timesteps(10)
    assert scheduler.normaliser(0.0) == scheduler.normaliser(5.0) == statistics.mean_abs[5]
    with pytest.raises(StatisticsMismatchError, match="another noise schedule"):
        DEISSNScheduler(**SD_BETAS, stats=statistics)
    with pytest.raises(StatisticsMismatchError, match="prediction type"):
        DEISSNScheduler(**DDPM_BETAS, prediction_type="v_prediction", stats=statistics)


# ----------------------------------------------------------------------------------------------------- wrong contents


@pytest.mark.parametrize("key", ["score_abs", "Ls"])
@pytest.mark.parametrize(
    ("spoil", "fragment"),
    [
        (lambda x: x[:999], "float32 [999]"),
        (lambda x: torch.cat([x, x[-1:]]), "float32 [1001]"),
        (lambda x: x[None], "float32 [1, 1000]"),
        (lambda x: x[0], "float32 []"),
        (lambda x: torch.ones(1).expand(2**40), "float32 [1099511627776]"),
        (lambda x: x.half(), "float16 [1000]"),
        (lambda x: x.to(torch.complex64), "complex64 [1000]"),
        (lambda x: torch.ones(1000, dtype=torch.int64), "int64 [1000]"),
        (lambda x: x.to_sparse(), None),
        (lambda x: x.to("meta"), None),
        (lambda x: x.tolist(), "a list"),
        (lambda x: None, "a NoneType"),
        (lambda x: torch.where(torch.arange(1000) == 7, torch.nan, x), "nan"),
        (lambda x: torch.where(torch.arange(1000) == 7, torch.inf, x), "inf"),
        (lambda x: torch.where(torch.arange(1000) == 7, 0.0, x), "0.0"),
        (lambda x: -x, "-"),
    ],
)
def test_vectors_that_are_no_measurement_are_refused(tmp_path, key, spoil, fragment):
    path = write_published(tmp_path / "bad.pt", **{key: spoil(published_content()[key])})
    message = refusal(path)
    if fragment is not None:
        assert repr(key) in message
        assert fragment in message


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ({}, "lacks 'score_abs'"),
        ({"score_abs": torch.ones(1000)}, "lacks 'Ls'"),
        ({"Ls": torch.ones(1000)}, "lacks 'score_abs'"),
        (torch.ones(1000), "holds a Tensor"),
        ([torch.ones(1000)], "holds a list"),
        (3, "holds a int"),
    ],
)
def test_what_is_not_the_two_vectors_is_refused(tmp_path, content, fragment):
    assert fragment in refusal(write_published(tmp_path / "bad.pt", content))


@pytest.mark.parametrize(
    "betas",
    [
        SD_BETAS,
        {"beta_schedule": "squaredcos_cap_v2"},
        {"beta_end": 0.0201},
        {"beta_start": 1.02e-4},
        {"rescale_betas_zero_snr": True},
    ],
)
def test_another_noise_schedule_is_refused_and_ddpm_s_is_named(tmp_path, betas):
    noise = vp_schedule(**betas)
    sigma = noise.sigma(noise.rho(np.arange(999.0, -1.0, -1.0)))
    message = refusal(write_published(tmp_path / "bad.pt", Ls=torch.from_numpy(sigma)), StatisticsMismatchError)
    for fragment in ("linear betas 0.0001 to 0.02", vp_schedule().fingerprint, "deis-sn calibrate"):
        assert fragment in message


def test_a_vector_out_of_place_is_refused(tmp_path):
    sigma = published_content()["Ls"]
    for wrong in (sigma.roll(1), sigma.flip(0).roll(-1), sigma**2, sigma[torch.randperm(1000)]):
        refusal(write_published(tmp_path / "bad.pt", Ls=wrong), StatisticsMismatchError)


def test_sigma_of_any_float32_evaluation_is_taken(tmp_path):
    betas = torch.linspace(1e-4, 0.02, 1000)
    alphas = (1.0 - betas).cumprod(0)
    logs = torch.log1p(-betas).cumsum(0)
    for share in (1.0 - alphas, 1.0 - alphas.sqrt() ** 2, 1.0 - logs.exp(), -torch.expm1(logs)):
        read_published(write_published(tmp_path / "good.pt", Ls=share.sqrt().flip(0)))
    for worst in (0.9997, 1.0003):  # two roundings by 2^-25 in each factor, beside a noise share of 1e-4 and more
        read_published(write_published(tmp_path / "good.pt", Ls=worst * published_content()["Ls"]))


# -------------------------------------------------------------------------------------------------- hostile and broken


class Command:
    """An object whose unpickling runs a command, which leaves a file behind."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


def hostile_contents(trace: Path) -> list[object]:
    content = published_content()
    return [
        Command(trace),
        [Command(trace)],
        content | {"Ls": Command(trace)},
        content | {"more": Command(trace)},
        OrderedDict(content, more=Command(trace)),
    ]


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("form", ["torch", "torch, before 1.6", "pickle"])
def test_no_command_in_a_file_is_ever_run(tmp_path, case, form):
    trace, path = tmp_path / "trace", tmp_path / "hostile.pt"
    content = hostile_contents(trace)[case]
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    message = refusal(path)
    assert not trace.exists()
    if form == "torch":
        assert f"{os.system.__module__}.system" in message
    # The attack is a real one: opened without care, the file does run the command.
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trace.exists()


def test_a_command_is_not_run_by_an_old_pytorch_either(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    message = refusal(write_published(tmp_path / "harmless.pt"))
    assert "2.9.1" in message
    assert "PyTorch 2.10 or later" in message
    monkeypatch.setattr(torch, "__version__", "2.10.0a0+git")
    with pytest.raises(pytest.fail.Exception):
        read_published(tmp_path / "harmless.pt")


class Anything:
    """A class of somebody's own."""


def a_function() -> None:
    pass


@pytest.mark.parametrize(
    "thing", [Anything(), Anything, a_function, torch.nn.Linear(2, 2), np.ones(1000), np.float64(1.0), bytearray(3)]
)
def test_other_python_objects_are_refused_by_name(tmp_path, thing):
    message = refusal(write_published(tmp_path / "object.pt", Ls=thing))
    assert "asks for" in message
    assert "nothing but a dict of tensors" in message


def test_torchscript_is_refused_unopened(tmp_path, monkeypatch):
    contents = members(write_published(tmp_path / "good.pt"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    refusal(rezip(tmp_path / "script.pt", contents | {"archive/constants.pkl": b"\x80\x02)."}))


def test_a_storage_that_claims_more_than_it_holds_is_refused(tmp_path):
    contents = members(write_published(tmp_path / "forged.pt"))
    (name,) = (name for name in contents if name.endswith("data/0"))
    refusal(rezip(tmp_path / "forged.pt", contents | {name: b"\0" * 64}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 64,
        b"<!DOCTYPE html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"PK\x03\x04",
        b"PK\x03\x04" + b"\0" * 100,
        pickle.dumps({}),
        tiny_record().to_bytes(),
    ],
)
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "other.pt").write_bytes(data)
    refusal(tmp_path / "other.pt")


def test_an_archive_behind_a_pickle_is_refused_unopened(tmp_path, monkeypatch):
    torch.save(Command(tmp_path / "trace"), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    both = (tmp_path / "old.pt").read_bytes() + write_published(tmp_path / "good.pt").read_bytes()
    (tmp_path / "both.pt").write_bytes(both)
    assert zipfile.is_zipfile(tmp_path / "both.pt")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    refusal(tmp_path / "both.pt")


def test_other_archives_are_refused(tmp_path):
    np.savez(tmp_path / "arrays.npz", Ls=np.ones(1000))
    assert "not one that torch.save wrote" in refusal(tmp_path / "arrays.npz")
    contents = members(write_published(tmp_path / "good.pt"))
    for name in contents:
        if name.endswith(("data.pkl", "data/0", "data/1")):
            rest = {key: data for key, data in contents.items() if key != name}
            refusal(rezip(tmp_path / "bad.pt", rest))
            refusal(rezip(tmp_path / "bad.pt", rest | {name: b"\x80\x02garbage"}))
            refusal(rezip(tmp_path / "bad.pt", rest | {name: b""}))


def test_truncated_and_damaged_files_are_refused(tmp_path):
    data, path = write_published(tmp_path / "good.pt").read_bytes(), tmp_path / "bad.pt"
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        refusal(path)
    start = data.index(b"_rebuild_tensor_v2")
    path.write_bytes(data[:start] + b"X" + data[start + 1 :])
    refusal(path)


def test_a_number_that_its_crc_does_not_know_is_refused_unopened(tmp_path, monkeypatch):
    """PyTorch itself would take it."""
    path = write_published(tmp_path / "bad.pt")
    data = bytearray(path.read_bytes())
    place = bytes(data).index(published_content()["score_abs"].numpy().tobytes()) + 4 * 300 + 3
    data[place] ^= 0b1000  # an exponent
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)["score_abs"][300] != published_content()["score_abs"][300]
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    message = refusal(path)
    assert "CRC-32" in message and "Download it again" in message


def test_a_number_that_jumps_is_refused_where_the_archive_is_whole(tmp_path):
    score_abs = published_content()["score_abs"].clone()
    score_abs[300] *= 2.0**16
    assert "`mean_abs` must not jump" in refusal(write_published(tmp_path / "bad.pt", score_abs=score_abs))


def test_two_members_of_one_name_are_refused(tmp_path):
    path = write_published(tmp_path / "bad.pt")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[-1], b"")
    assert "two members of one name" in refusal(path)


def test_a_file_beyond_reason_is_refused(tmp_path):
    path = tmp_path / "huge.pt"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(2**40)  # of which nothing is on the disk
    assert f"more than {LARGEST_FILE} bytes" in refusal(path)


def test_an_archive_that_unpacks_beyond_reason_is_refused_unopened(tmp_path, monkeypatch):
    contents = members(write_published(tmp_path / "good.pt"))
    bomb = rezip(tmp_path / "bomb.pt", contents | {"archive/data/9": bytes(2**26)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < LARGEST_FILE
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    assert "unpacks to" in refusal(bomb)


def test_memory_is_not_asked_for_by_a_pickle(tmp_path):
    buffer = io.BytesIO()
    torch.save(bytearray(8), buffer)
    (tmp_path / "greedy.pt").write_bytes(buffer.getvalue())
    assert "bytearray" in refusal(tmp_path / "greedy.pt")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "nowhere.pt", StatisticsNotFoundError)
    assert "it is a folder" in refusal(tmp_path, StatisticsNotFoundError)


def test_nothing_is_loaded_but_by_the_restricted_reader(tmp_path, monkeypatch):
    options = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **o: (options.append(o), load(*a, **o))[1])
    read_published(write_published(tmp_path / "good.pt"))
    assert options == [{"map_location": "cpu", "weights_only": True}]
