"""Datasets of the hub: a stand-in on the loopback serves miniatures of published ones."""

import io
import json
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.hub_stand_in import commit_of, run_client, serve_hub
from weightspace.errors import DataError
from weightspace.zoo.hub_data import parse_hub_name
from weightspace.zoo.parquet_data import read_arrays

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
PHOTOS = RNG.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
ROWS = RNG.normal(5, 3, (40, 2)).astype(np.float32)


def encode(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_table(columns, classes=()):
    """A Parquet file as the hub's tools write it: images as bytes and path, classes noted in the schema."""
    table = pa.table(columns)
    features = {name: {"_type": "ClassLabel", "names": ["a", "b", "c"]} for name in classes}
    note = json.dumps({"info": {"features": features}}).encode()
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"huggingface": note}), buffer)
    return buffer.getvalue()


def write_images(pixels, image="image", label="label", **more):
    encoded = [{"bytes": encode(p), "path": None} for p in pixels]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    labels = pa.array([i % 3 for i in range(len(pixels))], pa.int64())
    return write_table({image: pa.array(encoded, kind), label: labels} | more, [label, *more])


def write_rows(rows):
    labels = (rows[:, 0] > 5).astype(np.int8)
    return write_table({"width": rows[:, 0], "height": rows[:, 1].astype(np.float64), "target": labels})


REPOSITORIES = {
    "datasets/ylecun/mnist": {
        "main": {
            "README.md": b"#",
            "mnist/test-00000-of-00001.parquet": write_images(DIGITS[24:]),
            "mnist/train-00000-of-00001.parquet": write_images(DIGITS[:24]),
        },
        "older": {
            "mnist/test-00000-of-00001.parquet": write_images(255 - DIGITS[24:]),
            "mnist/train-00000-of-00001.parquet": write_images(255 - DIGITS[:24]),
        },
    },
    "datasets/uoft-cs/cifar10": {
        "main": {
            "plain_text/test-00000-of-00001.parquet": write_images(PHOTOS[24:], "img"),
            "plain_text/train-00000-of-00002.parquet": write_images(PHOTOS[:12], "img"),
            "plain_text/train-00001-of-00002.parquet": write_images(PHOTOS[12:24], "img"),
        }
    },
    "datasets/uoft-cs/cifar100": {
        "main": {
            f"cifar100/{split}-00000-of-00001.parquet": write_images(
                PHOTOS[:count], "img", "fine_label", coarse_label=[1] * count
            )
            for split, count in (("train", 6), ("test", 3))
        }
    },
    "datasets/org/rows": {
        "main": {"rows.csv": b"width,height,target"},
        "refs/convert/parquet": {"default/train/0000.parquet": write_rows(ROWS)},
    },
    "datasets/org/two": {
        "main": {f"{part}/{s}.parquet": write_rows(ROWS) for part in ("left", "right") for s in ("train", "test")}
    },
    "datasets/org/halves": {
        "main": {"data/test-00000-of-00001.parquet": write_rows(ROWS), "data/a.parquet": write_rows(ROWS)}
    },
    "datasets/org/gap": {
        "main": {"train-00001-of-00002.parquet": write_rows(ROWS), "test.parquet": write_rows(ROWS)},
    },
    "datasets/org/none": {"main": {"README.md": b"#"}, "refs/convert/parquet": {"README.md": b"#"}},
}
PROGRAM = """
import json
from weightspace.errors import DataError
from weightspace.zoo.data import load_dataset
def load(name):
    load_dataset.cache_clear()
    try:
        d = load_dataset(name)
    except DataError as error:
        return str(error)
    pixels = ((d.x + 1) * 127.5).round().int() if d.x.ndim == 4 else d.x
    return dict(x=pixels.tolist(), y=d.y.tolist(), test=list(d.x_test.shape), y_test=d.y_test.tolist(), n=d.outputs)
print(json.dumps([load(name) for name in {names}]))
"""


@pytest.fixture
def hub():
    with serve_hub(REPOSITORIES) as server:
        yield server


def load(hub, folder, *names, **variables):
    return run_client(hub, folder, PROGRAM.format(names=names), **variables)


