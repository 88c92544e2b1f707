# SPDX-License-Identifier: Apache-2.0
"""Language models through libmizan: load, generate, tokenize, probe, train.

    import mizan
    with mizan.Model("path/to/model") as model:
        print(model.generate("Once upon a time", max_tokens=40).text)

Only the standard library is used. The same call gives the same text as `mizan generate`. Calls
release the interpreter's lock, so threads with a Session each compute at the same time.
"""

import ctypes as c
import os
from types import TracebackType
from typing import (Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type, TypeVar,
                    Union)

from . import _abi

__all__ = ["Answer", "MizanError", "Model", "Session", "Step", "Trainer", "Vocab", "chips", "version"]

_lib = _abi.load()
_T = TypeVar("_T", bound="_Handle")
Path = Union[str, "os.PathLike[str]"]
Messages = Sequence[Dict[str, str]]
Rows = Sequence[Sequence[int]]
_ENDS = ("length", "eos", "stop", "caller")
_SPECIAL, _BOS, _BOS_WANTED, _SKIP_SPECIAL = 1, 2, 4, 8


class MizanError(Exception):
    """What the library refused or could not do: `code` ("ECORRUPT"), file, field, offset, advice."""

    def __init__(self, status: int) -> None:
        text = [_lib.mz_lm_error_message(), _lib.mz_lm_error_file(), _lib.mz_lm_error_field(),
                _lib.mz_lm_error_advice()]
        message, self.file, self.field, self.advice = (t.decode("utf-8", "replace") for t in text)
        self.code: str = _lib.mz_lm_status_name(status).decode()
        self.offset: int = _lib.mz_lm_error_offset()
        super().__init__(message)


class Answer(NamedTuple):
    ids: List[int]
    text: str
    ended: str  # "length", "eos", "stop" or "caller"
    prompt_tokens: int
    kept_tokens: int
    prompt_seconds: float
    text_seconds: float


class Step(NamedTuple):
    step: int
    counted: int
    loss: float
    grad_norm: float


def version() -> str:
    """Of the library that runs."""
    return str(_lib.mz_lm_version().decode())


def chips() -> List[str]:
    return [_lib.mz_lm_chip_name(i).decode() for i in range(_lib.mz_lm_chip_count())]


def _check(status: int) -> None:
    if status != 0:
        raise MizanError(status)


def _bytes(text: Optional[Path]) -> Optional[bytes]:
    return None if text is None else os.fsencode(text)


def _array(ids: Sequence[int]) -> Any:
    return (c.c_int32 * max(len(ids), 1))(*ids)


def _grid(rows: Rows) -> Tuple[Any, int, int]:
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("rows are lists of ids, all of one length, at least one")
    return _array([i for row in rows for i in row]), len(rows), len(rows[0])


