"""The benchmarks keep their written contract: schema, ratios, atomic writing, a smoke run."""

import copy
import json

import jax.numpy as jnp
import pytest
from helpers.repository import ROOT, run_python

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from _lib import common

    return common


@pytest.fixture
def document(common):
    about = common.metadata("test", unit="call", reference="ours", smoke=True)
    rows = [
        common.result("ours", {"n": 2}, common.measure(jnp.sort, jnp.ones(2), repeats=3)),
        common.result("peer", {"n": 2}, {"median_s": 1.0, "iqr_s": 0.0, "repeats": 1}, samples=4),
    ]
    common.add_ratios(rows, "ours")
    return {"metadata": {**about, "load_end": 0.0}, "results": rows, "skipped": []}


def test_document_keeps_the_schema(common, document):
    common.check(document)
    ours, peer = document["results"]
    assert ours["ratio"] == 1.0
    assert peer["ratio"] == pytest.approx(1.0 / ours["median_s"])
    assert (ours["extrapolated"], peer["extrapolated"]) == (False, True)


@pytest.mark.parametrize(
    "key", ["median_s", "iqr_s", "repeats", "extrapolated", "samples", "error"]
)
def test_a_row_without_a_field_is_refused(common, document, key):
    broken = copy.deepcopy(document)
    del broken["results"][0][key]
    with pytest.raises(ValueError, match=key):
        common.check(broken)


@pytest.mark.parametrize("key", ["commit", "versions", "device", "threads", "load_start"])
def test_metadata_must_be_complete(common, document, key):
    del document["metadata"][key]
    with pytest.raises(ValueError, match=key):
        common.check(document)


def test_an_unmarked_extrapolation_is_refused(common, document):
    document["results"][1]["extrapolated"] = False
    with pytest.raises(ValueError, match="row"):
        common.check(document)


def test_written_whole_or_not_at_all(common, document, tmp_path):
    path = tmp_path / "new" / "test.json"
    common.write(path, document["metadata"], document["results"])
    common.check(json.loads(path.read_text()))
    with pytest.raises(ValueError):
        common.write(path, {}, [])
    assert [p.name for p in path.parent.iterdir()] == ["test.json"]
    common.check(json.loads(path.read_text()))


def test_table_marks_extrapolations(common, document):
    text = common.table(document["results"], ("n", "contender", "median_s"))
    assert "| 2 | peer | ~1 |" in text.splitlines()


def smoke(script, folder):
    """The document that a smoke run writes."""
    run = run_python(FOLDER / script, "--smoke", "--out", folder)
    assert run.returncode == 0, run.stderr
    return json.loads((folder / script).with_suffix(".json").read_text())


@pytest.mark.parametrize("script", ["correlate.py"])
@pytest.mark.slow
def test_smoke_run(common, script, tmp_path):
    common.check(smoke(script, tmp_path))


@pytest.mark.slow
def test_certified_neurons_at_the_edge_are_right(tmp_path):
    document = smoke("soundness.py", tmp_path)
    rows = document["results"]
    assert {row["dtype"] for row in rows} == {"float32", "float64"}
    assert all(row["wrong"] == 0 < row["certified"] < row["neurons"] for row in rows)
    assert all(row["largest error"] < 0.5 for row in rows)
    functions = document["metadata"]["functions"].values()
    assert all(found.pop("softplus") < 5 and max(found.values()) < 8 for found in functions)


@pytest.mark.slow
def test_the_operations_of_an_opening_are_counted(tmp_path):
    """Three sticks of 5 pixels on 70 x 70: 4 joins twice for each, and 2 for the union."""
    rows = smoke("operations.py", tmp_path)["results"]
    found = {row["form"]: row for row in rows if row["network"] == "opening"}
    by_hand = 70 * 70 * (3 * (4 + 4) + 2)
    for form in ("on paper, plain", "specialised"):
        assert found[form]["operations"] == by_hand
        assert found[form]["over_plain"] == 1
    assert found["packed words"]["operations"] > by_hand


@pytest.mark.slow
def test_all_forms_of_a_network_are_equal(common, tmp_path):
    document = smoke("equality.py", tmp_path)
    rows, parts = document["results"], ("bits_differ", "counts_differ", "labels_differ")
    assert len(rows) == 8 + 10
    assert all(row["certified"] for row in rows)
    absent = [row for row in rows if not row["images"]]  # no C compiler, no Icarus
    assert len(absent) == len(document["metadata"]["skipped"])
    for row in rows:
        told = [row[part] for part in parts if row[part] is not None]
        assert not any(told), row
        assert bool(told) == (row not in absent)


