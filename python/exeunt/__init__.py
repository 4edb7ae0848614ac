# SPDX-License-Identifier: Apache-2.0
"""Personalised early exits for pretrained CNNs.

    import exeunt
    network = exeunt.Model("network.onnx")
    me = exeunt.Profile.create(network, classes=names, mean=127, deviation=128)
    with exeunt.Trainer(me) as lesson:
        for photo, label in photos:             # uint8 (height, width, 3); label None: not known
            lesson.add(photo, label)
        lesson.run(lambda p: print(p.done, "of", p.total) or True)
    me.save("me.safetensors")
    print(exeunt.Runner(me).classify(photo))

Arrays are read where they are, without copies. Everything that computes releases the interpreter's lock, so that it can run in a
thread (`asyncio.to_thread(lesson.run)`). A Trainer or Runner belongs to one thread at a time; models and profiles may be shared."""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Callable, Iterable, Optional, Sequence, Union

import numpy as np

from . import _native as c

__all__ = ["Answer", "Error", "Exit", "Limits", "Model", "Profile", "Progress", "Runner", "Trainer", "personalise", "version"]
HEADS = {"auto": 0, "linear": 1, "pooled": 2, "conv": 3, "conv2": 5, "wide": 6}
ORDERS = {"rgb": 0, "bgr": 1, "gray": 2}
TARGETS = {None: 0, "keep": 1, "untouched": 2}
PHASES = ("extract", "train", "judge")
Path = Union[str, os.PathLike]


def version() -> str:
    """Of the C library that is loaded."""
    return c.lib.exn_version().decode()


class Error(Exception):
    """What the library refused, in its own words; `status` is an exn_status (negative)."""

    def __init__(self, status: int, message: str):
        super().__init__(message or c.lib.exn_status_name(status).decode())
        self.status = status


class _Handle:
    """One C object: destroyed with its owner or by `close`, and kept alive by whatever is made from it."""

    _destroy: str

    def __init__(self, pointer: c.c_void_p, parent: Optional["_Handle"], context: "Optional[_Handle]" = None):
        self._pointer, self._parent = pointer, parent
        self._context = context or (parent._context if parent else self)

    def close(self) -> None:
        """Frees the C object now; it cannot be used afterwards."""
        if getattr(self, "_pointer", None):
            getattr(c.lib, self._destroy)(self._pointer)
            self._pointer = None
            self._parent = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()

    @property
    def _live(self) -> c.c_void_p:
        if not self._pointer:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._pointer

    def _check(self, status: int) -> int:
        if status < 0:
            raise Error(status, c.lib.exn_context_error(self._context._live).decode())
        return status


@dataclass(frozen=True)
class Limits:
    """What files may ask for at most, for they may come from strangers; 0: the library's default.

    block_bytes: of memory at once; file_bytes: the largest network, weights beside it, profile; nodes: operators of a network;
    elements: of one tensor."""

    block_bytes: int = 0
    file_bytes: int = 0
    nodes: int = 0
    elements: int = 0


class _Context(_Handle):
    _destroy = "exn_context_destroy"

    def __init__(self, threads: int, isa: Optional[str], limits: Limits):
        pointer = c.c_void_p()
        options = c.ContextOptions(threads=threads, cpu=isa.encode() if isa else None, block_limit_bytes=limits.block_bytes,
                                   file_limit_bytes=limits.file_bytes, node_limit=limits.nodes,
                                   element_limit=limits.elements)
        status = c.lib.exn_context_create(c.byref(pointer), c.byref(options))
        if status != c.OK:
            raise Error(status, "")
        super().__init__(pointer, None)


def _create(function: str, owner: _Handle, *arguments) -> c.c_void_p:
    pointer = c.c_void_p()
    owner._check(getattr(c.lib, function)(c.byref(pointer), *arguments))
    return pointer


