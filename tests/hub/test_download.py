"""Files from the Hub: how names are read, and what the cache saves; every request is counted."""

from __future__ import annotations

import pytest

from diffusers_deis_sn.errors import StatisticsNotFoundError, StatisticsUnreachableError
from diffusers_deis_sn.hub.download import HubName
from diffusers_deis_sn.hub.names import PLACES
from diffusers_deis_sn.hub.source import find
from diffusers_deis_sn.statistics import ScoreStatistics
from records import gaussian_record, tiny_record
from refusals import refused

FILE = "score_statistics.safetensors"
RECORD, OTHER = tiny_record(), tiny_record().with_origin(seed=1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("user/repo", HubName("user/repo")),
        ("user/repo@v1.0", HubName("user/repo", "", "v1.0")),
        ("user/repo@refs/pr/3", HubName("user/repo", "", "refs/pr/3")),
        ("user/repo/a/b-c@main", HubName("user/repo", "a/b-c", "main")),
    ],
)
def test_a_name_is_read_and_written(text, name):
    assert HubName.parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    ["repo", "../user/repo", "user/repo/../x", "user/repo@", "user//repo", "/user/repo", "user/re po", "a/b@c@d"],
)
def test_what_is_no_name_is_not_read(text):
    assert HubName.parse(text) is None


# ------------------------------------------------------------------------------------------------------------ the cache


@pytest.mark.parametrize("place", PLACES)
def test_a_cached_commit_costs_no_request(hub, place):
    repo = hub.add_repo("user/repo", {place: RECORD.to_bytes()})
    for name in ("user/repo", f"user/repo@{repo.head}"):
        ScoreStatistics.load(name)
    hub.requests.clear()
    assert ScoreStatistics.load(f"user/repo@{repo.head}") == RECORD
    assert hub.requests == []


@pytest.mark.parametrize("place", PLACES)
def test_a_cached_branch_costs_the_question_whether_it_moved(hub, place):
    repo = hub.add_repo("user/repo", {place: RECORD.to_bytes()})
    ScoreStatistics.load("user/repo")
    hub.requests.clear()
    assert ScoreStatistics.load("user/repo") == RECORD
    assert hub.requests == [f"HEAD /user/repo/resolve/main/{place}"]
    repo.commit({place: OTHER.to_bytes()})
    assert ScoreStatistics.load("user/repo") == OTHER


def test_a_branch_that_moved_is_searched_anew_from_the_first_place(hub):
    repo = hub.add_repo("user/repo", {PLACES[1]: RECORD.to_bytes()})
    assert ScoreStatistics.load("user/repo") == RECORD
    repo.commit({PLACES[0]: OTHER.to_bytes()})
    assert ScoreStatistics.load("user/repo") == OTHER
    repo.commit({PLACES[2]: RECORD.to_bytes()}, deleted=[PLACES[0], PLACES[1]])
    assert ScoreStatistics.load("user/repo") == RECORD


def test_all_places_are_searched_in_one_commit(hub):
    """A commit that moves the file from the second place to the first, between the two questions."""
    repo = hub.add_repo("user/repo", {PLACES[1]: RECORD.to_bytes()})
    old = repo.head
    repo.commit({PLACES[0]: OTHER.to_bytes()}, deleted=[PLACES[1]], revision="later")
    asked = hub.fault_for

    def move_after_the_first_question(request):
        if request.endswith(f"{old}/{PLACES[1]}"):
            repo.refs["main"] = repo.refs["later"]
        return asked(request)

    hub.fault_for = move_after_the_first_question
    assert ScoreStatistics.load("user/repo") == RECORD


def test_absence_is_remembered_for_a_commit(hub):
    repo = hub.add_repo("user/repo", {"README.md": b"#"})
    for _ in range(2):
        refused(
            StatisticsNotFoundError,
            ["file or folder", "user/repo", *PLACES, "deis-sn"],
            ScoreStatistics.load,
            f"user/repo@{repo.head}",
        )
    assert len(hub.requests) == len(PLACES)


def test_another_cache_folder(hub, tmp_path):
    hub.add_repo("user/repo", {FILE: RECORD.to_bytes()})
    found = find("user/repo", cache_dir=tmp_path / "mine")
    assert found.path.is_relative_to(tmp_path / "mine")
    hub.stop()
    assert ScoreStatistics.load("user/repo", cache_dir=str(tmp_path / "mine")) == RECORD


def test_force_download_asks_and_fetches(hub):
    repo = hub.add_repo("user/repo", {FILE: RECORD.to_bytes()})
    pinned = f"user/repo@{repo.head}"
    ScoreStatistics.load(pinned)
    hub.requests.clear()
    assert ScoreStatistics.load(pinned, force_download=True) == RECORD
    assert [request.split()[0] for request in hub.requests] == ["HEAD", "GET"]
    words = ["force_download", "local_files_only", "Leave one of them out"]
    options = {"force_download": True, "local_files_only": True}
    refused(StatisticsUnreachableError, words, ScoreStatistics.load, pinned, **options)


# -------------------------------------------------------------------------------------------------------------- offline


def test_offline_the_cache_serves_without_requests(hub, offline):
    repo = hub.add_repo("user/repo", {PLACES[2]: RECORD.to_bytes()})
    ScoreStatistics.load("user/repo")
    hub.requests.clear()
    for name in ("user/repo", "user/repo@main", f"user/repo@{repo.head}"):
        assert ScoreStatistics.load(name, local_files_only=True) == RECORD
    offline()
    assert ScoreStatistics.load("user/repo") == RECORD
    assert hub.requests == []


def test_offline_a_later_place_serves_where_nobody_asked_for_the_earlier(hub):
    """As when Diffusers downloaded the pipeline."""
    from huggingface_hub import hf_hub_download

    hub.add_repo("user/repo", {PLACES[2]: RECORD.to_bytes()})
    hf_hub_download("user/repo", PLACES[2])
    assert ScoreStatistics.load("user/repo", local_files_only=True) == RECORD


def test_offline_what_is_not_cached_is_said_to_be_unreachable(hub, offline):
    hub.add_repo("user/repo", {FILE: gaussian_record().to_bytes()})
    words = ["user/repo", "HF_HUB_OFFLINE", "local_files_only", "local folder"]
    refused(StatisticsUnreachableError, words, ScoreStatistics.load, "user/repo", local_files_only=True)
    offline()
    refused(StatisticsUnreachableError, words, ScoreStatistics.load, "user/repo")
    assert hub.requests == []
