#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small ONNX files beside it: sound networks (tiny.onnx, every_pixel.onnx, huge.onnx and parts.onnx), networks with
weights in other files, and networks with one thing wrong each, which test_import.c expects to be refused. Needs numpy and onnx; the files are
committed, so only who changes this script runs it."""

import pathlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(1)


def floats(name, *shape):
    return numpy_helper.from_array(RANDOM.standard_normal(shape).astype(np.float32), name)


def ints(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), name=f"the_{kind}", **attributes)


def port(name, *shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, list(shape))


def write(name, nodes, constants, inputs=None, outputs=None, opset=17, ir=8):
    graph = helper.make_graph(nodes, "g", inputs or [port("x", 1, 2, 4, 4)], outputs or [port("y", "n", "c")], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="")
    model.ir_version = ir
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())


def sound():
    nodes = [node("Conv", "x w b", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             node("BatchNormalization", "c s t m v", "n"), node("Relu", "n", "r"),
             helper.make_node("Conv", ["r", "w2"], ["c2"], name="second"), node("Add", "c2 r", "a"),
             node("Clip", "a lo hi", "k"), node("GlobalAveragePool", "k", "p"), node("Flatten", "p", "f"),
             node("Gemm", "f g h", "y", transB=1)]
    constants = [floats("w", 8, 2, 3, 3), floats("b", 8), floats("s", 8), floats("t", 8), floats("m", 8),
                 numpy_helper.from_array(np.full(8, 1.5, np.float32), "v"), floats("w2", 8, 8, 1, 1),
                 numpy_helper.from_array(np.float32(0), "lo"), numpy_helper.from_array(np.float32(6), "hi"),
                 floats("g", 3, 8), floats("h", 3)]
    write("tiny", nodes, constants, inputs=[port("x", "n", 2, "h", "w")])
    write("every_pixel", [node("Flatten", "x", "y")], [], inputs=[port("x", "n", 2, "h", "w")])


def huge():
    """Less than a thousand bytes that ask for 120 GB: fourteen maps of 8 GiB, all alive at once."""
    nodes = [node("Relu", "x", "a0")] + [node("Sigmoid", f"a{i - 1}", f"a{i}") for i in range(1, 14)]
    nodes += [node("Add", f"{'a13' if i == 12 else f's{i + 1}'} a{i}", f"s{i}") for i in range(12, -1, -1)]
    nodes += [node("GlobalAveragePool", "s0", "p"), node("Flatten", "p", "y")]
    write("huge", nodes, [], inputs=[port("x", 1, 8, 16384, 16383)])


def parts():
    """Few nodes and many values."""
    names = " ".join(f"p{i}" for i in range(48))
    nodes = [node("Split", "x", names, axis=1, num_outputs=48), node("Concat", names, "c", axis=1),
             node("GlobalAveragePool", "c", "g"), node("Flatten", "g", "y")]
    write("parts", nodes, [], inputs=[port("x", 1, 48, 2, 2)], opset=18)


def late():
    """Weights of 65,664 bytes behind the only early tap, in a file that test_packed.c writes."""
    tail = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[228, 8, 3, 3], data_location=TensorProto.EXTERNAL)
    tail.external_data.add(key="location", value="tail.bin")
    nodes = [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("Conv", "r t", "d"),
             node("Relu", "d", "e"), node("GlobalAveragePool", "e", "p"), node("Flatten", "p", "f"),
             node("Gemm", "f g h", "y", transB=1)]
    write("late", nodes, [floats("w", 8, 2, 3, 3), tail, floats("g", 3, 228), floats("h", 3)],
          inputs=[port("x", 1, 2, 12, 12)])


def external(name, location, offset="0", length="16"):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2, 1, 1],
                         data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    write(name, [node("Conv", "x w", "y")], [tensor])


def externals():
    (FOLDER / "weights.bin").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    external("external", "weights.bin", "16", "16")
    external("external_defaults", "weights.bin", None, None)
    external("bad_external_parent", "../data/weights.bin")
    external("bad_external_absolute", "/etc/passwd")
    external("bad_external_missing", "nowhere.bin")
    external("bad_external_short", "weights.bin", "20")
    external("bad_external_overflow", "weights.bin", "18446744073709551615")
    external("bad_external_number", "weights.bin", "-4")
    external("bad_external_length", "weights.bin", "0", "12")
    external("bad_external_nameless", "")


def wrong():
    w = floats("w", 3, 2, 3, 3)
    conv = node("Conv", "x w", "y")
    write("bad_operator", [node("Einsum", "x", "y")], [])
    write("bad_domain", [helper.make_node("Relu", ["x"], ["y"], name="far", domain="com.example")], [])
    write("bad_attribute", [node("Conv", "x w", "y", colour=1)], [w])
    write("bad_attribute_value", [node("Conv", "x w", "y", group=0)], [w])
    write("bad_kernel", [node("Conv", "x w", "y", kernel_shape=[2, 2])], [w])
    write("bad_kernel_rank", [node("Conv", "x w", "y", kernel_shape=[3])], [w])
    write("bad_stride", [node("Conv", "x w", "y", strides=[0, 1])], [w])
    write("bad_huge_stride", [node("Conv", "x w", "y", strides=[2**40, 1])], [w])
    write("bad_pads", [node("Conv", "x w", "y", pads=[-1, 0, 0, 0])], [w])
    write("bad_huge_pads", [node("Conv", "x w", "y", pads=[2**62, 0, 2**62, 0])], [w])
    write("bad_dilation", [node("Conv", "x w", "y", dilations=[65535, 1])], [w])
    write("bad_groups", [node("Conv", "x w", "y", group=3)], [w])
    write("bad_bias", [node("Conv", "x w b", "y")], [w, floats("b", 4)])
    write("bad_arity", [node("Conv", "x", "y")], [w])
    write("bad_window", [node("MaxPool", "x", "y", kernel_shape=[5, 5])], [])
    write("bad_pool_pads", [node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[2, 2, 2, 2])], [])
    write("bad_pool_kernel", [node("MaxPool", "x", "y")], [])
    write("bad_cycle", [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Flatten", "b", "y")], [])
    write("bad_undefined", [node("Relu", "ghost", "y")], [])
    write("bad_duplicate", [node("Relu", "x", "y"), node("Tanh", "x", "y")], [])
    write("bad_duplicate_constant", [conv], [w, w])
    write("bad_output", [node("Relu", "x", "z")], [])
    write("bad_output_is_input", [node("Relu", "x", "z")], [], outputs=[port("x", 1, 2, 4, 4)])
    write("bad_output_is_constant", [node("Relu", "x", "z")], [w], outputs=[port("w", 3, 2, 3, 3)])
    write("bad_two_outputs", [node("Relu", "x", "y"), node("Tanh", "x", "z")], [], outputs=[port("y", 1), port("z", 1)])
    write("bad_two_inputs", [node("Add", "x z", "y")], [], inputs=[port("x", 1, 2, 4, 4), port("z", 1, 2, 4, 4)])
    write("bad_no_input", [conv], [w, floats("x", 1, 2, 4, 4)])
    write("bad_input_rank", [node("Relu", "x", "y")], [], inputs=[port("x", 1, 2, 4)])
    write("bad_input_type", [node("Relu", "x", "y")], [], inputs=[port("x", 1, 2, 4, 4, kind=TensorProto.INT64)])
    write("bad_input_zero", [node("Relu", "x", "y")], [], inputs=[port("x", 1, 0, 4, 4)])
    write("bad_input_channels", [node("Relu", "x", "y")], [], inputs=[port("x", 1, "c", 4, 4)])
    write("bad_input_huge", [node("Relu", "x", "y")], [], inputs=[port("x", 1, 2**30, 2**30, 2**30)])
    write("bad_opset_old", [conv], [w], opset=8)
    write("bad_opset_new", [conv], [w], opset=99)
    write("bad_ir", [conv], [w], ir=99)
    write("bad_nan", [conv], [numpy_helper.from_array(np.full((3, 2, 3, 3), np.nan, np.float32), "w")])
    write("bad_infinite", [conv], [numpy_helper.from_array(np.full((3, 2, 3, 3), np.inf, np.float32), "w")])
    write("bad_half", [conv], [numpy_helper.from_array(np.zeros((3, 2, 3, 3), np.float16), "w")])
    short = floats("w", 3, 2, 3, 3)
    short.raw_data = short.raw_data[:-1]
    write("bad_size", [conv], [short])
    typed = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2, 3, 3], float_data=[1, 2, 3])
    write("bad_typed_size", [conv], [typed])
    mixed = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], float_data=[1, 2], int64_data=[3, 4])
    write("bad_mixed", [node("Add", "x w", "y")], [mixed])
    huge = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**40, 2**40, 2**40, 2**40], raw_data=b"1234")
    write("bad_overflow", [conv], [huge])
    negative = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1, 2, 3, 3], raw_data=b"1234")
    write("bad_negative", [conv], [negative])
    write("bad_rank", [conv], [TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1] * 9, raw_data=b"1234")])
    write("bad_computed_weights", [node("Conv", "x x", "y")], [])
    write("bad_gemm", [node("Flatten", "x", "f"), node("Gemm", "f w", "y")], [floats("w", 31, 3)])
    write("bad_sum", [node("Sum", "x w x", "y")], [floats("w", 3, 1, 1)])
    write("bad_broadcast", [node("Add", "x w", "y")], [floats("w", 3, 1, 1)])
    write("bad_reshape", [node("Reshape", "x t", "y")], [ints("t", 1, 33)])
    write("bad_reshape_twice", [node("Reshape", "x t", "y")], [ints("t", -1, -1)])
    write("bad_reshape_computed", [node("Cast", "x", "t", to=TensorProto.INT64), node("Reshape", "x t", "y")], [])
    write("bad_axis", [node("Concat", "x x", "y", axis=4)], [])
    write("bad_order", [node("Transpose", "x", "y", perm=[0, 1, 1, 3])], [])
    write("bad_split", [node("Split", "x s", "y z", axis=1)], [ints("s", 1, 2)])
    write("bad_slice_step", [node("Slice", "x a b c d", "y")], [ints(n, v) for n, v in zip("abcd", (0, 1, 1, 0))])
    write("bad_slice_empty", [node("Slice", "x a b c", "y")], [ints(n, v) for n, v in zip("abc", (2, 1, 2))])
    write("bad_pad_mode", [node("Pad", "x p", "y", mode="reflect")], [ints("p", *[0] * 8)])
    write("bad_pad_negative", [node("Pad", "x p", "y")], [ints("p", 0, 0, -1, 0, 0, 0, 0, 0)])
    write("bad_pad_huge", [node("Pad", "x p", "y")], [ints("p", 0, 0, 2**30, 0, 0, 0, 2**30, 0)])
    write("bad_variance", [node("BatchNormalization", "x a a a v", "y")],
          [floats("a", 2), numpy_helper.from_array(np.full(2, -1, np.float32), "v")])
    write("bad_training", [node("BatchNormalization", "x a a a a", "y", training_mode=1)], [floats("a", 2)])
    write("bad_mask", [node("Dropout", "x", "d m"), node("Add", "x m", "y")], [])
    write("bad_gather", [node("Gather", "x i", "y", axis=1)], [ints("i", 2)])
    write("bad_divide", [node("Shape", "x", "s"), node("Div", "s z", "t"), node("Reshape", "x t", "y")], [ints("z", 0)])
    write("bad_no_rows", [node("Reshape", "x t", "y")], [ints("t", 32)])
    write("bad_name", [helper.make_node("Relu", ["x"], ["y"], name="n" * 2000)], [])
    write("bad_control", [helper.make_node("Relu", ["x"], ["y\n"], name="n")], [])
    write("bad_if", [helper.make_node("If", ["x"], ["y"], name="if", then_branch=helper.make_graph(
        [node("Relu", "x", "z")], "t", [], [port("z", 1)]), else_branch=helper.make_graph([], "e", [], []))], [])
    write("symbolic_reshape", [node("Reshape", "x t", "y")], [ints("t", 1, 32)], inputs=[port("x", "n", 2, 4, 4)])
    write("across_batch", [node("Softmax", "x", "s", axis=0), node("Flatten", "s", "y")], [],
          inputs=[port("x", "n", 2, 4, 4)])
    write("broadcast_batch", [node("GlobalAveragePool", "x", "p"), node("Unsqueeze", "p last", "u"), node("Mul", "u x", "m"),
                              node("Flatten", "m", "y")], [ints("last", -1)], inputs=[port("x", "n", 2, 4, 4)])


if __name__ == "__main__":
    sound()
    externals()
    wrong()
    late()
    huge()
    parts()