def test_images_that_differ_are_counted(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import equality

    net = equality.by_lot()
    wanted = equality.bools(net, net.images[0])
    assert wanted.bits.any()
    assert len(set(wanted.labels.tolist())) > 1

    def wrong(net, x):
        """The first 50 images; a bit of two of them is wrong, and a label."""
        bits, labels = wanted.bits[:50].copy(), wanted.labels[:50].copy()
        bits[[3, 7], 0] ^= True
        bits[7, 1] ^= True
        labels[9] += 1
        return equality.Output(bits, None, labels)

    row = equality.compare(net, "wrong", wrong, [wanted], [], "abc")
    found = {key: row[key] for key in ("images", "bits_differ", "counts_differ", "labels_differ")}
    assert list(found.values()) == [50, 2, None, 1]
    assert row["note"] == "50 of 70 images"


@pytest.fixture
def report(monkeypatch, tmp_path):
    """The report, on an empty folder of results."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import report
    from _lib.pages import shared

    monkeypatch.setattr(shared, "RESULTS", tmp_path)
    return report


def test_the_report_shows_what_is_there(report, tmp_path, common, document):
    assert set(report.files()) == {"README.md"}
    assert report.measured() == report.TAIL + "\n"
    about = {
        **document["metadata"],
        "command": "python benchmarks/equality.py",
        "goals": [
            {
                "contender": "ours",
                "peer": "peer",
                "wanted": 2,
                "found": 1.5,
                "met": False,
                "network": "net",
                "unit": "times",
            }
        ],
        "networks": {"net": {"made": "random", "total": 1000}},
    }
    row = {
        "network": "net",
        "certified": True,
        "form": "C",
        "images": 7,
        "bits_differ": 0,
        "counts_differ": None,
        "labels_differ": 3,
        "right": 5,
        "note": "few",
    }
    common.write_rows(
        tmp_path / "equality.json", about, [row, {**row, "labels_differ": 0, "form": "bool"}]
    )
    written = report.files()
    assert set(written) == {"README.md", "inference.md", "equality.csv"}
    page = written["inference.md"]
    assert "| C | 3 of 7 |" in page
    assert "- [The same network in every form](#the-same-network-in-every-form)" in page
    assert "on 14 images: 3 differed." in " ".join(page.split())
    assert written["equality.csv"].splitlines()[1] == "net,True,C,7,0,,3,5,few"
    timing = {"median_s": 2e-6, "iqr_s": 0.0, "repeats": 3}
    case = {"images": 1, "side": 9, "operation": "erosion", "element": "disk", "network": "net"}
    rows = [
        common.result("ours", case, timing, error=0.0),
        common.result("specialised", case, {**timing, "median_s": 1e-6}, error=0.0),
    ]
    common.add_ratios(rows, "ours")
    for name in ("operators", "inference"):
        common.write(tmp_path / f"{name}.json", about, rows, ["PyTorch: not there"])
    written = report.files()
    assert "| specialised | 1.00 µs (2.00) |" in written["inference.md"]
    assert "| ours | 1.50, not met |" in written["inference.md"]
    assert "| specialised | 2.00 |" in written["operators.md"]
    assert "| ours | peer | 2 | 1.50 | no |" in written["operators.md"]
    for name in ("operators.md", "inference.md"):
        assert "Left out: PyTorch: not there." in " ".join(written[name].split())
    assert "1,9,erosion,disk,net,ours,2e-06,0,3,1,0,False," in written["operators.csv"].splitlines()


@pytest.mark.parametrize("key", ["date", "commit"])
def test_a_report_without_date_or_commit_is_an_error(report, tmp_path, common, document, key):
    document["metadata"][key] = None
    common.write_rows(
        tmp_path / "fuzz.json",
        {**document["metadata"], "seed": 0},
        [{"target": "files", "inputs": 1, "right": 1, "refused": 0, "failed": 0}],
    )
    with pytest.raises(ValueError, match=f"no {key}"):
        report.files()


def test_the_pages_of_results_are_those_of_the_report(monkeypatch):
    """What is under docs/results is what `python benchmarks/report.py` writes."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import report
    from _lib.pages import shared

    for name, text in report.files().items():
        assert (shared.RESULTS / name).read_text() == text, name
    assert report.measured() in (shared.ROOT / "README.md").read_text()
    assert report.believed() in (shared.ROOT / "docs/why-believe.md").read_text()


def test_numbers_are_written_in_one_style(report):
    from _lib.pages import formats

    values = (None, True, 12345, 0.0, 0.012345, 2.0, 1234.5, 99.96, 1e-5)
    assert [*map(formats.number, values)] == [
        *("-", "yes", "12,345", "0", "0.0123", "2.00", "1,230", "100.0", "0.0000100")
    ]
    assert [*map(formats.seconds, (90.0, 2.5e-3, 1e-6, 2e-10))] == [
        "90.0 s",
        "2.50 ms",
        "1.00 µs",
        "0.200 ns",
    ]
    assert formats.octets(8572928) == "8.57 MB"
