"""Tests for catalog/images/circuit_breaker.py, by a clock that the test turns."""

from catalog.images.circuit_breaker import MAX_REMEMBERED, CircuitBreaker


class Clock:
    """A clock that stands until it is turned."""

    now = 1000.0

    def __call__(self):
        return self.now


def test_a_host_is_paused_after_failures_in_a_row_and_asked_again_later():
    clock = Clock()
    patience = CircuitBreaker(max_failures=2, pause_s=60, clock=clock)
    patience.failed("a")
    assert not patience.is_paused("a")
    patience.failed("a")
    assert patience.is_paused("a")
    assert not patience.is_paused("b")
    clock.now += 59.9
    assert patience.is_paused("a")
    clock.now += 0.1
    assert not patience.is_paused("a")


def test_the_first_failure_after_a_pause_begins_the_next():
    clock = Clock()
    patience = CircuitBreaker(max_failures=2, pause_s=60, clock=clock)
    patience.failed("a")
    patience.failed("a")
    clock.now += 60
    patience.failed("a")
    assert patience.is_paused("a")


def test_an_answer_clears_the_record():
    patience = CircuitBreaker(max_failures=2, pause_s=60, clock=Clock())
    patience.failed("a")
    patience.answered("a")
    patience.failed("a")
    assert not patience.is_paused("a")


def test_hosts_without_number_are_forgotten_in_the_order_of_their_failures():
    patience = CircuitBreaker(max_failures=1, pause_s=60, clock=Clock())
    for number in range(MAX_REMEMBERED + 1):
        patience.failed(f"h{number}")
    assert not patience.is_paused("h0")
    assert patience.is_paused("h1")
    assert patience.is_paused(f"h{MAX_REMEMBERED}")
