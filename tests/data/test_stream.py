"""Streams: the same batches for every number of processes and from every start; sets never read
whole."""

from collections import Counter
from itertools import islice

import jax
import numpy as np
import optax
import pytest

from morphax import data, training
from morphax.data.stream import DiskorectBlocks, PairFiles, batches
from morphax.morphology import elements
from morphax.neurons import models


class Records:
    """Pairs by number that count how often they are read."""

    def __init__(self, count):
        self.count, self.read = count, Counter()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read[index] += 1
        return np.int64(index), np.full(3, index)


def take(count, *args, **options):
    return list(islice(batches(*args, **options), count))


def test_every_pass_is_a_new_permutation():
    got = np.array([x for x, _ in take(8, Records(12), batch_size=3, seed=1)])
    first, second = got[:4].reshape(-1), got[4:].reshape(-1)
    assert sorted(first) == sorted(second) == list(range(12))
    assert first.tolist() != second.tolist() != list(range(12))
    other = np.array([x for x, _ in take(4, Records(12), batch_size=3, seed=2)])
    assert other.reshape(-1).tolist() != first.tolist()


def test_batches_cross_the_end_of_a_pass():
    got = np.concatenate([x for x, _ in take(7, Records(10), batch_size=4)])
    assert sorted(got[:10]) == sorted(got[10:20]) == list(range(10))
    assert len(got) == 28


@pytest.mark.parametrize("processes", [1, 2, 3, 6])
@pytest.mark.parametrize("start", [0, 5])
def test_the_same_batches_for_every_number_of_processes(processes, start):
    whole = take(6, Records(20), batch_size=6, seed=3)[start:]
    parts = [
        take(
            6 - start,
            Records(20),
            batch_size=6,
            seed=3,
            start=start,
            process=p,
            processes=processes,
        )
        for p in range(processes)
    ]
    for i, (x, y) in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[i][0] for part in parts]), x)
        np.testing.assert_array_equal(np.concatenate([part[i][1] for part in parts]), y)


def test_a_process_reads_its_own_rows_and_little_ahead():
    source = Records(1000)
    take(3, source, batch_size=20, process=1, processes=2, threads=1, ahead=2)
    assert 30 <= sum(source.read.values()) <= 100, "three batches of ten, and some ahead"
    assert max(source.read.values()) == 1


def test_transform_and_blocks():
    source = [np.arange(4) + 4 * i for i in range(6)]
    got = take(3, source, batch_size=8, block=4, transform=lambda x: {"x": x, "twice": 2 * x})
    assert [batch["x"].shape for batch in got] == [(8,)] * 3
    assert sorted(np.concatenate([batch["x"] for batch in got])) == list(range(24))
    assert all((batch["twice"] == 2 * batch["x"]).all() for batch in got)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "^batch_size: expected a multiple of 1 processes x 1 rows"),
        ({"batch_size": 3, "process": 0, "processes": 2}, "^batch_size: expected a multiple of 2"),
        ({"batch_size": 6, "block": 4}, "^batch_size: expected a multiple of 1 processes x 4 rows"),
        ({"batch_size": 4, "process": 2, "processes": 2}, "^process: expected 0 to 1"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        batches(range(9), **options)
    with pytest.raises(ValueError, match=r"^source: expected at least one record"):
        batches([], batch_size=1)


def test_pair_files(tmp_path, rng):
    images = rng.random((5, 6, 7, 1)) < 0.5
    data.save_pairs(tmp_path, images, ~images)
    source = PairFiles(tmp_path)
    assert len(source) == 5
    inputs, targets = data.load_pairs(tmp_path)
    for i in range(5):
        np.testing.assert_array_equal(source[i][0], inputs[i])
        np.testing.assert_array_equal(source[i][1], targets[i])
    ((x, y),) = take(1, source, batch_size=5)
    assert x.shape == (5, 6, 7, 1)
    assert (x ^ y).all()
    assert sorted(map(bytes, x)) == sorted(map(bytes, inputs))
    (tmp_path / "input" / "000003.png").unlink()
    with pytest.raises(ValueError, match="have no partner"):
        PairFiles(tmp_path)


def test_generated_by_number():
    options = {"rows": 3, "operation": "opening", "selem": elements.disk(3), "size": (12, 12)}
    source, other = DiskorectBlocks(9, **options), DiskorectBlocks(9, seed=1, **options)
    x, y = source[4]
    np.testing.assert_array_equal(source[4][0], x)
    np.testing.assert_array_equal(data.target(x, "opening", elements.disk(3)), y)
    assert (source[5][0] != x).any()
    assert (other[4][0] != x).any()
    assert len(source) == 9


def test_training_on_a_stream_goes_on_bit_for_bit(tmp_path):
    source = DiskorectBlocks(
        50, rows=2, operation="dilation", selem=np.ones((1, 3), bool), size=(8, 8)
    )
    params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
    starts = []

    def stream(start):
        starts.append(start)
        return batches(source, batch_size=4, block=2, start=start)

    def fit(steps, checkpoint=None):
        return training.fit_stream(
            models.bimonn,
            params,
            stream,
            valid=source[0],
            optimizer=optax.adam(1e-2),
            steps=steps,
            log_every=3,
            run=training.RunOptions(checkpoint=checkpoint),
            evaluate=lambda params, data: {},
        )

    whole = fit(9)
    fit(6, tmp_path)
    run = fit(9, tmp_path)
    assert starts == [0, 0, 6]
    for a, b in zip(jax.tree.leaves(run.state), jax.tree.leaves(whole.state), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert [r["loss"] for r in run.history] == [r["loss"] for r in whole.history]
    assert whole.history[-1]["loss"] != whole.history[0]["loss"]


def test_a_stream_of_bytes_is_refused():
    images = np.zeros((4, 5, 5, 1), np.uint8)
    params = models.init_bimonn(jax.random.key(0), [1, 1], kernel_size=3)
    with pytest.raises(ValueError, match=r"^batches\[0\]: expected bool or floats"):
        training.fit_stream(
            models.bimonn,
            params,
            lambda start: iter([(images, images)]),
            steps=1,
            valid=(images > 0, images > 0),
            optimizer=optax.adam(1e-2),
            log_every=1,
        )


@pytest.mark.realdata
def test_tfds_by_number(data_dir):
    source = data.tfds_source("mnist", "test", data_dir=data_dir)
    images, labels = data.load("mnist", "test", data_dir=data_dir, limit=20)
    got = take(
        2, source, batch_size=16, transform=lambda record: (record["image"], record["label"])
    )
    assert [x.shape for x, _ in got] == [(16, 28, 28, 1)] * 2
    np.testing.assert_array_equal(source[7]["image"], images[7])
    assert source[7]["label"] == labels[7]
