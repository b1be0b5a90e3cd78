"""Statistics at hand in this process: those in use, those used last, and no name of a place on this machine."""

from __future__ import annotations

import gc

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.schedulers._shelf import IN_MEMORY, Shelf
from records import costed_record, tiny_record

STATS = costed_record(DEISSNScheduler(**SD_BETAS).noise)


def test_what_is_in_use_is_kept_and_of_the_rest_the_last_few():
    shelf = Shelf(size=2)
    mine = tiny_record().with_origin(seed=-1)
    names = [shelf.put(mine), *(shelf.put(tiny_record().with_origin(seed=seed)) for seed in range(3))]
    gc.collect()
    assert shelf.get(names[0]) is mine and shelf.get(names[1]) is None
    assert [shelf.get(name).origin.seed for name in names[2:]] == [1, 2]


def test_the_name_of_what_is_in_memory_is_that_of_its_content():
    shelf = Shelf()
    one, again, other = (shelf.put(record) for record in (tiny_record(), tiny_record(), STATS))
    assert one == again != other and one.startswith(IN_MEMORY)


def test_a_name_on_the_hub_is_remembered_and_a_place_on_this_machine_is_not(tmp_path):
    shelf, file = Shelf(), STATS.save(tmp_path)
    assert shelf.remember(STATS, "user/repo@main") == "user/repo@main"
    assert shelf.remember(STATS, str(file)) == shelf.remember(STATS, None) == shelf.put(STATS)


def test_statistics_of_a_scheduler_that_lives_are_at_hand_however_many_came_after():
    scheduler = DEISSNScheduler.from_config(SD_BETAS, stats=STATS.with_origin(seed=-1))
    for seed in range(70):
        DEISSNScheduler.from_config(SD_BETAS, stats=STATS.with_origin(seed=seed))
    assert DEISSNScheduler.from_config(scheduler.config).statistics == scheduler.statistics