def test_published_layouts_are_read_and_kept(hub, tmp_path):
    names = ["hub:ylecun/mnist", "hub:uoft-cs/cifar10", "hub:uoft-cs/cifar10+grey", "hub:uoft-cs/cifar100"]
    first = mnist, cifar, grey, hundred = load(hub, tmp_path, *names)
    np.testing.assert_array_equal(mnist["x"], DIGITS[:24, None])
    np.testing.assert_array_equal(cifar["x"], PHOTOS[:24].transpose(0, 3, 1, 2))
    luma = [np.asarray(Image.fromarray(photo).convert("L"))[None] for photo in PHOTOS[:24]]
    np.testing.assert_array_equal(grey["x"], luma)
    assert mnist["y"] == [i % 3 for i in range(24)] and mnist["y_test"] == [i % 3 for i in range(6)]
    assert cifar["y"] == [i % 3 for i in range(12)] * 2 and hundred["n"] == 3 and set(hundred["y"]) == {0, 1, 2}
    assert len([name for name, _, _ in hub.log if name.endswith(".parquet")]) == 7  # each file once
    asked = len(hub.log)
    assert load(hub, tmp_path, *names) == first and len(hub.log) == asked
    assert load(None, tmp_path, *names, HF_HUB_OFFLINE="1") == first


def test_a_revision_is_another_dataset(hub, tmp_path):
    names = [f"hub:ylecun/mnist@{revision}" for revision in ("main", "older", commit_of("older"), "never")]
    main, older, commit, never = load(hub, tmp_path, *names)
    np.testing.assert_array_equal(older["x"], 255 - np.array(main["x"]))
    assert commit == older and "the hub does not give it (RevisionNotFound" in never


def test_rows_that_come_in_one_part_have_a_fifth_drawn(hub, tmp_path):
    rows, pinned = load(hub, tmp_path, "hub:org/rows", "hub:org/rows@refs/convert/parquet")
    assert rows == pinned and rows["test"] == [8, 2] and len(rows["x"]) == 32
    kept = np.array(rows["x"])
    np.testing.assert_allclose([kept.mean(0), kept.std(0)], [[0, 0], [1, 1]], atol=1e-5)
    labels = np.array(rows["y"])  # those of a row that was wider than 5, so they still stand beside their rows
    assert kept[labels == 0, 0].max() < kept[labels == 1, 0].min()


def test_what_the_hub_does_not_hold_is_named(hub, tmp_path):
    names = ["hub:org/absent", "hub:org/none", "hub:org/two", "hub:org/two/middle", "hub:org/halves", "hub:org/gap"]
    absent, none, two, middle, halves, gap, *_ = load(hub, tmp_path, *names)
    assert "'hub:org/absent': the hub does not give it (RepositoryNotFoundError" in absent
    assert "neither the main branch nor refs/convert/parquet holds any Parquet files" in none
    assert "name one of its parts ['left', 'right'], such as hub:org/two/left" in two and two[20:] != middle[20:]
    assert "has the splits ['a', 'test']; it needs train and test" in halves
    assert "numbers [0] are missing" in gap
    part, offline = load(hub, tmp_path, "hub:org/two/left"), load(None, tmp_path, "hub:org/two/right")
    assert part[0]["n"] == 2 and "Check the name, the network" in offline[0]


def test_files_fetched_by_other_tools_serve_without_the_hub(hub, tmp_path):
    fetch = "import json, huggingface_hub as h\n" + "".join(
        f"h.snapshot_download({name!r}, repo_type='dataset', revision={revision!r})\n"
        for name, revision in (("ylecun/mnist", "main"), ("org/rows", "refs/convert/parquet"))
    )
    run_client(hub, tmp_path, fetch + "print(0)")
    mnist, rows = load(None, tmp_path, "hub:ylecun/mnist", "hub:org/rows", HF_HUB_OFFLINE="1")
    np.testing.assert_array_equal(mnist["x"], DIGITS[:24, None])
    assert "the hub cannot be asked for more" in rows  # a test part may not have been fetched


def test_a_damaged_copy_is_made_again(hub, tmp_path):
    first = load(hub, tmp_path, "hub:ylecun/mnist")
    (kept,) = tmp_path.glob("assets/weightspace/**/*.npz")
    kept.write_bytes(kept.read_bytes()[:-200])
    assert load(hub, tmp_path, "hub:ylecun/mnist") == first


