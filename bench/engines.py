# SPDX-License-Identifier: Apache-2.0
"""The engines that bench/latency compares exeunt with: each is a class whose instances hold one loaded network.

Float32, one image, as many threads as asked for; every engine may use whatever algorithm it likes (Winograd, Strassen), but no
narrower arithmetic. prepare() gives what is loaded, converting where needed (ports: names of input and output); run() takes no argument, because the
input is given once, and returns the logits."""
import hashlib
import pathlib
import subprocess
import sys

import numpy as np


class Absent(Exception):
    """Why an engine cannot take part."""


def convert(model, suffix, cache, command):
    """Path of `model` in an engine's own format; made once for each state of the file, by a command that writes to a folder.
    The file is not read here: its bytes would count as the engine's memory."""
    path = pathlib.Path(model).resolve()
    state = f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}"
    folder = pathlib.Path(cache) / hashlib.sha256(state.encode()).hexdigest()[:16]
    made = folder / f"net{suffix}"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "net.onnx").write_bytes(pathlib.Path(model).read_bytes())
        words = command(folder)
        if not pathlib.Path(words[0]).exists():
            raise Absent(f"no converter {words[0]}")
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if not made.exists():
            raise Absent(f"its converter failed: {(done.stderr or done.stdout).strip()[-200:]}")
    return made


def beside_python(name):
    return pathlib.Path(sys.executable).parent / name


class Engine:
    @staticmethod
    def prepare(model, ports, image, cache):
        return model


class OnnxRuntime(Engine):
    title, package = "ONNX Runtime", "onnxruntime"

    def __init__(self, library, model, image, threads):
        options = library.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = library.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: image}

    def run(self):
        return self.session.run(None, self.feed)[0]


class OpenVino(Engine):
    title, package = "OpenVINO", "openvino"

    def __init__(self, library, model, image, threads):
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self.request = library.Core().compile_model(model, "CPU", settings).create_infer_request()
        self.image = image

    def run(self):
        return self.request.infer({0: self.image})[0]


class LiteRt(Engine):
    title, package = "LiteRT", "ai_edge_litert.interpreter"

    @staticmethod
    def prepare(model, ports, image, cache):
        flat = pathlib.Path(model).with_suffix(".tflite")
        if not flat.exists():
            raise Absent(f"no {flat.name} beside the network")
        return str(flat)

    def __init__(self, library, model, image, threads):
        self.interpreter = library.Interpreter(model, num_threads=threads)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]
        self.image = np.ascontiguousarray(image.transpose(0, 2, 3, 1))

    def run(self):
        self.interpreter.set_tensor(self.input, self.image)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)


class Ncnn(Engine):
    title, package = "ncnn", "ncnn"

    @staticmethod
    def prepare(model, ports, image, cache):
        shape = ",".join(map(str, image.shape))
        return convert(model, ".ncnn.param", cache, lambda folder: [
            beside_python("pnnx"), folder / "net.onnx", f"inputshape=[{shape}]", "fp16=0"])

    def __init__(self, library, model, image, threads):
        self.ncnn, self.net, self.image = library, library.Net(), image[0]
        for narrow in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage"):
            setattr(self.net.opt, f"use_{narrow}", False)
        self.net.opt.num_threads = threads
        if self.net.load_param(str(model)) or self.net.load_model(str(model.with_suffix(".bin"))):
            raise Absent("cannot load the converted network")

    def run(self):
        extractor = self.net.create_extractor()
        extractor.input("in0", self.ncnn.Mat(self.image))
        return np.array(extractor.extract("out0")[1])


class Mnn(Engine):
    title, package = "MNN", "MNN"

    @staticmethod
    def prepare(model, ports, image, cache):
        made = convert(model, ".mnn", cache, lambda folder: [
            beside_python("mnnconvert"), "-f", "ONNX", "--modelFile", folder / "net.onnx", "--MNNModel", folder / "net.mnn",
            "--bizCode", "bench"])
        return str(made), ports

    def __init__(self, library, model, image, threads):
        made, (first, last) = model
        manager = library.nn.create_runtime_manager(({"backend": 0, "numThread": threads, "precision": "high"},))
        self.module = library.nn.load_module_from_file(made, [first], [last], runtime_manager=manager)
        self.image = library.expr.const(image, list(image.shape), library.expr.NCHW)

    def run(self):
        return self.module.forward(self.image).read()


ENGINES = {"ort": OnnxRuntime, "openvino": OpenVino, "litert": LiteRt, "ncnn": Ncnn, "mnn": Mnn}
