"""A Hub that fails, stalls or lies: a typed error with the remedy, or the copy that is cached."""

from __future__ import annotations

import logging

import pytest

from diffusers_deis_sn.errors import (
    StatisticsFormatError,
    StatisticsUnreachableError,
)
from diffusers_deis_sn.statistics import ScoreStatistics
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
