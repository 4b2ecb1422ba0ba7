"""`examples/apply_many.py` on local clusters: all images, once each, whatever dies."""

import subprocess
import sys
import time
from argparse import Namespace

import numpy as np
import pytest
from helpers.repository import EXAMPLES, load_example

from morphax import data, recipes

psutil = pytest.importorskip("psutil")  # which Dask brings
distributed = pytest.importorskip(
    "distributed", reason='needs Dask: pip install ".[cluster]" from a clone'
)
# Dask leaves sockets and event loops to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def example():
    return load_example("apply_many")


@pytest.fixture(scope="module")
def model(example, tmp_path_factory):
    place = tmp_path_factory.mktemp("many")
    example.make_example(str(place / "model"), str(place / "images"))
    return place


@pytest.fixture(scope="module")
def client():
    """Two workers that are threads of this process."""
    options = {"n_workers": 2, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


def _options(model, images, out):
    return Namespace(model=str(model), images=str(images), out=str(out), pick="best")


def _masks_are_right(place, out):
    entry = recipes.load_model(place / "model")
    names = [path.name for path in data.find_images(place / "images")]
    assert sorted(path.name for path in out.glob("*")) == sorted(names)
    for name in names:
        answer = entry(data.load_image(place / "images" / name))
        np.testing.assert_array_equal(data.load_image(out / name), answer)


def test_it_goes_on_and_names_what_it_skips(example, model, client, tmp_path, capsys) -> None:
    options = _options(model / "model", model / "images", tmp_path / "out")
    broken, other = model / "images/broken.png", model / "images/notes.txt"
    broken.write_bytes(b"no image")
    other.write_text("")
    assert example.apply_many(client, options) == 2
    told = capsys.readouterr()
    assert "20 masks written, 0 there already, 1 skipped" in told.out
    assert "notes.txt" in told.err
    assert "broken.png" in (tmp_path / "out/skipped.txt").read_text()
    broken.unlink()
    other.unlink()
    (tmp_path / "out/3.png").unlink()
    (tmp_path / "out/4.png").write_bytes(b"")  # as a power cut may leave it
    (tmp_path / "out/4.png-ab.part").write_bytes(b"half")  # as a worker that died may leave it
    assert example.apply_many(client, options) == 0
    assert "2 masks written, 18 there already" in capsys.readouterr().out
    _masks_are_right(model, tmp_path / "out")


def test_object_stores(example, model, client) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    paths = data.find_images(model / "images")
    for path in paths:
        store.pipe_file(f"/scans/{path.name}", path.read_bytes())
    options = _options(model / "model", "memory://scans", "memory://masks")
    assert example.apply_many(client, options) == 0
    written = [path.rsplit("/")[-1] for path in store.ls("/masks", detail=False)]
    assert sorted(written) == sorted(path.name for path in paths)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda place: None, "nowhere"),
        (lambda place: (place / "nowhere").mkdir(), "expected image files"),
        (lambda place: _two_of_one_name(place / "nowhere"), "would both become"),
    ],
)
def test_bad_folders_are_refused(example, model, client, tmp_path, make, text) -> None:
    make(tmp_path)
    with pytest.raises((ValueError, OSError), match=text):
        example.apply_many(
            client, _options(model / "model", tmp_path / "nowhere", tmp_path / "out")
        )


def _two_of_one_name(folder):
    folder.mkdir()
    data.save_mask(folder / "a.png", np.eye(3, dtype=bool))
    (folder / "a.tif").write_bytes((folder / "a.png").read_bytes())


@pytest.mark.slow
def test_a_worker_is_killed(example, model, tmp_path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "model").symlink_to(model / "model")
    rng = np.random.default_rng(0)
    for k in range(200):
        data.save_mask(tmp_path / f"images/{k}.png", rng.random((200, 200)) < 0.6, durable=False)
    words = tmp_path / "model", tmp_path / "images", "--out", tmp_path / "out", "--workers", 2
    script = [sys.executable, EXAMPLES / "apply_many.py", *words]
    process = subprocess.Popen([*map(str, script)], stdout=subprocess.PIPE, text=True)
    while process.poll() is None and len(list((tmp_path / "out").glob("*.png"))) < 20:
        time.sleep(0.01)
    workers = [
        child
        for child in psutil.Process(process.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    before = len(list((tmp_path / "out").glob("*.png")))
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert 20 <= before < 200
    assert "200 masks written" in told
    _masks_are_right(tmp_path, tmp_path / "out")