def _image(array: np.ndarray) -> c.Image:
    """uint8 (height, width) or (height, width, 1 or 3), pixels of a row side by side; rows may be apart."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.size == 0:
        raise ValueError(f"an image is uint8 (height, width) or (height, width, 3), not {array.shape}")
    if array.strides[2] != 1 or array.strides[1] != array.shape[2] or array.strides[0] < array.shape[1] * array.shape[2]:
        array = np.ascontiguousarray(array)
    image = c.Image(pixels=array.ctypes.data, width=array.shape[1], height=array.shape[0], channels=array.shape[2],
                    row_bytes=array.strides[0])
    image.array = array  # stays alive as long as the description of it
    return image


class Model(_Handle):
    """A pretrained CNN, read from ONNX; its weights stay in the mapped file.

    height, width: of the input in pixels, where the file leaves them open; threads: that compute, 1 or more; isa: best kernel set
    allowed, "avx2" say, None: the best there is; limits: for files of strangers."""

    _destroy = "exn_model_destroy"

    channels: int  #: of the input, as are
    height: int  #: pixels
    width: int  #: pixels
    classes: int  #: logits
    nodes: int  #: operators
    macs: int  #: multiply-adds for one input
    parameters: int
    taps: int  #: values where an exit may stand

    def __init__(self, path: Path, *, height: int = 0, width: int = 0, threads: int = 1, isa: Optional[str] = None,
                 limits: Limits = Limits()):
        context = _Context(threads, isa, limits)
        options = c.ModelOptions(height=height, width=width)
        super().__init__(_create("exn_model_open", context, context._live, os.fsencode(path), c.byref(options)), context,
                         context)
        info = c.ModelInfo()
        self._check(c.lib.exn_model_get_info(c.byref(info), self._live))
        self.path = path
        for name, _ in info._fields_[1:]:
            setattr(self, name, getattr(info, name))

    def _tensor(self, array: np.ndarray) -> np.ndarray:
        if array.shape != (self.channels, self.height, self.width):
            raise ValueError(f"the network takes {(self.channels, self.height, self.width)}, not {array.shape}")
        return np.ascontiguousarray(array)


@dataclass(frozen=True)
class Exit:
    """One exit of a profile: what it reads, what reaching it costs, when a sample leaves there."""

    tap: str  #: name of the value in the network that its head reads
    kind: str  #: of head: "linear", "pooled", "conv", "conv2", "wide", "classifier"
    macs_fraction: float  #: up to and with its head, earlier heads included, over the untouched network's
    cost_ms: float  #: milliseconds, from the profile's cost table; 0: not measured
    temperature: float  #: that its logits are divided by before softmax
    threshold: float  #: confidence, 0..1, from which a sample leaves here
    enabled: bool  #: whether a sample may leave here
    trained: bool
    accuracy: float  #: 0..1, out of fold on personal samples; NaN: unknown


class Profile(_Handle):
    """Exits, their weights and the rules of one person, on top of one model."""

    _destroy = "exn_profile_destroy"

    def __init__(self, pointer: c.c_void_p, model: Model):
        super().__init__(pointer, model)
        self.model = model

    @classmethod
    def create(cls, model: Model, *, exits: int = 4, at: Optional[Sequence[str]] = None, head: str = "auto",
               classes: Optional[Sequence[str]] = None, mean: Union[float, Sequence[float]] = 0,
               deviation: Union[float, Sequence[float]] = 255, size: int = 0, order: Optional[str] = None,
               seed: int = 1) -> "Profile":
        """Fresh exits; until they are trained the profile answers as the untouched network.

        exits: how many, placed by cost, without the network's own classifier; at: names of values to attach them at instead. head:
        "auto", "linear", "pooled", "conv", "conv2" or "wide". classes: a name for each logit; None: their numbers. mean, deviation:
        grey levels 0..255, one number or one a channel; the network sees (pixel - mean) / deviation. size: pixels of the shorter
        side after resizing, 0: the larger side of the input. order: of channels, "rgb", "bgr" or "gray"; None: "gray" for one channel, else "rgb".
        seed: everything random follows from it."""
        taps, tap_count = c.texts(at)
        names, class_count = c.texts(classes)
        order = order or ("gray" if model.channels == 1 else "rgb")
        preprocess = c.Preprocess(size=size, order=ORDERS[order])
        preprocess.mean[:] = np.broadcast_to(np.asarray(mean, np.float32), 3)
        preprocess.deviation[:] = np.broadcast_to(np.asarray(deviation, np.float32), 3)
        options = c.ProfileOptions(exits=0 if at else exits, taps=taps, tap_count=tap_count, head=HEADS[head],
                                   classes=names, class_count=class_count, preprocess=preprocess, seed=seed)
        return cls(_create("exn_profile_create", model, model._live, c.byref(options)), model)

    @classmethod
    def open(cls, path: Path, model: Optional[Model] = None, **options) -> "Profile":
        """The profile of this file. model None: the network that it names, opened with these options of Model."""
        if model is None:
            context, text = _Context(1, None, options.get("limits", Limits())), c.ctypes.create_string_buffer(4096)
            context._check(c.lib.exn_profile_model_path(text, len(text), context._live, os.fsencode(path)))
            model = Model(os.fsdecode(text.value), **options)
        return cls(_create("exn_profile_open", model, model._live, os.fsencode(path), None), model)

    def save(self, path: Path) -> None:
        """Replaces the file atomically."""
        self._check(c.lib.exn_profile_save(self._live, os.fsencode(path)))

    def import_heads(self, path: Path) -> None:
        """Heads that something else trained, from a safetensors file: tensors "exits.0.fc.weight" (classes, features) and so on, as in
        the profile's own file, metadata "exits.0.tap", "exits.0.threshold" as the header tells. All of it, or an Error and
        nothing. Early exits are not used afterwards until the profile is personalised, but for those with a threshold."""
        self._check(c.lib.exn_profile_import(self._live, os.fsencode(path), None))

    def export(self, path: Path, *, exit: Optional[int] = None, leave: bool = False, target: Optional[str] = None,
               batch: int = 1) -> None:
        """Writes ONNX: logits of every exit, outputs "exit_0" and so on, float32 (batch, classes); or the network cut at exit number
        `exit`, output "logits"; or one that leaves through If (leave), outputs "scores" (1, classes) and "exit". target: whose thresholds
        leave takes, "keep" or "untouched"; None: the profile's. batch: samples of an input."""
        options = c.ExportOptions(form=2 if leave else 0 if exit is None else 1, exit=exit or 0, target=TARGETS[target],
                                  batch=batch)
        self._check(c.lib.exn_profile_export(self._live, os.fsencode(path), c.byref(options)))

    def add_classes(self, names: Sequence[str]) -> None:
        """Classes that the network does not know, after those that it does; samples of them teach the exits."""
        words, count = c.texts(names)
        self._check(c.lib.exn_profile_add_classes(self._live, words, count))

    @property
    def classes(self) -> list[str]:
        """Names by label."""
        count = c.lib.exn_profile_class_count(self._live)
        return [c.lib.exn_profile_class_name(self._live, i).decode() for i in range(count)]

    @property
    def exits(self) -> list[Exit]:
        """In order of depth; the last is the network's own classifier."""
        kinds = {number: name for name, number in HEADS.items()} | {4: "classifier"}
        out = []
        for i in range(c.lib.exn_profile_exit_count(self._live)):
            info = c.ExitInfo()
            self._check(c.lib.exn_profile_get_exit(c.byref(info), self._live, i))
            out.append(Exit(info.tap.decode(), kinds[info.kind], info.macs_fraction, info.cost_ms, info.temperature,
                            info.threshold, info.enabled, info.trained, info.accuracy))
        return out


