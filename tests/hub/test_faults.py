"""A Hub that refuses, fails, stalls or lies: a typed error with the remedy, or the copy that is cached."""

from __future__ import annotations

import logging
import traceback

import pytest

from diffusers_deis_sn.errors import (
    StatisticsAccessError,
    StatisticsFormatError,
    StatisticsNotFoundError,
    StatisticsUnreachableError,
)
from diffusers_deis_sn.statistics import ScoreStatistics
from fake_hub import TOKEN
from records import gaussian_record, tiny_record
from refusals import refused

FILE = "score_statistics.safetensors"
RECORD, NEWER = gaussian_record(), gaussian_record(std=0.5)
load = ScoreStatistics.load


@pytest.fixture
def repo(hub):
    return hub.add_repo("user/repo", {FILE: RECORD.to_bytes()})


@pytest.fixture
def cached(hub, repo):
    """The same, once it is in the cache; the branch has moved since."""
    assert load("user/repo") == RECORD
    old = repo.head
    repo.commit({FILE: NEWER.to_bytes()})
    return old


# ------------------------------------------------------------------------------------------------------- what is absent


def test_a_repository_that_is_not_there(hub, token):
    refused(StatisticsNotFoundError, ["'user/none'", "Check the name", "hf auth login"], load, "user/none")


def test_a_private_repository_looks_as_if_it_were_not_there(hub, monkeypatch):
    hub.add_repo("user/private", {FILE: RECORD.to_bytes()}, private=True)
    refused(StatisticsNotFoundError, ["'user/private'", "private", "hf auth login"], load, "user/private")
    assert load("user/private", token=TOKEN) == RECORD
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert load("user/private", force_download=True) == RECORD


def test_a_revision_that_is_not_there(hub, repo):
    refused(StatisticsNotFoundError, ["'user/repo'", "'v9'", f"{hub.endpoint}/user/repo/commits"], load, "user/repo@v9")


def test_a_repository_without_statistics(hub):
    hub.add_repo("user/other", {"README.md": b""})
    refused(StatisticsNotFoundError, ["'user/other'", FILE, f"scheduler/score_statistics/{FILE}"], load, "user/other")


def test_a_name_that_the_hub_does_not_allow(hub):
    refused(StatisticsNotFoundError, ["'user/a--b'", "user/repo"], load, "user/a--b")


# ------------------------------------------------------------------------------------------------------ what is refused


def test_a_gated_repository_names_the_page_with_its_terms(hub):
    hub.add_repo("user/gated", {FILE: RECORD.to_bytes()}, gated=True)
    words = ["'user/gated'", "gated", f"{hub.endpoint}/user/gated", "hf auth login", "token"]
    refused(StatisticsAccessError, words, load, "user/gated")
    assert load("user/gated", token=TOKEN) == RECORD


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_a_code(hub, repo, status):
    hub.fault("HEAD /user/repo", status=status, message="Invalid credentials in Authorization header")
    refused(StatisticsAccessError, [f"status {status}", "hf auth login", "`token`"], load, "user/repo", token=TOKEN)


@pytest.mark.parametrize("token", ["hf_wrongwrongwrong", "no-usual-form"])
def test_no_token_is_ever_told(hub, repo, token):
    """Not even where the server, or the client's own check of headers, repeats it."""
    for given, fault in ((token, {"status": 401, "message": f"Bearer {token}"}), (f"{token}\n", {"status": 403})):
        hub.faults.clear()
        hub.fault("HEAD /user/repo", **fault)
        with pytest.raises(StatisticsNotFoundError) as raised:
            load("user/repo", token=given)
        assert token not in "".join(traceback.format_exception(raised.value.__cause__ or raised.value))
        assert token not in str(raised.value)


def test_nor_is_the_token_of_the_environment(hub, repo, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "no-usual-form")
    hub.fault("HEAD /user/repo", status=418, message="what do you want with no-usual-form")
    with pytest.raises(StatisticsUnreachableError) as raised:
        load("user/repo")
    assert "no-usual-form" not in "".join(traceback.format_exception(raised.value.__cause__ or raised.value))


# ----------------------------------------------------------------------------------------------------------- what fails


