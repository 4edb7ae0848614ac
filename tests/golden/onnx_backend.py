#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The node tests of ONNX's own backend test suite: every case gives the right answer or is refused with the reason.

Exeunt reads networks of one float image in and one row out, so each case is brought to that form without touching
its operators: the first input of floats or doubles (which are rounded) becomes the network's, reshaped from a 1x1x1xN
image; the others become the constants that they are in networks; every output is asked for on its own, and reshaped
to one row. A case without such an input is all constants: zero times the image is added, and folding has to do the
rest.

Usage: onnx_backend.py PROGRAM [--write]. Needs numpy and onnx 1.17.0, which is the last version that carries the cases;
exit status 77 (skipped) without it. onnx_refused.txt is what is refused, and why; --write brings it up to date."""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as reason:
    print(f"skipped: {reason}")
    sys.exit(77)

HERE = pathlib.Path(__file__).parent
LIST = HERE / "onnx_refused.txt"
NODES = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
LEAST = 485  # cases that pass: a lower number is a step back
OTHERS = ["data type", "operator set version", "domain", "is no tensor", "holds"]  # what else than an operator may be the reason
RTOL, ATOL = 1e-3, 1e-7  # as the suite's own runner has them


class Refused(Exception):
    """The case cannot be brought to a network's form; the text says why."""


def read_tensors(folder, stem, ports):
    """Arrays of test_data_set_0, by the names of the graph's ports."""
    result = {}
    for index, port in enumerate(ports):
        kind = port.type.WhichOneof("value")
        if kind != "tensor_type":
            raise Refused(f"{stem} '{port.name}' is no tensor ({kind})")
        tensor = onnx.load_tensor(folder / f"{stem}_{index}.pb")
        result[port.name] = tensor
    return result


def shaped(model, name, like, new):
    """A node that gives value `name` the shape of a list, under the name `new`."""
    model.initializer.append(numpy_helper.from_array(np.array(like, np.int64), f"exn_shape_of_{new}"))
    return helper.make_node("Reshape", [name, f"exn_shape_of_{new}"], [new], name=f"exn_reshape_{new}")


def wrap(model, inputs, output, array):
    """(network, floats to feed it): `output` of the case as a network of one input and one row."""
    graph = onnx.GraphProto()
    graph.name = "case"
    graph.initializer.extend(model.graph.initializer)
    floats = [p.name for p in model.graph.input
              if inputs[p.name].data_type in (TensorProto.FLOAT, TensorProto.DOUBLE) and np.prod(inputs[p.name].dims, dtype=int) > 0]
    fed = floats[0] if floats else None
    for port in model.graph.input:
        if port.name != fed:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(inputs[port.name])
            tensor.name = port.name
            graph.initializer.append(tensor)
    values = numpy_helper.to_array(inputs[fed]).astype(np.float32) if fed else np.zeros((1,), np.float32)
    graph.input.append(helper.make_tensor_value_info("exn_image", TensorProto.FLOAT, [1, 1, 1, values.size]))
    if fed:
        graph.node.append(shaped(graph, "exn_image", values.shape, fed))
    graph.node.extend(model.graph.node)
    last = output.name
    if output.type.tensor_type.elem_type != TensorProto.FLOAT:
        graph.node.append(helper.make_node("Cast", [last], ["exn_float"], name="exn_cast", to=TensorProto.FLOAT))
        last = "exn_float"
    graph.node.append(shaped(graph, last, [1, array.size], "exn_row"))
    last = "exn_row"
    if not fed or not reaches(model.graph, fed, output.name):
        graph.node.append(shaped(graph, "exn_image", [values.size], "exn_flat"))
        graph.initializer.append(numpy_helper.from_array(np.zeros((1,), np.float32), "exn_zero"))
        graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "exn_first"))
        graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "exn_second"))
        graph.node.append(helper.make_node("Slice", ["exn_flat", "exn_first", "exn_second"], ["exn_one"], name="exn_s"))
        graph.node.append(helper.make_node("Mul", ["exn_one", "exn_zero"], ["exn_nothing"], name="exn_mul"))
        graph.node.append(helper.make_node("Add", [last, "exn_nothing"], ["exn_sum"], name="exn_add"))
        last = "exn_sum"
    graph.output.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, array.size]))
    network = helper.make_model(graph, ir_version=model.ir_version, opset_imports=model.opset_import)
    network.functions.extend(model.functions)
    return network, values


def reaches(graph, source, target):
    """Whether the elements of `target` follow from `source` (those of a Shape do not)."""
    known = {source}
    for node in graph.node:
        if node.op_type != "Shape" and known & set(node.input):
            known |= set(node.output)
    return target in known