@dataclass(frozen=True)
class Progress:
    """How far a Trainer's run is."""

    phase: str  #: "extract", "train" or "judge"
    done: int  #: samples or steps of this phase
    total: int  #: of them
    elapsed_s: float  #: seconds since the run began


class Trainer(_Handle):
    """Personalises a profile's exits; the network itself stays as it is. The order of samples does not matter.

    time_budget_s: seconds for the run; memory_budget_bytes; 0: none. cache: file for features, kept from run to run, of at most
    cache_limit_bytes, in half precision if cache_half. costs: None measures milliseconds, "macs" counts, or a JSON file. seed:
    everything random follows from it, 0: the profile's. target: operating point to use, "keep" or "untouched"; None: the profile's.
    progress_file: where training stands, so that the same samples go on from there after a kill."""

    _destroy = "exn_trainer_destroy"

    def __init__(self, profile: Profile, *, time_budget_s: float = 0, memory_budget_bytes: int = 0,
                 cache: Optional[Path] = None, cache_limit_bytes: int = 0, cache_half: bool = False,
                 costs: Optional[Path] = None, seed: int = 0, target: Optional[str] = None,
                 progress_file: Optional[Path] = None):
        options = c.TrainerOptions(time_budget_s=time_budget_s, memory_budget_bytes=memory_budget_bytes,
                                   cache_path=os.fsencode(cache) if cache else None,
                                   costs=os.fsencode(costs) if costs else None, seed=seed, target=TARGETS[target],
                                   progress_path=os.fsencode(progress_file) if progress_file else None,
                                   cache_limit_bytes=cache_limit_bytes, cache_half=cache_half)
        super().__init__(_create("exn_trainer_create", profile, profile._live, c.byref(options)), profile)
        self.profile = profile

    def add(self, sample: np.ndarray, label: Optional[int] = None) -> None:
        """uint8 (height, width[, 3]): a picture, preprocessed as the profile says; float32 (channels, height, width): ready for the
        network. It passes the network now, once; only features are kept. label None: not known."""
        label = c.UNLABELLED if label is None else int(label)
        if sample.dtype == np.uint8:
            image = _image(sample)
            self._check(c.lib.exn_trainer_add(self._live, c.byref(image), label))
        elif sample.dtype == np.float32:
            tensor = self.profile.model._tensor(sample)
            self._check(c.lib.exn_trainer_add_tensor(self._live, tensor.ctypes.data, label))
        else:
            raise TypeError(f"samples are uint8 pictures or float32 inputs, not {sample.dtype}")

    def run(self, progress: Optional[Callable[[Progress], object]] = None) -> bool:
        """Trains, judges and decides. progress returning False pauses: then the result is False, and calling again goes on. An
        exception in progress pauses and is raised."""
        raised: list[BaseException] = []

        def told(_, at):
            try:
                p = at.contents
                answer = progress(Progress(PHASES[p.phase], p.done, p.total, p.elapsed_s)) if progress else True
                return answer is not False
            except BaseException as error:  # it must not unwind through C
                raised.append(error)
                return False

        status = c.lib.exn_trainer_run(self._live, c.PROGRESS(told), None)
        if raised:
            raise raised[0]
        return self._check(status) != c.PAUSED


