"""`stats="auto"`: from a model's name to its statistics, or to none with one warning, and never to a wrong table."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import pytest

from diffusers_deis_sn.errors import StatisticsError, StatisticsFormatError, StatisticsNotFoundError
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.index import BUNDLED, look_up, model_name, read_index
from records import tiny_record
from refusals import refused

ROOT = Path(__file__).resolve().parents[2]
FILE = "score_statistics.safetensors"
MODEL = "someone/some-model"  # what tiny_record says of itself
RECORD, OTHER = tiny_record(), tiny_record().with_origin(base_model="someone/else")
CONTENT = RECORD.to_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def index(**entry: object) -> bytes:
    return json.dumps({"format_version": 1, "models": {MODEL: entry}}).encode()


@pytest.fixture
def warnings(caplog):
    """What this package warns of."""
    caplog.set_level(logging.WARNING, "diffusers_deis_sn")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "diffusers_deis_sn"]


@pytest.fixture
def publish(hub):
    """Puts statistics and an index on the Hub; returns the index' name."""

    def both(content: bytes = CONTENT, **entry: object) -> str:
        hub.add_repo("user/stats", {FILE: content})
        hub.add_repo("user/index", {"index.json": index(**{"stats": "user/stats", **entry})})
        return "user/index"

    return both


# -------------------------------------------------------------------------------------------------------- what is found


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_model_is_looked_up_on_the_hub(hub, publish, warnings, sha256):
    found = look_up(MODEL, index=publish(sha256=sha256))
    assert found.statistics == RECORD
    assert found.source == f"user/stats@{hub.repos['user/stats'].head}"
    assert ScoreStatistics.load(found.source) == RECORD
    assert warnings() == []


def test_the_environment_names_an_index_and_an_argument_wins(hub, publish, monkeypatch, tmp_path, warnings):
    monkeypatch.setenv("DEIS_SN_INDEX", publish())
    assert look_up(MODEL).statistics == RECORD
    OTHER.save(tmp_path / "else")
    (tmp_path / "index.json").write_bytes(index(stats="./else", base_model="someone/else"))
    assert look_up(MODEL, index=tmp_path).statistics == OTHER
    monkeypatch.setenv("DEIS_SN_INDEX", "")
    assert look_up(MODEL) is None


def test_an_index_at_a_revision_and_statistics_at_another(hub, publish):
    publish()
    stats, repo = hub.repos["user/stats"], hub.repos["user/index"]
    first = stats.head
    stats.commit({FILE: RECORD.with_origin(seed=1).to_bytes()})
    pinned = repo.commit({"index.json": index(stats=f"user/stats@{first}")})
    repo.commit({"index.json": index(stats="user/none")})
    assert look_up(MODEL, index=f"user/index@{pinned}").statistics == RECORD
    hub.requests.clear()
    assert look_up(MODEL, index=f"user/index@{pinned}").statistics == RECORD
    assert hub.requests == [], "both are pinned and cached"


@pytest.mark.parametrize("place", ["file", "folder"])
def test_statistics_beside_a_local_index(tmp_path, place):
    path = RECORD.save(tmp_path / "models" / "mine")
    (tmp_path / "index.json").write_bytes(index(stats="./models/mine", sha256=SHA256))
    found = look_up(MODEL, index=tmp_path / "index.json" if place == "file" else str(tmp_path))
    assert (found.statistics, found.source) == (RECORD, str(path))


def test_statistics_beside_an_index_on_the_hub_are_of_its_commit(hub):
    files = {"sd/index.json": index(stats="./mine"), f"sd/mine/{FILE}": CONTENT}
    repo = hub.add_repo("user/index", files)
    found = look_up(MODEL, index="user/index/sd")
    assert (found.statistics, found.source) == (RECORD, f"user/index/sd/mine@{repo.head}")


def test_another_name_of_the_same_model(hub, publish):
    hub.add_repo("user/stats", {FILE: CONTENT})
    entries = {"mirror/some-model": {"stats": "user/stats", "base_model": MODEL}}
    hub.add_repo("user/index", {"index.json": json.dumps({"format_version": 1, "models": entries}).encode()})
    assert look_up("mirror/some-model", index="user/index").statistics == RECORD


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("user/repo", "user/repo"),
        ("/home/me/.cache/hub/models--user--some--repo/snapshots/0123/scheduler", "user/some--repo"),
        ("/home/me/models/my-model", "my-model"),
        (".", Path.cwd().name),
        ("", None),
        (None, None),
    ],
)
def test_a_model_is_called_as_records_call_it(text, name):
    assert model_name(text) == name


# ---------------------------------------------------------------------------------------------------- what is not found


def nothing(warnings, model: str | None, *words: str, **options: object) -> None:
    """Assert that nothing is found, with one warning that ends in the remedy."""
    assert look_up(model, **options) is None
    assert len(warnings()) == 1
    for word in (*words, "without statistics", "`stats=`", "deis-sn calibrate"):
        assert word in warnings()[0]


def test_a_model_that_no_index_names(warnings, monkeypatch):
    monkeypatch.delenv("DEIS_SN_INDEX", raising=False)
    nothing(warnings, "someone/unmeasured", "'someone/unmeasured'", "index of this package")


def test_a_model_without_a_name(warnings, tmp_path):
    nothing(warnings, None, "not known", index=None)


