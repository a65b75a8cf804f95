import io
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from weightspace.errors import DataError
from weightspace.zoo.control import push_cart
from weightspace.zoo.data import SKLEARN, load_dataset
from weightspace.zoo.plan import make_task
from weightspace.zoo.recipe import parse_recipe
from weightspace.zoo.text import CHARACTERS, encode_text, spell_number, write_sums


@pytest.mark.parametrize("name", SKLEARN)
def test_rows_of_scikit_learn_are_split_once(name):
    data = load_dataset(name)
    assert len(data.x_test) == (len(data.x) + len(data.x_test)) // 5
    assert set(data.y.tolist()) == set(range(data.outputs))
    if data.x.ndim == 2:
        torch.testing.assert_close(data.x.mean(0), torch.zeros(data.x.shape[1]), atol=1e-4, rtol=0)


def write_arrays(folder, name, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (20, 1, 5, 5)).astype(np.uint8),
        "y_train": np.arange(20) % 3,
        "x_test": rng.integers(0, 256, (6, 1, 5, 5)).astype(np.uint8),
        "y_test": np.arange(6) % 3,
    } | changes
    np.savez(folder / f"{name}.npz", **arrays)
    return arrays


def test_images_span_minus_one_to_one(tmp_path):
    arrays = write_arrays(tmp_path, "a")
    data = load_dataset("a", str(tmp_path))
    np.testing.assert_allclose(data.x.numpy(), arrays["x_train"] / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"x_train": np.zeros((20, 25), np.uint8)}, r"x_train is uint8 \(20, 25\); images must be uint8"),
        ({"x_test": np.zeros((6, 1, 5, 5))}, "x_test is float64"),
        ({"y_train": np.arange(19) % 3}, "20 train inputs but 19 labels"),
        ({"y_test": np.array([0, 1, 2, 3, 0, 1])}, "test labels run from 0 to 3; they must lie in 0 .. 2"),
        ({"y_train": np.arange(20) - 1}, "labels run from -1"),
        ({"y_train": np.where(np.arange(20) == 3, 57, np.arange(20) % 3)}, "run to 57, but class 3 has no example"),
        ({"y_train": np.arange(20) % 3 + 0.5}, r"y_train is float64 \(20,\); labels must be whole"),
        ({"y_train": np.eye(20, 3, dtype=int)}, r"y_train is int64 \(20, 3\); labels must be whole"),
        ({"y_test": np.array(["a"] * 6)}, "y_test is <U1"),
        ({"y_train": np.full(20, 2**63, np.uint64)}, "holds the label 9223372036854775808"),
        ({"x_test": np.zeros((6, 1, 5, 6), np.uint8)}, r"train inputs are \(1, 5, 5\), test inputs \(1, 5, 6\)"),
    ],
)
def test_wrong_arrays_are_named(changes, text, tmp_path):
    write_arrays(tmp_path, "wrong", **changes)
    with pytest.raises(DataError, match=f"'wrong'.*{text}"):
        load_dataset("wrong", str(tmp_path))


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"y": np.arange(20) % 3 * 2}, "run to 4, but class 1 has no example"),
        ({"y": np.arange(20) % 3 / 2}, "y is float64"),
        ({"y": np.arange(19) % 3}, "do not fit together"),
        ({"x": np.array([["a", "b"]] * 20)}, "x is <U1"),
        ({"x": np.zeros((20, 0))}, r"x is float64 \(20, 0\)"),
        ({"x": np.full((20, 2), np.nan)}, "not finite"),
        ({"is_test": np.arange(20) % 4}, "is_test int64; .* is_test bool"),
        ({"is_test": np.zeros(20, bool)}, "0 of 20 rows are to test on"),
    ],
)
def test_wrong_rows_are_named(changes, text, tmp_path):
    arrays = {"x": np.arange(40.0).reshape(20, 2), "y": np.arange(20) % 3, "is_test": np.arange(20) % 4 == 0}
    np.savez(tmp_path / "wrong.npz", **{f"s/{key}": value for key, value in (arrays | changes).items()})
    with pytest.raises(DataError, match=f"'wrong/s'.*{text}"):
        load_dataset("wrong/s", str(tmp_path))


