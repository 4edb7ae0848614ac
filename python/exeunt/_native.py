# SPDX-License-Identifier: Apache-2.0
"""The C library behind ctypes: its structures in the order of exeunt/exeunt.h, its functions with their types.

Every call through ctypes releases the interpreter's lock while C computes."""
import ctypes
import ctypes.util
import os
import pathlib
from ctypes import (CFUNCTYPE, POINTER, byref, c_bool, c_char_p, c_double, c_float, c_int, c_int64, c_size_t, c_uint64,
                    c_void_p, sizeof)

OK, PAUSED = 0, 1
UNLABELLED = -1
UNGROUPED = c_size_t(-1).value


class Structure(ctypes.Structure):
    """struct_size comes first and says which version of the header the caller knows."""

    def __init__(self, **values):
        super().__init__(**values)
        if self._fields_[0][0] == "struct_size":
            self.struct_size = sizeof(self)


class Allocator(Structure):
    _fields_ = [("allocate", c_void_p), ("release", c_void_p), ("user", c_void_p)]


class ContextOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("allocator", Allocator), ("log", c_void_p), ("log_user", c_void_p),
                ("cpu", c_char_p), ("threads", c_size_t), ("block_limit_bytes", c_size_t), ("file_limit_bytes", c_size_t),
                ("node_limit", c_size_t), ("element_limit", c_size_t)]


class Image(Structure):
    _fields_ = [("pixels", c_void_p), ("width", c_size_t), ("height", c_size_t), ("channels", c_size_t),
                ("row_bytes", c_size_t)]


class ModelOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("height", c_size_t), ("width", c_size_t)]


class ModelInfo(Structure):
    _fields_ = [("struct_size", c_size_t), ("channels", c_size_t), ("height", c_size_t), ("width", c_size_t),
                ("classes", c_size_t), ("nodes", c_size_t), ("macs", c_uint64), ("parameters", c_uint64),
                ("taps", c_size_t)]


class Preprocess(Structure):
    _fields_ = [("size", c_size_t), ("mean", c_float * 3), ("deviation", c_float * 3), ("order", c_int)]


class ProfileOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("exits", c_size_t), ("taps", POINTER(c_char_p)), ("tap_count", c_size_t),
                ("head", c_int), ("classes", POINTER(c_char_p)), ("class_count", c_size_t), ("preprocess", Preprocess),
                ("seed", c_uint64), ("measured", c_bool)]


class ExitInfo(Structure):
    _fields_ = [("struct_size", c_size_t), ("tap", c_char_p), ("kind", c_int), ("macs_fraction", c_double),
                ("cost_ms", c_double), ("temperature", c_float), ("threshold", c_float), ("enabled", c_bool),
                ("trained", c_bool), ("accuracy", c_double)]


class TrainerOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("time_budget_s", c_double), ("memory_budget_bytes", c_size_t),
                ("cache_path", c_char_p), ("costs", c_char_p), ("seed", c_uint64), ("target", c_int),
                ("progress_path", c_char_p), ("cache_limit_bytes", c_size_t), ("cache_half", c_bool)]


class Progress(Structure):
    _fields_ = [("phase", c_int), ("done", c_size_t), ("total", c_size_t), ("elapsed_s", c_double)]


class ExportOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("form", c_int), ("exit", c_size_t), ("target", c_int), ("batch", c_size_t)]


class RunnerOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("whole_network", c_bool), ("threads", c_size_t), ("target", c_int),
                ("audit_share", c_double), ("packed", c_char_p), ("batch", c_size_t)]


class Answer(Structure):
    _fields_ = [("struct_size", c_size_t), ("label", c_size_t), ("confidence", c_float), ("exit", c_size_t),
                ("infer_ms", c_double), ("audit_due", c_bool)]


PROGRESS = CFUNCTYPE(c_bool, c_void_p, POINTER(Progress))

# name: (result, arguments); a result of None is nothing, c_int a status.
FUNCTIONS = {
    "exn_version": (c_char_p, ()),
    "exn_status_name": (c_char_p, (c_int,)),
    "exn_context_create": (c_int, (POINTER(c_void_p), POINTER(ContextOptions))),
    "exn_context_destroy": (None, (c_void_p,)),
    "exn_context_error": (c_char_p, (c_void_p,)),
    "exn_model_open": (c_int, (POINTER(c_void_p), c_void_p, c_char_p, POINTER(ModelOptions))),
    "exn_model_destroy": (None, (c_void_p,)),
    "exn_model_get_info": (c_int, (POINTER(ModelInfo), c_void_p)),
    "exn_profile_create": (c_int, (POINTER(c_void_p), c_void_p, POINTER(ProfileOptions))),
    "exn_profile_open": (c_int, (POINTER(c_void_p), c_void_p, c_char_p, c_void_p)),
    "exn_profile_model_path": (c_int, (c_char_p, c_size_t, c_void_p, c_char_p)),
    "exn_profile_save": (c_int, (c_void_p, c_char_p)),
    "exn_profile_destroy": (None, (c_void_p,)),
    "exn_profile_exit_count": (c_size_t, (c_void_p,)),
    "exn_profile_get_exit": (c_int, (POINTER(ExitInfo), c_void_p, c_size_t)),
    "exn_profile_class_count": (c_size_t, (c_void_p,)),
    "exn_profile_class_name": (c_char_p, (c_void_p, c_size_t)),
    "exn_profile_add_classes": (c_int, (c_void_p, POINTER(c_char_p), c_size_t)),
    "exn_profile_import": (c_int, (c_void_p, c_char_p, c_void_p)),
    "exn_profile_export": (c_int, (c_void_p, c_char_p, POINTER(ExportOptions))),
    "exn_trainer_create": (c_int, (POINTER(c_void_p), c_void_p, POINTER(TrainerOptions))),
    "exn_trainer_add": (c_int, (c_void_p, POINTER(Image), c_int64)),
    "exn_trainer_add_tensor": (c_int, (c_void_p, c_void_p, c_int64)),
    "exn_trainer_run": (c_int, (c_void_p, PROGRESS, c_void_p)),
    "exn_trainer_destroy": (None, (c_void_p,)),
    "exn_runner_create": (c_int, (POINTER(c_void_p), c_void_p, POINTER(RunnerOptions))),
    "exn_runner_classify": (c_int, (c_void_p, POINTER(Image), POINTER(Answer))),
    "exn_runner_classify_batch": (c_int, (c_void_p, POINTER(Image), c_size_t, POINTER(Answer))),
    "exn_runner_classify_tensor": (c_int, (c_void_p, c_void_p, POINTER(Answer))),
    "exn_runner_error": (c_char_p, (c_void_p,)),
    "exn_runner_destroy": (None, (c_void_p,)),
}


def _load() -> ctypes.CDLL:
    """EXN_LIBRARY, else the copy beside this file, else the system's."""
    beside = pathlib.Path(__file__).with_name("libexeunt.so")
    path = os.environ.get("EXN_LIBRARY") or (str(beside) if beside.exists() else ctypes.util.find_library("exeunt"))
    if path is None:
        raise ImportError("libexeunt.so was not found: install exeunt, or set EXN_LIBRARY to its path")
    loaded = ctypes.CDLL(path)
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


lib = _load()


def texts(words):
    """A C array of strings, and how many; (None, 0) for None."""
    if words is None:
        return None, 0
    encoded = [str(word).encode() for word in words]
    return (c_char_p * len(encoded))(*encoded), len(encoded)