def test_statistics_of_another_model_are_not_used(hub, publish, warnings):
    nothing(warnings, MODEL, "'someone/else'", repr(MODEL), "user/stats@", index=publish(OTHER.to_bytes()))


def test_statistics_of_a_model_without_a_name_are_not_used(hub, publish, warnings):
    content = RECORD.with_origin(base_model=None).to_bytes()
    nothing(warnings, MODEL, "an unnamed model", index=publish(content))


def test_statistics_with_another_hash_are_not_used(hub, publish, warnings):
    changed = RECORD.with_origin(seed=9).to_bytes()
    nothing(warnings, MODEL, SHA256, "replaced, or damaged", index=publish(changed, sha256=SHA256))


def test_what_is_no_statistics_is_not_used(hub, publish, warnings):
    nothing(warnings, MODEL, "a Python pickle", index=publish(b"\x80\x04K\x01."))


@pytest.mark.parametrize(
    "stats",
    ["/etc", "./../secret", ".//etc", "file:///etc", "../up", "./a/../../b", "", 3, None, "C:\\stats", "./", "local"],
)
@pytest.mark.parametrize("place", ["hub", "local"])
def test_an_entry_leads_to_the_hub_or_below_the_index_and_nowhere_else(
    hub, tmp_path, monkeypatch, warnings, stats, place
):
    monkeypatch.chdir(tmp_path)
    RECORD.save("local")
    RECORD.save("secret")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "index.json").write_bytes(index(stats=stats))
    hub.add_repo("user/index", {"index.json": index(stats=stats)})
    nothing(warnings, MODEL, repr(MODEL), index="user/index" if place == "hub" else "here")


def test_a_local_folder_does_not_pass_for_a_repository(hub, tmp_path, monkeypatch, warnings):
    monkeypatch.chdir(tmp_path)
    RECORD.save("user/stats")
    hub.add_repo("user/index", {"index.json": index(stats="user/stats")})
    nothing(warnings, MODEL, "no Hub repository 'user/stats'", index="user/index")


@pytest.mark.parametrize("entry", [3, None, [], {}, {"stats": "user/stats", "sha256": "abc"}])
def test_a_damaged_entry(tmp_path, warnings, entry):
    text = json.dumps({"format_version": 1, "models": {MODEL: entry}})
    (tmp_path / "index.json").write_text(text)
    nothing(warnings, MODEL, "damaged", index=tmp_path)


def test_statistics_that_cannot_be_had(hub, publish, warnings):
    name = publish()
    hub.fault("HEAD /user/stats", status=500)
    nothing(warnings, MODEL, "status 500", index=name)


# --------------------------------------------------------------------------------------- where the index is not at hand


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 403}, {"status": 429}, {"drop": True}])
def test_an_index_that_cannot_be_had_is_replaced_by_the_bundled_one(hub, publish, warnings, fault):
    name = publish()
    hub.fault("/user/index", **fault)
    nothing(warnings, MODEL, "user/index", "that of this package", index=name)


def test_offline_the_cached_index_serves(hub, publish, warnings, offline):
    name = publish()
    assert look_up(MODEL, index=name).statistics == RECORD
    offline()
    hub.requests.clear()
    assert look_up(MODEL, index=name).statistics == RECORD
    assert (hub.requests, warnings()) == ([], [])


def test_offline_without_a_cached_index(hub, publish, warnings):
    nothing(warnings, MODEL, "HF_HUB_OFFLINE", index=publish(), local_files_only=True)
    assert hub.requests == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"format_version": 2, "models": {}}', b'{"format_version": 1}', b"\xff", b"[" * 9999],
)
def test_a_file_that_is_no_index(tmp_path, warnings, content):
    path = tmp_path / "index.json"
    path.write_bytes(content)
    refused(StatisticsFormatError, [str(path)], read_index, path)
    nothing(warnings, MODEL, str(path), index=path)


def test_a_place_without_index(hub, tmp_path, warnings):
    refused(StatisticsNotFoundError, [str(tmp_path), "DEIS_SN_INDEX"], read_index, tmp_path)
    hub.add_repo("user/index", {"README.md": b""})
    refused(StatisticsNotFoundError, ["'user/index", "index.json"], read_index, "user/index")
    nothing(warnings, MODEL, "no-such-place.json", index="no-such-place.json")


def test_options_and_places_of_the_wrong_kind(tmp_path):
    refused(StatisticsError, ["'revision'", "local_files_only"], look_up, MODEL, index="user/index", revision="v1")
    refused(StatisticsError, ["got int"], look_up, MODEL, index=3)


# ------------------------------------------------------------------------------------------------------ what is shipped


def test_the_bundled_index_is_sound_and_names_no_model_yet():
    bundled = read_index()
    assert bundled.name == BUNDLED
    assert bundled.models == {}


@pytest.mark.shipped
def test_every_entry_of_the_published_index_leads_to_its_statistics(warnings):
    published = read_index(ROOT / "stats")
    assert "tiny-sd-digits" in published.models
    for model in published.models:
        assert look_up(model, index=ROOT / "stats").statistics.origin.base_model == model
    assert look_up(str(ROOT / "examples/models/tiny-sd-digits"), index=ROOT / "stats") is not None
    assert warnings() == []
