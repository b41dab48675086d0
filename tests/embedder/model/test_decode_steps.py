"""Tests for decode_steps.py: recorded steps of rounded shapes against steps of what is there."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from embedder.engine.continuous_batch import ContinuousBatch
from embedder.engine.decoding import SelfDecoder
from embedder.engine.gating import Gate, Task
from embedder.model.buckets import column_bucket, slot_bucket
from embedder.model.decode_steps import RECORDED_FROM, PlainSteps, RecordedSteps
from embedder.model.kv_cache import SlotCache
from tests.embedder.model.gathered_attention import gathered

CPU = torch.device("cpu")


class Recorder(TorchDispatchMode):
    """Does what a CUDA graph does: the same operations on the same memory, and no Python again."""

    def __init__(self):
        super().__init__()
        self.recorded = self.repeated = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, made))
        return made

    def __call__(self, work):
        self._calls = calls = []
        with self:
            result = work()
        self.recorded += 1
        # Zeros in what it has made, so that a result is one of the repetition.
        result.zero_()

        def repeat():
            self.repeated += 1
            for func, args, kwargs, made in calls:
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)
            return result

        return repeat


@pytest.fixture(scope="module")
def sizes(backbone):
    model = backbone.model.model.language_model
    attention = model.layers[0].self_attn
    heads = attention.k_proj.out_features // attention.head_dim
    return len(model.layers), 2, heads, attention.head_dim


def joined(cache, sizes, length, generator, *, room=40):
    layers, two, heads, size = sizes
    past = torch.randn(layers, two, heads, length, size, generator=generator)
    cache.join(past, room=room)


class Pair:
    """Recorded and plain steps of equal caches; each step is compared."""

    def __init__(self, backbone, sizes, num_slots, *, kernel=None):
        self.record, self._sizes = Recorder(), sizes
        plain = PlainSteps(backbone.text, device=CPU)
        options = {"num_slots": num_slots, "device": CPU, "record": self.record, "kernel": kernel}
        self._steps = plain, RecordedSteps(backbone.text, **options)
        self.caches = [SlotCache(num_slots, dtype=torch.float32, device=CPU) for _ in range(2)]

    def join(self, length, *, seed, room):
        for cache in self.caches:
            joined(cache, self._sizes, length, torch.Generator().manual_seed(seed), room=room)

    def step(self):
        busy = range(len(self.caches[0]))
        found = []
        for steps, cache in zip(self._steps, self.caches, strict=True):
            cache.grow()
            found.append(steps.states([20 + slot for slot in busy], list(busy), cache))
        torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [None, gathered])
@torch.inference_mode()
def test_recorded_steps_of_any_slots_and_lengths_equal_plain_ones(backbone, sizes, kernel):
    rng, pair = random.Random(0), Pair(backbone, sizes, 9, kernel=kernel)
    for _ in range(40):
        action, busy = rng.choice(["join", "leave", "step", "step", "step"]), len(pair.caches[0])
        if action == "join" and busy < 9:
            pair.join(rng.randint(1, 70), seed=rng.randrange(1_000), room=40)
        elif action == "leave" and busy:
            slot = rng.randrange(busy)
            for cache in pair.caches:
                cache.leave(slot)
        elif busy:
            pair.step()
            for slot in range(busy):
                expected, kept = (cache.take(slot) for cache in pair.caches)
                torch.testing.assert_close(kept, expected, atol=1e-5, rtol=1e-5)
    assert pair.record.repeated > pair.record.recorded > 1


@torch.inference_mode()
def test_what_was_recorded_of_a_smaller_cache_is_recorded_anew(backbone, sizes):
    pair = Pair(backbone, sizes, 2)
    pair.join(4, seed=0, room=20)
    for _ in range(RECORDED_FROM + 1):
        pair.step()
    assert pair.record.recorded == 1
    pair.join(200, seed=1, room=20)  # for which the cache takes other memory
    for cache in pair.caches:
        cache.leave(1)
    for _ in range(RECORDED_FROM + 1):
        pair.step()
    assert pair.record.recorded == 2


@pytest.mark.parametrize(("kernel", "num_shapes"), [(None, 2), (gathered, 1)])
@torch.inference_mode()
def test_by_lengths_one_recording_serves_all_columns(backbone, sizes, kernel, num_shapes):
    pair = Pair(backbone, sizes, 2, kernel=kernel)
    if kernel is not None:
        pair.caches[1].mask = None  # nobody asks for one
    pair.join(25, seed=0, room=20)
    for _ in range(12):  # past column 32, where a bucket ends
        pair.step()
    assert pair.record.recorded == num_shapes


@torch.inference_mode()
def test_slots_that_only_fill_a_bucket_leave_nothing_to_whoever_joins_there(backbone, sizes):
    pair = Pair(backbone, sizes, 4)
    for seed in range(3):
        pair.join(4, seed=seed, room=28)
    pair.step()  # of four slots
    assert pair.caches[1].mask().shape[0] == 4
    assert pair.caches[1].mask().any(dim=-1).all()  # a row that sees nothing may become NaN
    pair.join(27, seed=3, room=5)
    for _ in range(5):  # up to the last column
        pair.step()


@torch.inference_mode()
def test_what_a_step_returned_stays_when_the_next_one_is_done(backbone, sizes):
    steps = RecordedSteps(backbone.text, num_slots=2, device=CPU, record=Recorder())
    cache = SlotCache(2, dtype=torch.float32, device=CPU)
    joined(cache, sizes, 5, torch.Generator().manual_seed(0))
    states = []
    for token in range(10, 10 + RECORDED_FROM + 2):
        cache.grow()
        states.append(steps.states([token], [token], cache))
        states.append(states[-1].clone())
    assert all(
        torch.equal(kept, then) for kept, then in zip(states[::2], states[1::2], strict=True)
    )
    assert not torch.equal(states[-1], states[-3])


def test_a_recorded_decoding_says_the_same_as_a_plain_one(checkpoint, prompts, monkeypatch):
    backbone, inputs = checkpoint.backbone, checkpoint.inputs
    task = Task("query", "find the item", "always")

    def answers():
        decoder = SelfDecoder(backbone, inputs, max_new_tokens=8, num_slots=3)
        gate = Gate(backbone, inputs, theta=0.5)
        return dict(
            decoder.decode(gate.launch(prompts, policy="always", keep_past=True).gated(), task)
        )

    plain, record = answers(), Recorder()
    monkeypatch.setattr(
        "embedder.engine.continuous_batch.decode_steps",
        lambda text, **options: RecordedSteps(text, record=record, **options),
    )
    recorded = answers()
    assert record.repeated > 0
    for row, answer in plain.items():
        assert recorded[row].rationale == answer.rationale
        assert recorded[row].vector == pytest.approx(answer.vector, abs=1e-5)


def test_what_is_recorded_is_forgotten_when_memory_is_given_back(backbone, inputs, monkeypatch):
    forgotten = []
    monkeypatch.setattr(PlainSteps, "forget", lambda steps: forgotten.append(steps))
    batch = ContinuousBatch(backbone, inputs, lambda *_: [], max_new_tokens=4, num_slots=2)
    batch.release()
    batch.abandon()
    assert len(forgotten) == 2


@given(st.integers(1, 5_000), st.integers(0, 3_000))
def test_a_bucket_holds_what_goes_into_it_and_is_rarely_much_wider(size, spare):
    most = size + spare
    assert size <= column_bucket(size, most=most) <= min(most, max(size + 31, size * 1.25))
    assert size <= slot_bucket(size, most=most) <= min(most, 2 * size)
    assert len({column_bucket(n, most=10_000) for n in range(1, 2_049)}) <= 32
