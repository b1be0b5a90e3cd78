"""Ctrl-C and SIGTERM: at once, after the batch, or after the pipeline was given back, and handlers as before."""

from __future__ import annotations

import logging
import signal
import threading
from itertools import product

import pytest

from diffusers_deis_sn.collect.signals import Interruptions

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers_are_as_before():
    before = [signal.getsignal(one) for one in BOTH]
    yield
    assert [signal.getsignal(one) for one in BOTH] == before


def test_without_batches_to_finish_ctrl_c_acts_at_once_and_sigterm_is_left_alone():
    with pytest.raises(KeyboardInterrupt), Interruptions(False) as stop, stop.acting():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on")


@pytest.mark.parametrize(("first", "second"), list(product(BOTH, BOTH)))
def test_the_first_signal_asks_to_stop_and_the_second_stops(first, second):
    with pytest.raises(KeyboardInterrupt), Interruptions(True) as stop, stop.acting():
        assert stop.wanted is None
        signal.raise_signal(first)
        assert stop.wanted == first.name
        signal.raise_signal(second)
        pytest.fail("went on")


def test_while_something_is_replaced_or_restored_signals_wait():
    done = []
    with pytest.raises(KeyboardInterrupt), Interruptions(False) as stop:
        signal.raise_signal(signal.SIGINT)
        done.append("replaced")
        with stop.acting():
            pytest.fail("the one that waited acts first")
    with pytest.raises(KeyboardInterrupt), Interruptions(False) as stop:
        with stop.acting():
            pass
        signal.raise_signal(signal.SIGINT)
        done.append("restored")
    with pytest.raises(KeyboardInterrupt), Interruptions(False) as stop:
        try:
            with stop.acting():
                signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)  # a second one, on the way back
            done.append("restored after the first")
    assert done == ["replaced", "restored", "restored after the first"]


def test_one_that_comes_when_all_is_done_costs_no_result():
    with Interruptions(True) as stop:
        with stop.acting():
            pass
        signal.raise_signal(signal.SIGTERM)


def test_one_that_waited_asks_to_stop_after_the_first_batch():
    with Interruptions(True) as stop:
        signal.raise_signal(signal.SIGTERM)
        with stop.acting():
            assert stop.wanted is not None


def test_it_is_said_once_that_the_batch_is_finished(caplog):
    caplog.set_level(logging.WARNING)
    with Interruptions(True) as stop, stop.acting():
        stop.tell()
        signal.raise_signal(signal.SIGTERM)
        stop.tell()
        stop.tell()
    assert [one.getMessage().split(":")[0] for one in caplog.records] == ["SIGTERM"]


def test_an_error_passes_through():
    with pytest.raises(ZeroDivisionError), Interruptions(True) as stop, stop.acting():
        _ = 1 / 0


@pytest.mark.parametrize("finish", [True, False])
def test_a_signal_that_is_ignored_stays_ignored(finish):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruptions(finish) as stop, stop.acting():
            signal.raise_signal(signal.SIGINT)
            assert stop.wanted is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_callers_own_handler_acts_where_no_batches_are_finished():
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("theirs"))
    try:
        with Interruptions(False) as stop, stop.acting():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == ["theirs"]


def test_in_another_thread_nothing_is_changed():
    seen = []

    def work() -> None:
        with Interruptions(True) as stop, stop.acting():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