def test_too_many_requests(hub, repo):
    hub.fault("HEAD /user/repo", status=429)
    refused(StatisticsUnreachableError, ["429", "Wait some minutes", "hf auth login"], load, "user/repo")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failing_server(hub, repo, status):
    hub.fault("HEAD /user/repo", status=status)
    refused(StatisticsUnreachableError, [f"status {status}", "Try again later"], load, "user/repo")


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_recovers_is_enough(hub, repo, status):
    hub.fault("HEAD /user/repo", times=3, status=status)
    assert load("user/repo") == RECORD


def test_no_server(hub, repo):
    hub.stop()
    refused(StatisticsUnreachableError, ["'user/repo'", "connection", "HF_ENDPOINT"], load, "user/repo")


def test_a_server_that_hangs_up(hub, repo):
    hub.fault("HEAD /user/repo", drop=True)
    refused(StatisticsUnreachableError, ["'user/repo'", "Try again later"], load, "user/repo")


def test_a_server_that_is_no_hub(hub, repo):
    hub.fault("HEAD /user/repo", status=302, headers={"Location": "/login"})
    hub.fault("HEAD /login", status=200)
    refused(StatisticsUnreachableError, ["'user/repo'", "HF_ENDPOINT"], load, "user/repo")


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 429}, {"status": 401, "message": "Invalid"}, {"drop": True}, {"delay": 1.0}]
)
def test_a_cached_copy_serves_while_the_hub_does_not(hub, repo, cached, monkeypatch, fault):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    hub.fault("HEAD /user/repo", **fault)
    assert load("user/repo") == load(f"user/repo@{cached}") == RECORD


def test_a_cached_copy_serves_without_a_server(hub, repo, cached):
    hub.stop()
    assert load("user/repo") == load(f"user/repo@{cached}") == RECORD


def test_a_slow_server_is_waited_for(hub, repo, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    hub.fault("HEAD /user/repo", times=2, delay=0.3)
    assert load("user/repo") == RECORD


# --------------------------------------------------------------------------------------------------- what arrives wrong

HALF = len(RECORD.to_bytes()) // 2
BROKEN = {
    "reset in mid-file": {"cut": HALF},
    "closed in mid-file": {"cut": HALF, "gently": True},
    "hung up": {"drop": True},
    "truncated": {"content": lambda data: data[: len(data) // 4]},
    "of the right size, but not what was announced": {"content": lambda data: bytes(len(data))},
    "an error": {"status": 500},
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_download_leaves_nothing_that_is_used(hub, repo, fault):
    failing = hub.fault("GET /user/repo", **fault)
    refused(StatisticsUnreachableError, [FILE, "user/repo"], load, "user/repo")
    failing.times = 0
    assert load("user/repo") == RECORD, "the next one is whole"


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_download_leaves_the_cached_copy_which_serves_with_a_warning(hub, repo, cached, caplog, fault):
    hub.fault("GET /user/repo", **fault)
    with caplog.at_level(logging.WARNING, "diffusers_deis_sn"):
        assert load("user/repo") == RECORD
    ours = [record.getMessage() for record in caplog.records if record.name == "diffusers_deis_sn"]
    assert len(ours) == 1
    assert cached in ours[0]
    assert load(f"user/repo@{cached}", local_files_only=True) == RECORD


@pytest.mark.parametrize("fault", [{"cut": HALF}, {"cut": HALF, "gently": True}, {"drop": True}])
def test_a_connection_that_breaks_once_is_taken_up_again(hub, repo, fault):
    hub.fault("GET /user/repo", times=1, **fault)
    assert load("user/repo") == RECORD


def test_a_copy_damaged_on_disk_is_fetched_anew(hub, repo):
    """Its name is its SHA-256; the client looks at sizes only, and not at those of what it has."""
    from diffusers_deis_sn.hub.source import find

    path = find("user/repo").path.resolve()
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(StatisticsUnreachableError, match="force_download"):
        load("user/repo", local_files_only=True)
    assert load("user/repo") == RECORD


def test_a_file_that_is_no_statistics_is_not_used(hub):
    hub.add_repo("user/repo", {FILE: tiny_record().to_bytes()[:-8]})
    with pytest.raises(StatisticsFormatError, match="truncated or damaged"):
        load("user/repo")


def test_a_full_disk_is_no_matter_of_the_hub(hub, repo, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        load("user/repo", cache_dir=tmp_path / "file" / "cache")
