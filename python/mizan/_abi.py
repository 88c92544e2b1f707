# SPDX-License-Identifier: Apache-2.0
"""mizan.h for ctypes: the structs and functions that the package uses, and the library itself.

The library is MIZAN_LIBRARY (a path), else the one that the wheel carries, else the system's."""

import ctypes as c
import os
from typing import Any, Type

ABI = 1
_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"libmizan.so.{ABI}")

TokenFunction = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int32, c.POINTER(c.c_char), c.c_size_t)
Ids = c.POINTER(c.c_int32)


class Sized(c.Structure):
    """A struct of mizan.h that begins with its size; what is not given is 0, its default."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.size = c.sizeof(self)


class Options(Sized):
    _fields_ = [
        ("size", c.c_size_t), ("chip", c.c_char_p), ("isa", c.c_char_p), ("driver_path", c.c_char_p),
        ("dtype", c.c_char_p), ("adapter", c.c_char_p), ("threads", c.c_int32), ("reserved", c.c_int32),
    ]


class Info(Sized):
    _fields_ = [
        ("size", c.c_size_t), ("family", c.c_char * 32), ("vocab", c.c_int64), ("width", c.c_int64),
        ("layers", c.c_int64), ("positions", c.c_int64), ("parameters", c.c_int64),
        ("weight_bytes", c.c_int64),
    ]


class SessionOptions(Sized):
    _fields_ = [("size", c.c_size_t), ("context", c.c_int64), ("chunk", c.c_int64)]


class GenerateOptions(Sized):
    _fields_ = [
        ("size", c.c_size_t), ("max_tokens", c.c_int64), ("temperature", c.c_double),
        ("top_p", c.c_double), ("min_p", c.c_double), ("repeat_penalty", c.c_double),
        ("top_k", c.c_int64), ("seed", c.c_uint64), ("stops", c.POINTER(c.c_char_p)),
        ("on_token", TokenFunction), ("user", c.c_void_p), ("n_stops", c.c_int32),
        ("as_model", c.c_int32), ("reuse", c.c_int32), ("reserved", c.c_int32),
    ]


class Answer(Sized):
    _fields_ = [
        ("size", c.c_size_t), ("ids", Ids), ("text", c.POINTER(c.c_char)), ("n_ids", c.c_size_t),
        ("text_bytes", c.c_size_t), ("ended", c.c_int32), ("reserved", c.c_int32),
        ("prompt_tokens", c.c_int64), ("kept_tokens", c.c_int64), ("prompt_seconds", c.c_double),
        ("text_seconds", c.c_double),
    ]


class Message(c.Structure):
    _fields_ = [("role", c.c_char_p), ("content", c.c_char_p), ("thoughts", c.c_char_p)]


class ChatOptions(Sized):
    _fields_ = [("size", c.c_size_t), ("chat_template", c.c_char_p), ("thinking", c.c_int32),
                ("no_answer", c.c_int32)]


class TrainerOptions(Sized):
    _fields_ = [
        ("size", c.c_size_t), ("chip", c.c_char_p), ("isa", c.c_char_p), ("driver_path", c.c_char_p),
        ("dtype", c.c_char_p), ("rows", c.c_int64), ("seq", c.c_int64), ("seed", c.c_uint64),
        ("balance", c.c_double), ("threads", c.c_int32), ("recompute", c.c_int32),
        ("mtp", c.c_double), ("bias_rate", c.c_double), ("lora_rank", c.c_int64),
        ("lora_alpha", c.c_double), ("lora_targets", c.c_char_p), ("adapter", c.c_char_p),
    ]


class Optim(Sized):
    _fields_ = [
        ("size", c.c_size_t), ("lr", c.c_double), ("beta1", c.c_double), ("beta2", c.c_double),
        ("eps", c.c_double), ("weight_decay", c.c_double), ("clip", c.c_double),
    ]


class StepResult(Sized):
    _fields_ = [("size", c.c_size_t), ("step", c.c_int64), ("counted", c.c_int64),
                ("loss", c.c_double), ("grad_norm", c.c_double)]


def _out(kind: Type[Any]) -> Any:
    return c.POINTER(kind)


_P, _S, _I64, _N = c.c_void_p, c.c_char_p, c.c_int64, c.c_size_t
_IDS_OUT = [c.POINTER(Ids), c.POINTER(_N)]
_TEXT_OUT = [c.POINTER(_P), c.POINTER(_N)]
# name: (result, arguments); a result of None is nothing, c_int a status
FUNCTIONS = {
    "version": (_S, []), "abi": (c.c_int, []), "free": (None, [_P]),
    "status_name": (_S, [c.c_int]), "error_message": (_S, []), "error_file": (_S, []),
    "error_field": (_S, []), "error_offset": (_I64, []), "error_advice": (_S, []),
    "chip_count": (c.c_int32, []), "chip_name": (_S, [c.c_int32]),
    "vocab_open": (c.c_int, [_out(_P), _S]), "vocab_close": (None, [_P]), "vocab_size": (_I64, [_P]),
    "vocab_bos": (c.c_int32, [_P]), "vocab_find": (c.c_int32, [_P, _S, _N]),
    "vocab_is_special": (c.c_int32, [_P, c.c_int32]), "vocab_is_end": (c.c_int32, [_P, c.c_int32]),
    "encode": (c.c_int, [_P, _S, _N, c.c_uint32, *_IDS_OUT]),
    "decode": (c.c_int, [_P, Ids, _N, c.c_uint32, *_TEXT_OUT]),
    "chat_encode": (c.c_int, [_P, c.POINTER(Message), _N, _out(ChatOptions), *_IDS_OUT]),
    "chat_text": (c.c_int, [_P, c.POINTER(Message), _N, _out(ChatOptions), *_TEXT_OUT]),
    "open": (c.c_int, [_out(_P), _S, _out(Options)]), "close": (None, [_P]),
    "vocab_of": (_P, [_P]), "ask": (c.c_int, [_P, _out(Info)]),
    "probe": (c.c_int, [_P, Ids, Ids, _I64, _I64, c.POINTER(c.c_float), c.POINTER(c.c_double)]),
    "session_new": (c.c_int, [_out(_P), _P, _out(SessionOptions)]), "session_free": (None, [_P]),
    "generate": (c.c_int, [_P, Ids, _N, _out(GenerateOptions), _out(Answer)]),
    "trainer_open": (c.c_int, [_out(_P), _S, _out(TrainerOptions)]), "trainer_close": (None, [_P]),
    "trainer_step": (c.c_int, [_P, Ids, Ids, _I64, _I64, _out(Optim), _out(StepResult)]),
    "trainer_save": (c.c_int, [_P, _S]), "trainer_load": (c.c_int, [_P, _S]),
}  # fmt: skip


def load() -> c.CDLL:
    carried = _HERE if os.path.exists(_HERE) else f"libmizan.so.{ABI}"
    library = c.CDLL(os.environ.get("MIZAN_LIBRARY") or carried)
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, "mz_lm_" + name)
        function.restype = result
        function.argtypes = arguments
    if library.mz_lm_abi() != ABI:
        raise ImportError(f"libmizan has ABI {library.mz_lm_abi()}, this package wants {ABI}")
    return library
