"""Folders of pairs of volumes: numpy files, TIFF of several pages, NIfTI."""

import gzip
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from morphax import data


@pytest.fixture
def volumes(rng):
    return rng.random((2, 4, 5, 6)) < 0.5


def write_pages(path, volume):
    pages = [Image.fromarray(page) for page in volume]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def folder_of(tmp_path, write, suffix, inputs, targets):
    for side, parts in (("input", inputs), ("target", targets)):
        (tmp_path / side).mkdir()
        for name, part in zip("ab", parts, strict=True):
            write(tmp_path / side / f"{name}{suffix}", part)
    return tmp_path


WRITERS = {
    "bool": (np.save, ".npy", lambda v: v),
    "0 and 255": (np.save, ".npy", lambda v: (v * 255).astype(np.uint8)),
    "0 and 1, int64": (np.save, ".npy", lambda v: v.astype(np.int64)),
    "pages of bytes": (write_pages, ".tif", lambda v: (v * 255).astype(np.uint8)),
    "pages of bits": (write_pages, ".TIFF", lambda v: v),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_stacks_of_every_kind(tmp_path, kind, volumes):
    write, suffix, stored = WRITERS[kind]
    folder = folder_of(tmp_path, write, suffix, map(stored, volumes), map(stored, ~volumes))
    pairs = data.load_pairs(folder, volumes=True)
    np.testing.assert_array_equal(pairs.inputs, volumes[..., None])
    np.testing.assert_array_equal(pairs.targets, ~volumes[..., None])
    assert pairs.names == ("a", "b")


def test_gray_volumes_and_several_sizes(tmp_path, rng):
    gray = [rng.integers(0, 200, (3, 4, 5)).astype(np.uint8) for _ in range(2)]
    gray[1] = gray[1][:2]
    folder = folder_of(tmp_path, np.save, ".npy", gray, [v > 90 for v in gray])
    pairs = data.load_pairs(folder, volumes=True, input_threshold=91, ragged=True)
    for x, y in zip(*pairs, strict=True):
        np.testing.assert_array_equal(x, y)
    assert [x.shape for x in pairs.inputs] == [(3, 4, 5, 1), (2, 4, 5, 1)]
    with pytest.raises(ValueError, match=r"3x4x5 \(slices x rows x columns\).*2x4x5"):
        data.load_pairs(folder, volumes=True, input_threshold=91)
    with pytest.raises(ValueError, match="expected image files"):
        data.load_pairs(folder)


def test_nifti_has_its_slices_last(tmp_path, volumes, monkeypatch):
    """The module is replaced: it need not be installed. Files hold (x, y, z)."""
    stored = {}

    def write(path, volume):
        path.write_bytes(b"")
        stored[path] = SimpleNamespace(dataobj=volume.T.astype(np.uint8)[..., None])

    folder = folder_of(tmp_path, write, ".nii.gz", volumes, ~volumes)
    monkeypatch.setitem(sys.modules, "nibabel", SimpleNamespace(load=stored.__getitem__))
    pairs = data.load_pairs(folder, volumes=True)
    np.testing.assert_array_equal(pairs.inputs, volumes[..., None])
    assert pairs.names == ("a", "b")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"^nibabel is not installed; it comes with: .*volumes"):
        data.load_pairs(folder, volumes=True)


WRONG = [
    (np.zeros((4, 5), bool), r"holds bool \(4, 5\), expected levels \(slices, rows, columns\)"),
    (np.full((1, 2, 2), -1), "holds negative or infinite levels"),
    (np.full((1, 2, 2), np.nan), "holds negative or infinite levels"),
    (np.array([[["a"]]]), "expected levels"),
    (np.array([[[None]]]), "is not a readable numpy file"),
]


@pytest.mark.parametrize("stored, message", WRONG)
def test_what_is_no_volume(tmp_path, stored, message):
    folder = folder_of(tmp_path, np.save, ".npy", [stored] * 2, [stored] * 2)
    with pytest.raises(ValueError, match=message) as error:
        data.load_pairs(folder, volumes=True)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("folder: ")


def test_damaged_and_empty_folders(tmp_path):
    for side in ("input", "target"):
        (tmp_path / side).mkdir()
    with pytest.raises(ValueError, match="expected files of volumes"):
        data.load_pairs(tmp_path, volumes=True)
    for side in ("input", "target"):
        (tmp_path / side / "a.tif").write_bytes(b"no tiff")
    with pytest.raises(ValueError, match="is not a readable TIFF"):
        data.load_pairs(tmp_path, volumes=True)


def test_volumes_are_written_as_they_are_read(tmp_path, volumes, monkeypatch):
    """The module of NIfTI is replaced, as above; what is gzipped are the bytes that it makes."""
    for name in ("a.npy", "a.tif", "b.TIFF"):
        data.save_volume(tmp_path / name, volumes[0])
        np.testing.assert_array_equal(data.load_volume(tmp_path / name), volumes[0])
    assert len(data.find_volumes(tmp_path)) == 3
    made, affine = [], np.diag([2.0, 2.0, 5.0, 1.0])

    def image_of(values, affine):
        made.append((values, affine))
        return SimpleNamespace(to_bytes=lambda: b"nifti")

    module = SimpleNamespace(Nifti1Image=image_of, load=lambda path: SimpleNamespace(affine=affine))
    monkeypatch.setitem(sys.modules, "nibabel", module)
    data.save_volume(tmp_path / "c.nii.gz", volumes[0], like=tmp_path / "d.nii")
    assert gzip.decompress((tmp_path / "c.nii.gz").read_bytes()) == b"nifti"
    np.testing.assert_array_equal(made[0][0].T, volumes[0])
    assert made[0][1] is affine
    with pytest.raises(ValueError, match=r"^path: expected a name that ends in \.npy, \.tif"):
        data.save_volume(tmp_path / "a.png", volumes[0])
    with pytest.raises(ValueError, match=r"^volume: expected bool \(D, H, W\)"):
        data.save_volume(tmp_path / "a.npy", volumes[0, 0])