class _Handle:
    """Something of the library's that is closed once, by close(), `with`, or the collector."""

    _close: Callable[[Any], None]

    def __init__(self, handle: c.c_void_p) -> None:
        self._handle: Optional[c.c_void_p] = handle

    @property
    def _open(self) -> c.c_void_p:
        if self._handle is None:
            raise ValueError("it is closed")
        return self._handle

    def close(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is not None:
            type(self)._close(handle)

    def __enter__(self: _T) -> _T:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Vocab(_Handle):
    """A tokenizer and its chat template, of a model folder, a tokenizer.json or a GGUF file."""

    _close = _lib.mz_lm_vocab_close

    def __init__(self, source: Path) -> None:
        handle = c.c_void_p()
        _check(_lib.mz_lm_vocab_open(c.byref(handle), _bytes(source)))
        super().__init__(handle)

    def __len__(self) -> int:
        return int(_lib.mz_lm_vocab_size(self._open))

    def _take_ids(self, function: Any, *arguments: Any) -> List[int]:
        ids, count = _abi.Ids(), c.c_size_t()
        _check(function(self._open, *arguments, c.byref(ids), c.byref(count)))
        try:
            return ids[: count.value]
        finally:
            _lib.mz_lm_free(ids)

    def _take_text(self, function: Any, *arguments: Any) -> bytes:
        text, count = c.c_void_p(), c.c_size_t()
        _check(function(self._open, *arguments, c.byref(text), c.byref(count)))
        try:
            return c.string_at(text, count.value)
        finally:
            _lib.mz_lm_free(text)

    def encode(self, text: Union[str, bytes], special: bool = False, bos: bool = False,
               prompt: bool = False) -> List[int]:
        """special: special tokens in the text are special; bos: the begin token first; prompt: the
        same where the model wants one."""
        raw = text.encode() if isinstance(text, str) else text
        flags = _SPECIAL * special | _BOS * bos | _BOS_WANTED * prompt
        return self._take_ids(_lib.mz_lm_encode, raw, len(raw), flags)

    def decode_bytes(self, ids: Sequence[int], skip_special: bool = False) -> bytes:
        return self._take_text(_lib.mz_lm_decode, _array(ids), len(ids), _SKIP_SPECIAL * skip_special)

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        return self.decode_bytes(ids, skip_special).decode("utf-8", "replace")

    def _chat(self, function: Any, take: Any, messages: Messages, template: Optional[str],
              thinking: Optional[bool], answer: bool) -> Any:
        list_of = [_abi.Message(m["role"].encode(), m["content"].encode(),
                                m["reasoning_content"].encode() if "reasoning_content" in m else None)
                   for m in messages]
        array = (_abi.Message * max(len(list_of), 1))(*list_of)
        how = _abi.ChatOptions(chat_template=_bytes(template), no_answer=not answer,
                               thinking=0 if thinking is None else 1 if thinking else 2)
        return take(function, array, len(list_of), c.byref(how))

    def chat_ids(self, messages: Messages, template: Optional[str] = None,
                 thinking: Optional[bool] = None, answer: bool = True) -> List[int]:
        """What a model is fed of [{"role": ..., "content": ...}, ...]."""
        ids: List[int] = self._chat(_lib.mz_lm_chat_encode, self._take_ids, messages, template,
                                    thinking, answer)
        return ids

    def chat_text(self, messages: Messages, template: Optional[str] = None,
                  thinking: Optional[bool] = None, answer: bool = True) -> str:
        text: bytes = self._chat(_lib.mz_lm_chat_text, self._take_text, messages, template, thinking,
                                 answer)
        return text.decode("utf-8", "replace")


class _ModelVocab(Vocab):
    """Borrowed from a model, which it keeps open."""

    def __init__(self, model: "Model") -> None:
        handle = _lib.mz_lm_vocab_of(model._open)
        if not handle:
            raise MizanError(1)
        self._model = model
        _Handle.__init__(self, c.c_void_p(handle))

    def close(self) -> None:
        self._handle = None


class Session(_Handle):
    """One text that grows, of one thread at a time. It keeps its model."""

    _close = _lib.mz_lm_session_free

    def __init__(self, model: "Model", context: int = 0) -> None:
        handle = c.c_void_p()
        how = _abi.SessionOptions(context=context)
        _check(_lib.mz_lm_session_new(c.byref(handle), model._open, c.byref(how)))
        self._vocab = model.vocab
        super().__init__(handle)

    def generate(self, prompt: Union[str, Sequence[int], Messages], max_tokens: int = 128,
                 temperature: float = 0.0, top_p: float = 0.0, top_k: int = 0, min_p: float = 0.0,
                 repeat_penalty: float = 0.0, seed: int = 0, stop: Sequence[str] = (),
                 as_model: bool = False, reuse: bool = False,
                 on_token: Optional[Callable[[int, str], Any]] = None) -> Answer:
        """prompt: a text, ids, or a conversation (a list of messages). on_token(id, text) is called
        as the text comes (id -1: what is left at the end); what it returns, if true, stops. What it
        raises stops too, and is raised again here."""
        stops = (c.c_char_p * max(len(stop), 1))(*[s.encode() for s in stop])
        raised: List[BaseException] = []

        def hear(_user: Any, id_: int, text: Any, count: int) -> int:
            try:
                return 1 if on_token and on_token(id_, text[:count].decode("utf-8", "replace")) else 0
            except BaseException as error:  # must not pass through C
                raised.append(error)
                return 1

        how = _abi.GenerateOptions(max_tokens=max_tokens, temperature=temperature, top_p=top_p,
                                   min_p=min_p, repeat_penalty=repeat_penalty, top_k=top_k, seed=seed,
                                   stops=stops, n_stops=len(stop), as_model=as_model, reuse=reuse,
                                   on_token=_abi.TokenFunction(hear if on_token else 0))
        out = _abi.Answer()
        ids = self._ids_of(prompt)
        _check(_lib.mz_lm_generate(self._open, _array(ids), len(ids), c.byref(how), c.byref(out)))
        if raised:
            raise raised[0]
        return Answer(out.ids[: out.n_ids] if out.n_ids else [],
                      out.text[: out.text_bytes].decode("utf-8", "replace"), _ENDS[out.ended],
                      out.prompt_tokens, out.kept_tokens, out.prompt_seconds, out.text_seconds)

    def _ids_of(self, prompt: Any) -> List[int]:
        if isinstance(prompt, str):
            return self._vocab.encode(prompt, prompt=True)
        if prompt and isinstance(prompt[0], dict):
            return self._vocab.chat_ids(prompt)
        return list(prompt)


class Model(_Handle):
    """A Hugging Face folder or a GGUF file with its weights loaded; any number of threads."""

    _close = _lib.mz_lm_close

    def __init__(self, path: Path, chip: Optional[str] = None, dtype: Optional[str] = None,
                 threads: int = 0, isa: Optional[str] = None, adapter: Optional[Path] = None,
                 driver_path: Optional[Path] = None) -> None:
        handle = c.c_void_p()
        how = _abi.Options(chip=_bytes(chip), dtype=_bytes(dtype), threads=threads, isa=_bytes(isa),
                           adapter=_bytes(adapter), driver_path=_bytes(driver_path))
        _check(_lib.mz_lm_open(c.byref(handle), _bytes(path), c.byref(how)))
        super().__init__(handle)

    @property
    def vocab(self) -> Vocab:
        return _ModelVocab(self)

    @property
    def info(self) -> Dict[str, Union[int, str]]:
        out = _abi.Info()
        _check(_lib.mz_lm_ask(self._open, c.byref(out)))
        facts = {name: int(getattr(out, name)) for name, *_ in _abi.Info._fields_[2:]}
        return {"family": out.family.decode(), **facts}

    def session(self, context: int = 0) -> Session:
        return Session(self, context)

    def generate(self, prompt: Union[str, Sequence[int], Messages], **options: Any) -> Answer:
        """In a session of its own; the options are Session.generate's."""
        with Session(self) as session:
            return session.generate(prompt, **options)

    def loss(self, rows: Rows, labels: Optional[Rows] = None) -> float:
        """Mean over the positions that count; labels as in mizan.h (-100: not counted)."""
        ids, b, t = _grid(rows)
        loss = c.c_double()
        want = _grid(labels)[0] if labels is not None else None
        _check(_lib.mz_lm_probe(self._open, ids, want, b, t, None, c.byref(loss)))
        return loss.value

    def logits(self, rows: Rows) -> "c.Array[c.c_float]":
        """B*T*vocab floats, row-major: numpy.ctypeslib.as_array(it).reshape(B, T, -1) is a view."""
        ids, b, t = _grid(rows)
        out = (c.c_float * (b * t * int(self.info["vocab"])))()
        _check(_lib.mz_lm_probe(self._open, ids, None, b, t, out, None))
        return out


class Trainer(_Handle):
    """A model that learns: from a folder or GGUF, or random from a config.json. One thread at a
    time."""

    _close = _lib.mz_lm_trainer_close

    def __init__(self, source: Path, rows: int = 0, seq: int = 0, seed: int = 0,
                 chip: Optional[str] = None, dtype: Optional[str] = None, threads: int = 0,
                 recompute: bool = False, balance: float = 0.0, mtp: float = 0.0,
                 bias_rate: float = 0.0, lora_rank: int = 0, lora_alpha: float = 0.0,
                 lora_targets: Optional[str] = None, adapter: Optional[Path] = None) -> None:
        handle = c.c_void_p()
        how = _abi.TrainerOptions(chip=_bytes(chip), dtype=_bytes(dtype), rows=rows, seq=seq,
                                  seed=seed, balance=balance, threads=threads, recompute=recompute, mtp=mtp,
                                  bias_rate=bias_rate, lora_rank=lora_rank, lora_alpha=lora_alpha,
                                  lora_targets=_bytes(lora_targets), adapter=_bytes(adapter))
        _check(_lib.mz_lm_trainer_open(c.byref(handle), _bytes(source), c.byref(how)))
        super().__init__(handle)

    def step(self, rows: Rows, labels: Optional[Rows] = None, lr: float = 1e-3, beta1: float = 0.9,
             beta2: float = 0.95, eps: float = 1e-8, weight_decay: float = 0.1,
             clip: float = 1.0) -> Step:
        ids, b, t = _grid(rows)
        want = _grid(labels)[0] if labels is not None else None
        how = _abi.Optim(lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
                         clip=clip)
        out = _abi.StepResult()
        _check(_lib.mz_lm_trainer_step(self._open, ids, want, b, t, c.byref(how), c.byref(out)))
        return Step(out.step, out.counted, out.loss, out.grad_norm)

    def save(self, folder: Path) -> None:
        _check(_lib.mz_lm_trainer_save(self._open, _bytes(folder)))

    def load(self, folder: Path) -> None:
        _check(_lib.mz_lm_trainer_load(self._open, _bytes(folder)))
