"""ONNX: initialisers and constants as the network uses them."""

import numpy as np
import pytest
import torch

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, UnsafeCheckpointError

onnx = pytest.importorskip("onnx", reason="the extra 'formats' is not installed")
helper, numpy_helper, Proto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def model(path, initialisers, nodes=()):
    made = [
        numpy_helper.from_array(array, name) if isinstance(array, np.ndarray) else array
        for name, array in initialisers.items()
    ]
    out = helper.make_tensor_value_info("out", Proto.FLOAT, None)
    onnx.save(helper.make_model(helper.make_graph(list(nodes), "g", [], [out], made)), str(path))
    return path


def test_weights_are_read_and_shapes_left_out(tmp_path):
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(KERNEL[0]))
    path = model(
        tmp_path / "x.onnx", {"w": KERNEL, "d": KERNEL.astype(np.float64), "shape": np.array([1, -1])}, [constant]
    )
    found = load_checkpoint(path)
    assert set(found.tensors) == {"w", "d", "c"} and list(found.left_out) == ["shape"]
    assert np.array_equal(found.tensors["w"].numpy(), KERNEL) and found.tensors["d"].dtype == torch.float64
    assert found.tensors["c"].tolist() == [0, 1, 2]


def test_bfloat16_keeps_its_numbers(tmp_path):
    path = model(tmp_path / "x.onnx", {"b": helper.make_tensor("b", Proto.BFLOAT16, [2], [1.5, -0.25])})
    found = load_checkpoint(path).tensors["b"]
    assert found.dtype == torch.bfloat16 and found.tolist() == [1.5, -0.25]


def test_int8_is_scaled_back_by_channel(tmp_path):
    parts = {
        "q": np.array([[1, 2], [3, 4]], np.int8),
        "s": np.array([0.5, 2.0], np.float32),
        "z": np.array([1, 0], np.int8),
    }
    node = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0)
    found = load_checkpoint(model(tmp_path / "x.onnx", parts, [node]))
    assert found.tensors["q"].tolist() == [[0.0, 0.5], [6.0, 8.0]]


@pytest.mark.parametrize("place", ["../weights.bin", "/weights.bin"])
def test_weights_outside_the_folder_are_refused(place, tmp_path):
    proto = numpy_helper.from_array(KERNEL, "w")
    proto.ClearField("raw_data")
    proto.data_location = Proto.EXTERNAL
    proto.external_data.add(key="location", value=place)
    with pytest.raises(UnsafeCheckpointError, match=r"'w' lies in"):
        load_checkpoint(model(tmp_path / "x.onnx", {"w": proto}))


def test_weights_that_do_not_fit_their_shape_are_named(tmp_path):
    proto = numpy_helper.from_array(KERNEL, "w")
    proto.dims[0] = 2**40
    with pytest.raises(CheckpointError, match=r"'w' cannot be read"):
        load_checkpoint(model(tmp_path / "x.onnx", {"w": proto}))


def test_a_name_twice_is_refused(tmp_path):
    first, second = numpy_helper.from_array(KERNEL, "w"), numpy_helper.from_array(KERNEL, "w")
    with pytest.raises(CheckpointError, match="'w' stands twice"):
        load_checkpoint(model(tmp_path / "x.onnx", {"w": first, "again": second}))


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    path = model(tmp_path / "x.onnx", {"name": numpy_helper.from_array(KERNEL, "name")})
    path.write_bytes(path.read_bytes().replace(b"name", b"na\xff\xfe"))
    with pytest.raises(CheckpointError, match=r"not UTF-8|not a readable"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"no model", b"", b"\x08\x07:\xff\xff\xff\x0f"])
def test_another_file_is_refused(content, tmp_path):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x.onnx: (not a readable|no weights)"):
        load_checkpoint(tmp_path / "x.onnx")