class Program:
    """The C side, started again when it dies."""

    def __init__(self, path, folder):
        self.path, self.folder, self.process = path, pathlib.Path(folder), None

    def run(self, network, values, name):
        """("ok", shape text, floats), ("refused", message) or ("crash", exit status)."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen([self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        model, data = self.folder / "case.onnx", self.folder / "case.bin"
        model.write_bytes(network.SerializeToString())
        data.write_bytes(np.ascontiguousarray(values, np.float32).tobytes())
        self.process.stdin.write(f"{model} {name} {data}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            return "crash", str(self.process.wait()), None
        status, _, text = line.strip().partition(" ")
        if status != "ok":
            return "refused", text.replace(f"{model}: ", ""), None
        return "ok", text, np.frombuffer((self.folder / "case.onnx.out").read_bytes(), np.float32)


def run_output(program, model, inputs, port, expected):
    """(kind, reason): kind is "pass", "refused" or "wrong"."""
    array = numpy_helper.to_array(expected)
    if array.dtype.kind not in "fiub" and array.dtype.name not in ("bfloat16",):
        raise Refused(f"output '{port.name}' holds {array.dtype}")
    network, values = wrap(model, inputs, port, array)
    kind, text, floats = program.run(network, values, port.name)
    if kind == "crash":
        return "wrong", f"the program died with status {text}"
    if kind == "refused":
        return "refused", text
    if text not in ("-", "x".join(map(str, array.shape)) or "scalar"):
        return "wrong", f"shape {text}, not {array.shape}"
    wanted = array.astype(np.float64).ravel()
    if not np.allclose(floats.astype(np.float64), wanted, rtol=RTOL, atol=ATOL, equal_nan=True):
        at = int(np.argmax(np.abs(floats - wanted)))
        return "wrong", f"element {at} of '{port.name}' is {floats[at]:.9g}, not {wanted[at]:.9g}"
    return "pass", ""


def run_case(program, folder):
    model = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    try:
        inputs = read_tensors(data, "input", model.graph.input)
        outputs = read_tensors(data, "output", model.graph.output)
        for port in model.graph.output:
            kind, reason = run_output(program, model, inputs, port, outputs[port.name])
            if kind != "pass":
                return kind, reason
    except Refused as reason:
        return "refused", str(reason)
    return "pass", ""


def known_operators():
    return set(re.findall(r"EXN_OP_ROW\((\w+),", (HERE.parent.parent / "graph/ops.inc").read_text()))


def strange_operators(folder, known):
    graph = onnx.load(folder / "model.onnx").graph
    spelled = {name.lower() for name in known}
    return sorted({n.op_type for n in graph.node if n.op_type.lower() not in spelled or n.domain not in ("", "ai.onnx")})


def write_list(refused, by_operator):
    lines = ["# Cases of ONNX's backend node tests that are refused, and why. Written by onnx_backend.py --write.",
             "# Operators that no network here needs, with the number of cases that use them:"]
    lines += [f"operator {name} {count}" for name, count in sorted(by_operator.items())]
    lines += ["# Cases all of whose operators are known:"]
    lines += [f"{name}: {reason}" for name, reason in sorted(refused.items())]
    LIST.write_text("\n".join(lines) + "\n")


def main():
    program_path, write = sys.argv[1], "--write" in sys.argv
    if onnx.__version__ != "1.17.0" or not NODES.is_dir():
        print(f"skipped: onnx {onnx.__version__} is not 1.17.0")
        return 77
    known, passed, wrong, refused, by_operator = known_operators(), [], [], {}, collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        program = Program(program_path, folder)
        for case in sorted(NODES.iterdir()):
            kind, reason = run_case(program, case)
            strange = strange_operators(case, known)
            if kind == "pass":
                passed.append(case.name)
            elif kind == "wrong":
                wrong.append(f"{case.name}: {reason}")
            elif strange:
                by_operator.update(strange)
                if not any(word in reason for word in strange + OTHERS):
                    wrong.append(f"{case.name}: the refusal says too little: {reason}")
            else:
                refused[case.name] = reason
    if write:
        write_list(refused, by_operator)
    listed = set(re.findall(r"^(test_\w+): ", LIST.read_text(), re.MULTILINE))
    wrong += [f"{name}: refused, and not in the list: {refused[name]}" for name in sorted(set(refused) - listed)]
    wrong += [f"{name}: in the list, and not refused" for name in sorted(listed - set(refused))]
    print(*wrong, sep="\n")
    print(f"{len(passed)} pass, {len(refused)} of known operators are refused, {len(wrong)} wrong")
    return 0 if not wrong and len(passed) >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