def test_a_missing_file_array_or_damaged_file_is_named(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"no file {tmp_path / 'none.npz'}")):
        load_dataset("none", str(tmp_path))
    np.savez(tmp_path / "part.npz", x_train=np.zeros(3))
    with pytest.raises(DataError, match=r"dataset 'part': holds no array y_train; it has \['x_train'\]"):
        load_dataset("part", str(tmp_path))
    (tmp_path / "junk.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(DataError, match=r"junk\.npz"):
        load_dataset("junk", str(tmp_path))


def test_jpeg_files_laid_end_to_end_are_decoded(tmp_path):
    files, colours = [], [(200, 30, 90), (10, 250, 40), (0, 0, 255)]
    for colour in colours:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(buffer, "JPEG", quality=95)
        files.append(buffer.getvalue())
    both = {}
    for split in ("train", "test"):
        both |= {f"jpeg_{split}": np.frombuffer(b"".join(files), np.uint8), f"y_{split}": np.arange(3)}
        both |= {f"offset_{split}": np.cumsum([0, *map(len, files)])}
    np.savez(tmp_path / "jpeg.npz", **both)
    colour = load_dataset("jpeg", str(tmp_path)).x.mean((2, 3))
    torch.testing.assert_close((colour + 1) * 127.5, torch.tensor(colours).float(), atol=4, rtol=0)
    grey = (load_dataset("jpeg+grey", str(tmp_path)).x.mean((1, 2, 3)) + 1) * 127.5
    luma = torch.tensor(colours).float() @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(grey, luma, atol=4, rtol=0)


def test_tabular_sets_keep_their_own_split(tmp_path):
    x, test = np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10) % 5 == 0
    np.savez(tmp_path / "tabular.npz", **{"s/x": x, "s/y": np.arange(10) % 2, "s/is_test": test, "t/x": x})
    data = load_dataset("tabular/s", str(tmp_path))
    assert len(data.x) == 8 and len(data.x_test) == 2
    torch.testing.assert_close(data.x.std(0, correction=0), torch.ones(2))


def test_the_real_sets_have_their_known_counts(shared_datasets):
    mnist, grey = load_dataset("mnist", str(shared_datasets)), load_dataset("tabular/vowel", str(shared_datasets))
    assert (len(mnist.x), len(mnist.x_test), mnist.outputs) == (60_000, 10_000, 10)
    assert ((mnist.x.mean() + 1) * 127.5).item() == pytest.approx(33.32, abs=0.01)
    assert (len(grey.x) + len(grey.x_test), grey.outputs) == (990, 11)


def test_sums_are_true_and_spelled():
    text = write_sums(2000)
    assert spell_number(100) == "one hundred" and spell_number(71) == "seventy-one"
    words = {spell_number(i): i for i in range(200)}
    for line in text.strip().split("\n")[:50]:
        left, right = re.split(" is | leaves ", line.rstrip("."))
        a, sign, b = re.split(" (plus|less) ", left)
        assert words[right] == words[a] + (1 if sign == "plus" else -1) * words[b]
    assert "".join(CHARACTERS[i] for i in encode_text(text).tolist()) == text
    data = load_dataset("sums")
    assert torch.equal(data.x[:, 1:], data.y[:, :-1])


def test_fractions_nest_and_epochs_see_each_example_once():
    def task_of(fraction):
        sample = {"dataset": "digits", "train_fraction": fraction}
        recipe = parse_recipe(
            {"name": "a", "family": "mlp", "runs": 1, "snapshots": [1], "sample": sample, "batch_size": 8}
        )
        return make_task(recipe, [recipe.draw_run(0)], data_dir=None, device="cpu")

    small, large = task_of(0.1), task_of(0.5)
    assert set(small.subset.tolist()) < set(large.subset.tolist())
    seen = torch.cat([small._indices(step) for step in range(small.steps_per_epoch)]).tolist()
    assert len(seen) == len(set(seen)) and set(seen) <= set(small.subset.tolist())