@pytest.mark.parametrize("name", ["hub:mnist", "hub:a/../b", "hub:org/n@../x", "hub:/etc/passwd", "hub:a/b/c/d"])
def test_other_spellings_are_refused(name):
    with pytest.raises(DataError, match="write hub:org/name"):
        parse_hub_name(name)


def png_of(width, height):
    """A PNG that says how large it is and holds nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def images_of(*files, label=0):
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [{"bytes": file, "path": "x.png"} for file in files]
    return write_table({"image": pa.array(cells, kind), "label": pa.array([label] * len(files), pa.int64())})


GOOD = encode(DIGITS[0])
GIF = encode(DIGITS[0], "GIF")


@pytest.mark.parametrize(
    "content, text",
    [
        (b"PAR1 no Parquet PAR1", "no readable Parquet file"),
        (write_images(DIGITS)[:-30], "no readable Parquet file"),
        (images_of(GOOD, png_of(12_000, 12_000)), "image 1 cannot be decoded.*DecompressionBomb"),
        (images_of(GOOD, png_of(60_000, 60_000)), "image 1 cannot be decoded.*DecompressionBomb"),
        (images_of(png_of(2000, 2000)), "image 0 is 2000x2000 of mode L"),
        (images_of(GOOD, GOOD[:100]), "image 1 cannot be decoded"),
        (images_of(GOOD, GIF), "image 1 cannot be decoded.*UnidentifiedImageError"),
        (images_of(GOOD, encode(DIGITS[0, :27])), r"image 1 is \(28, 27, 'L'\), the first one \(28, 28, 'L'\)"),
        (images_of(GOOD, encode(PHOTOS[0, :28, :28])), r"image 1 is \(28, 28, 'RGB'\)"),
        (images_of(encode(DIGITS[0].astype(np.uint16))), "of mode I;16"),
        (images_of(GOOD, None), "image 1 is not in the file"),
        (images_of(GOOD, label=None), "'label' is int64 with 1 empty"),
        (images_of(), "0 rows"),
        (write_table({"image": [1.0], "name": ["x"]}), "no column of whole numbers"),
        (write_table({"label": [1, None], "a": [1.0, 2.0]}), "'label' is int64 with 1 empty"),
        (write_table({"label": [1], "a": [1.0], "b": ["x"]}), r"columns \['b'\] hold neither numbers"),
        (write_table({"label": [1]}), r"columns \[\] hold neither numbers"),
    ],
)
def test_hostile_files_are_named(tmp_path, content, text):
    path = tmp_path / "train.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"dataset 'hub:a/b'.*{text}"):
        read_arrays("hub:a/b", [path], [])


def test_bytes_changed_inside_a_file_are_named(tmp_path):
    good = tmp_path / "train.parquet"
    good.write_bytes(write_images(DIGITS))
    read_arrays("hub:a/b", [good], [])
    content = bytearray(good.read_bytes())
    content[4:400] = bytes(396)
    good.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.parquet"):
        read_arrays("hub:a/b", [good], [])


def test_many_rows_out_of_few_bytes_are_refused(tmp_path):
    path = tmp_path / "train.parquet"
    rows = 200_000
    wide = {f"c{i}": pa.array(np.zeros(rows, np.int8)) for i in range(60)}
    pq.write_table(pa.table(wide | {"label": np.zeros(rows, np.int64)}), path)
    small = path.stat().st_size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weightspace.zoo.parquet_data.BYTES", rows * 4 * 59)
        with pytest.raises(DataError, match="200000 rows; too few or too many"):
            read_arrays("hub:a/b", [path], [])
    assert small < rows


def test_splits_that_differ_are_named(tmp_path):
    train, test = tmp_path / "train.parquet", tmp_path / "test.parquet"
    train.write_bytes(write_images(DIGITS[:3]))
    test.write_bytes(write_rows(ROWS))
    with pytest.raises(DataError, match=r"test\.parquet: has no columns \['label', 'image'\]"):
        read_arrays("hub:a/b", [train], [test])
    other = pa.table({"image": ["x"], "label": [0]})
    pq.write_table(other, test)
    with pytest.raises(DataError, match=r"test\.parquet: column 'image' is string, not encoded images"):
        read_arrays("hub:a/b", [train], [test])
