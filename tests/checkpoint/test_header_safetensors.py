"""Headers: what honest files say is believed, whatever contradicts itself is not."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from weightspace.checkpoint.header_safetensors import parse_safetensors_header, read_safetensors_header
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, WeightspaceError

GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def file_of(header, data=bytes(8), length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def parse(content):
    return parse_safetensors_header(lambda start, stop: content[start:stop], len(content), "file")


def test_the_header_says_what_the_library_wrote(tmp_path):
    tensors = {
        "half": torch.zeros(2, 3, dtype=torch.bfloat16),
        "eighth": torch.zeros(5).to(torch.float8_e4m3fn),
        "none": torch.zeros(0, 4),
        "scalar": torch.tensor(3),
        "yes": torch.ones(3, dtype=torch.bool),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"key": "value"})

    header = read_safetensors_header(tmp_path / "x.safetensors")

    assert {name: (info.dtype, info.shape) for name, info in header.tensors.items()} == {
        "half": ("BF16", (2, 3)),
        "eighth": ("F8_E4M3", (5,)),
        "none": ("F32", (0, 4)),
        "scalar": ("I64", ()),
        "yes": ("BOOL", (3,)),
    }
    assert dict(header.metadata) == {"key": "value"}


LIES = {
    "ends within the length": (b"abc", "too few"),
    "length of 2**60": (file_of(GOOD, length=2**60), "claims 1152921504606846976 bytes"),
    "header longer than the file": (file_of(GOOD, length=999), "claims 999 bytes"),
    "not JSON": (file_of(b"{'a': 1}"), "not JSON"),
    "a list": (file_of(b"[1, 2]"), "a list, not an object"),
    "nested too deep": (file_of(b'{"a":' + b"[" * 100_000), "not JSON"),
    "a number too long": (file_of(b'{"a":' + b"1" * 10_000 + b"}"), "not JSON"),
    "a name twice": (file_of(b'{"a":1,"a":2}'), "'a' stands twice"),
    "a key twice": (file_of(b'{"a":{"dtype":"F32","dtype":"F64"}}'), "'dtype' stands twice"),
    "a name that is not UTF-8": (file_of(b'{"\xff\xfe":{}}'), "not UTF-8"),
    "half a surrogate pair": (file_of(b'{"\\ud800":{}}'), "not UTF-8"),
    "metadata that is no text": (file_of({"__metadata__": {"epoch": 3}}, b""), "text by key"),
    "no offsets": (file_of({"a": {"dtype": "F32", "shape": [2]}}), "tensor 'a'.*data_offsets"),
    "unknown dtype": (file_of({"a": {**GOOD["a"], "dtype": "F33"}}), "'F33' is not known"),
    "negative size": (file_of({"a": {**GOOD["a"], "shape": [-2]}}), "no tensor has the shape"),
    "a size that is no whole number": (file_of({"a": {**GOOD["a"], "shape": [2.0]}}), "no tensor has the shape"),
    "a size that is true": (file_of({"a": {**GOOD["a"], "shape": [True, 2]}}), "no tensor has the shape"),
    "2**80 numbers": (file_of({"a": {**GOOD["a"], "shape": [2**40, 2**40]}}), "no tensor has the shape"),
    "2**80 numbers beside a zero": (
        file_of({"a": {"dtype": "F32", "shape": [2**40, 2**40, 0], "data_offsets": [0, 0]}}, b""),
        "no tensor has the shape",
    ),
    "65 dimensions": (file_of({"a": {**GOOD["a"], "shape": [1] * 64 + [2]}}), "no tensor has the shape"),
    "shape against size": (file_of({"a": {**GOOD["a"], "shape": [3]}}), "takes 12 bytes, the header gives it 8"),
    "dtype against size": (file_of({"a": {**GOOD["a"], "dtype": "F64"}}), "takes 16 bytes"),
    "offsets backwards": (file_of({"a": {**GOOD["a"], "data_offsets": [8, 0]}}), "gives it -8"),
    "overlap": (file_of({**GOOD, "b": {**GOOD["a"], "data_offsets": [4, 12]}}, bytes(12)), "'b'.*overlaps"),
    "the same bytes twice": (file_of({**GOOD, "b": GOOD["a"]}), "'b'.*overlaps"),
    "a hole": (file_of({**GOOD, "b": {**GOOD["a"], "data_offsets": [12, 20]}}, bytes(20)), "hole of 4 bytes"),
    "truncated data": (file_of(GOOD, bytes(7)), "truncated"),
    "more data than tensors": (file_of(GOOD, bytes(9)), "belong to no tensor"),
}


@pytest.mark.parametrize("content, said", LIES.values(), ids=LIES.keys())
def test_a_lying_file_is_refused_by_name(content, said, tmp_path):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=said) as caught:
        load_checkpoint(path)

    assert str(path) in str(caught.value)


ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F4", "U8", "BOOL", "F16"]) | st.text(max_size=3) | st.none(),
        "shape": st.lists(st.integers(-1, 4) | st.integers(2**62, 2**65), max_size=3) | st.none(),
        "data_offsets": st.lists(st.integers(-1, 40) | st.floats(), max_size=3),
    }
)


@settings(deadline=None, derandomize=True)
@given(header=st.dictionaries(st.text(max_size=3), ENTRY | st.integers(), max_size=3), data=st.binary(max_size=40))
def test_no_header_raises_anything_but_our_errors(header, data):
    try:
        found = parse(file_of(header, data))
    except WeightspaceError:
        return
    assert sum(info.size * (4 if info.dtype == "F32" else 1) for info in found.tensors.values()) <= 8 * len(data) + 8


@settings(deadline=None, derandomize=True)
@given(place=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 260))
def test_no_damage_raises_anything_but_our_errors(place, byte, cut, tmp_path_factory):
    content = bytearray(save({"a.weight": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.int64)}))
    content[place % len(content)] = byte
    path = tmp_path_factory.mktemp("damaged") / "x.safetensors"
    path.write_bytes(content[: len(content) - cut % 3])
    try:
        load_checkpoint(path)
    except WeightspaceError as error:
        assert str(path) in str(error)


def test_reading_a_header_imports_no_torch(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(2)}, path)
    program = (
        "import sys; from weightspace.checkpoint.load import read_header; "
        "from weightspace.checkpoint.find import find_checkpoints; "
        f"print(read_header(find_checkpoints([{str(tmp_path)!r}])[0]).weights, "
        "[name for name in ('torch', 'numpy', 'huggingface_hub') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "2 []"