def test_a_balanced_pole_falls_the_way_it_leans():
    leaning = torch.tensor([[0.0, 0.0, 0.05, 0.0], [0.0, 0.0, -0.05, 0.0]], dtype=torch.float64)
    after, _ = push_cart(leaning, torch.tensor([0, 1]))
    torch.testing.assert_close(after[0], -after[1])  # mirror images
    for _ in range(200):
        leaning, fell = push_cart(leaning, torch.tensor([0, 1]))
    assert fell.all()
    # one push from rest by hand: 10 / 1.1 m/s^2, turn = -push / (0.5 (4/3 - 0.1/1.1))
    still, _ = push_cart(torch.zeros(1, 4, dtype=torch.float64), torch.tensor([1]))
    turn = -(10 / 1.1) / (0.5 * (4 / 3 - 0.1 / 1.1))
    assert still[0, 3].item() == pytest.approx(0.02 * turn)
    assert still[0, 1].item() == pytest.approx(0.02 * (10 / 1.1 - 0.05 * turn / 1.1))


def test_grey_is_pillows_for_plain_images_too(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 3, 5, 5)).astype(np.uint8)
    write_arrays(tmp_path, "colour", x_train=x, x_test=x[:6])
    write_arrays(tmp_path, "pair", x_train=x[:, :2], x_test=x[:6, :2])
    luma = np.stack([np.asarray(Image.fromarray(one.transpose(1, 2, 0)).convert("L"))[None] for one in x])
    found = load_dataset("colour+grey", str(tmp_path)).x
    assert torch.equal(found, torch.from_numpy(luma).float() / 127.5 - 1)
    with pytest.raises(DataError, match="2 channels cannot be made grey"):
        load_dataset("pair+grey", str(tmp_path))
    with pytest.raises(DataError, match="'gray' is no known change"):
        load_dataset("colour+gray", str(tmp_path))
    np.savez(tmp_path / "rows.npz", x=np.ones((10, 2), np.float32), y=np.arange(10) % 2)
    with pytest.raises(DataError, match="only images can be made grey"):
        load_dataset("rows+grey", str(tmp_path))


def test_a_set_in_one_part_has_a_fifth_drawn_to_test_on(tmp_path):
    x = np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(4, 2).repeat(4, 3)
    np.savez(tmp_path / "one.npz", x=x, y=np.arange(20) % 4)
    data = load_dataset("one", str(tmp_path))
    both = torch.cat([data.x, data.x_test])[:, 0, 0, 0]
    assert len(data.x_test) == 4 and set(((both + 1) * 127.5).round().int().tolist()) == set(range(20))
    torch.testing.assert_close(((data.x_test[:, 0, 0, 0] + 1) * 127.5).round().long() % 4, data.y_test)


def test_jpeg_files_without_pillow_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    np.savez(tmp_path / "jpeg.npz", jpeg_train=np.zeros(9, np.uint8), offset_train=[0, 9], y_train=[0], y_test=[0])
    with pytest.raises(DataError, match=r"needs Pillow: pip install 'weightspace\[images\]'"):
        load_dataset("jpeg", str(tmp_path))


def test_every_file_of_the_data_folder_reads(shared_datasets):
    names = [path.stem for path in shared_datasets.glob("*.npz")]
    with np.load(shared_datasets / "tabular.npz") as arrays:
        rows = {f"tabular/{key.partition('/')[0]}" for key in arrays}
    plain = [name for name in names if name not in ("tabular", "cifar10_jpeg")]
    found = {name: load_dataset(name, str(shared_datasets)).signature for name in [*plain, *sorted(rows)]}
    assert len(rows) == 30 and found["omniglot_small"].outputs == 242
    assert found["usps"].inputs == (1, 16, 16) and found["tabular/spambase"].inputs == (57,)
    load_dataset.cache_clear()


@pytest.mark.slow
def test_real_jpeg_files_read_in_both_colours(shared_datasets):
    colour = load_dataset("cifar10_jpeg", str(shared_datasets))
    means = (colour.x.mean((0, 2, 3)) + 1) / 2
    torch.testing.assert_close(means, torch.tensor([0.491, 0.482, 0.447]), atol=2e-3, rtol=0)
    grey = load_dataset("cifar10_jpeg+grey", str(shared_datasets))
    luma = torch.tensordot(colour.x, torch.tensor([0.299, 0.587, 0.114]), dims=([1], [0]))
    torch.testing.assert_close(grey.x[:, 0], luma, atol=0.51 / 127.5, rtol=0)
    load_dataset.cache_clear()
