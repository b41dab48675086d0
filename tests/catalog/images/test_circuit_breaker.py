"""Tests for catalog/images/circuit_breaker.py, by a clock that the test turns."""

from catalog.images.circuit_breaker import MAX_REMEMBERED, CircuitBreaker


class Clock:
    """A clock that stands until it is turned."""

    now = 1000.0

    def __call__(self):
        return self.now


def test_a_host_is_paused_after_failures_in_a_row_and_asked_again_later():
    clock = Clock()
    breaker = CircuitBreaker(max_failures=2, pause_s=60, clock=clock)
    breaker.failed("a")
    assert not breaker.is_paused("a")
    breaker.failed("a")
    assert breaker.is_paused("a")
    assert not breaker.is_paused("b")
    clock.now += 59.9
    assert breaker.is_paused("a")
    clock.now += 0.1
    assert not breaker.is_paused("a")


def test_the_first_failure_after_a_pause_begins_the_next():
    clock = Clock()
    breaker = CircuitBreaker(max_failures=2, pause_s=60, clock=clock)
    breaker.failed("a")
    breaker.failed("a")
    clock.now += 60
    breaker.failed("a")
    assert breaker.is_paused("a")


def test_an_answer_clears_the_record():
    breaker = CircuitBreaker(max_failures=2, pause_s=60, clock=Clock())
    breaker.failed("a")
    breaker.answered("a")
    breaker.failed("a")
    assert not breaker.is_paused("a")


def test_hosts_without_number_are_forgotten_in_the_order_of_their_failures():
    breaker = CircuitBreaker(max_failures=1, pause_s=60, clock=Clock())
    for number in range(MAX_REMEMBERED + 1):
        breaker.failed(f"h{number}")
    assert not breaker.is_paused("h0")
    assert breaker.is_paused("h1")
    assert breaker.is_paused(f"h{MAX_REMEMBERED}")