@dataclass(frozen=True)
class Answer:
    """What a Runner says of one sample."""

    label: int  #: index into Profile.classes
    name: str  #: of that class
    confidence: float  #: calibrated probability, 0..1
    exit: int  #: index into Profile.exits: where the sample left
    infer_ms: float  #: milliseconds, without preprocessing


class Runner(_Handle):
    """Classifies, and leaves at the first exit that is sure enough.

    whole_network: the untouched network instead. threads: that compute, 0: the model's. target: "keep" or "untouched", another
    operating point than the profile's. packed: file that keeps packed weights between processes. batch: samples that classify_batch
    computes at once."""

    _destroy = "exn_runner_destroy"

    def __init__(self, profile: Profile, *, whole_network: bool = False, threads: int = 0, target: Optional[str] = None,
                 packed: Optional[Path] = None, batch: int = 1):
        options = c.RunnerOptions(whole_network=whole_network, threads=threads, target=TARGETS[target],
                                  packed=os.fsencode(packed) if packed else None, batch=batch)
        super().__init__(_create("exn_runner_create", profile, profile._live, c.byref(options)), profile)
        self.profile = profile
        self._names = profile.classes

    def _check(self, status: int) -> int:
        if status < 0:
            raise Error(status, c.lib.exn_runner_error(self._live).decode())
        return status

    def classify(self, sample: np.ndarray) -> Answer:
        """A picture, uint8 (height, width[, 3]), or an input, float32 (channels, height, width), as Trainer.add takes them."""
        answer = c.Answer()
        if sample.dtype == np.uint8:
            image = _image(sample)
            self._check(c.lib.exn_runner_classify(self._live, c.byref(image), c.byref(answer)))
        elif sample.dtype == np.float32:
            tensor = self.profile.model._tensor(sample)
            self._check(c.lib.exn_runner_classify_tensor(self._live, tensor.ctypes.data, c.byref(answer)))
        else:
            raise TypeError(f"samples are uint8 pictures or float32 inputs, not {sample.dtype}")
        return self._told(answer)

    def _told(self, answer: c.Answer) -> Answer:
        return Answer(answer.label, self._names[answer.label], answer.confidence, answer.exit, answer.infer_ms)

    def classify_batch(self, pictures: Sequence[np.ndarray]) -> list[Answer]:
        """uint8 (height, width[, 3]) each, of any sizes; `batch` of them are computed at once. infer_ms: a batch's time by its pictures."""
        if any(picture.dtype != np.uint8 for picture in pictures):
            raise TypeError("batches are of uint8 pictures")
        described = [_image(picture) for picture in pictures]
        images = (c.Image * len(described))(*described)
        answers = (c.Answer * len(described))(*(c.Answer() for _ in described))
        self._check(c.lib.exn_runner_classify_batch(self._live, images, len(described), answers))
        return [self._told(answer) for answer in answers]


def personalise(profile: Profile, samples: Iterable[tuple[np.ndarray, Optional[int]]],
                progress: Optional[Callable[[Progress], object]] = None, **options) -> bool:
    """Trainer(profile, **options) over (sample, label) pairs, each as Trainer.add takes them; False if progress paused it."""
    with Trainer(profile, **options) as trainer:
        for sample, label in samples:
            trainer.add(sample, label)
        return trainer.run(progress)
