#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokenizers that travel with weights: a small model with each real tokenizer goes from a folder into a GGUF and
back. The tokenizers library reads the folder that comes out, llama.cpp and Mizan the GGUF: all to the same ids, with
special tokens as such and as text. transformers reads the folder too: chat template, begin, end and padding tokens as
they were. MIZAN_SEED repeats a run.
"""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata

import gguf_files
import tokenizer_ids
import torch
import transformers
from tokenizers import Tokenizer

MIZAN = os.environ.get("MIZAN_PROGRAM", "build/mizan")
SEED = int(os.environ.get("MIZAN_SEED") or random.randrange(1 << 31))
WORDS = ["the", " The", "don't", " I'LL", "we've", "\n", "\n\n", "\r\n", "\t", "  ", "   x", "1234567", "3.14", "x=y*2;", "def f(x):\n    return x",
         "你好，世界", "日本語の", "カタカナ", "سلام دنیا", "مرحبا", "می‌خواهم", "café", "naïve", "Ωμέγα", "🙂", "👩‍👩‍👧", "!!!", "...", "$5", "№", "²",
         "https://a.b/c?d=e", "<div>", "{\"k\": [1]}", "'s", "’s", " ", "한국어", "हिन्दी", "ไทย", "\u00a0", "\u3000"]


def texts(rng, special):
    out = ["".join(rng.choices(WORDS, k=rng.randint(1, 30))) for _ in range(1500)]
    for text in out[::3]:
        out.append(text + rng.choice(special) + rng.choice(WORDS))
    # llama.cpp has no normal forms, Qwen's tokenizer makes them
    return [unicodedata.normalize("NFC", t) for t in out]


def model(folder, tokenizer, rows):
    """A llama of width 8 with that tokenizer."""
    config = transformers.LlamaConfig(vocab_size=rows, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
                                      num_key_value_heads=1, max_position_embeddings=256, tie_word_embeddings=True)
    torch.manual_seed(1)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder)


def mizan_ids(source, lines, special):
    command = [MIZAN, "tokenizer", "encode", source, "--jsonl"] + (["--special"] if special else [])
    answer = subprocess.run(command, input="".join(json.dumps({"text": t}) + "\n" for t in lines), text=True, capture_output=True, check=True)
    return [json.loads(line)["ids"] for line in answer.stdout.splitlines()]


def llama_ids(path, lines, special):
    request = {"model": path, "texts": lines, "special": special}
    answer = subprocess.run(["node", "llama_cpp.mjs"], input=json.dumps(request), capture_output=True, text=True, cwd=gguf_files.NODE,
                            timeout=300)
    if answer.returncode:
        sys.exit("tokenizer_files: llama.cpp: " + answer.stderr[-600:])
    return json.loads(answer.stdout.splitlines()[-1])["ids"]


def library_ids(tokenizer, lines, special):
    tokenizer.encode_special_tokens = not special
    return [tokenizer.encode(t, add_special_tokens=False).ids for t in lines]


def differences(what, got, want, lines):
    wrong = [i for i, (a, b) in enumerate(zip(got, want, strict=True)) if a != b]
    for i in wrong[:2]:
        print(f"    {what}: {lines[i]!r}\n      {got[i]}\n      {want[i]}")
    return len(wrong)


def spoken(folder):
    """What transformers makes of the folder beside ids."""
    t = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    return {"bos": t.bos_token_id, "eos": t.eos_token_id, "pad": t.pad_token_id, "chat": t.chat_template}


def compare(name, source, work, rng):
    folder, path, again = work / "model", work / "model.gguf", work / "again"
    official = Tokenizer.from_file(str(source / "tokenizer.json"))
    rows = (max(official.get_vocab(True).values()) + 70) // 64 * 64
    model(folder, source, rows)
    subprocess.run([MIZAN, "convert", folder, path, "--to", "gguf"], check=True)
    subprocess.run([MIZAN, "convert", path, again, "--to", "hf"], check=True)
    back = Tokenizer.from_file(str(again / "tokenizer.json"))
    control = [t.content for t in official.get_added_tokens_decoder().values() if t.special]
    lines = texts(rng, control)
    found = {}
    for special in (False, True):
        want = library_ids(official, lines, special)
        kind = "special" if special else "text"
        found["folder " + kind] = differences("library on the folder", library_ids(back, lines, special), want, lines)
        found["mizan " + kind] = differences("mizan on the GGUF", mizan_ids(path, lines, special), want, lines)
        found["mizan folder " + kind] = differences("mizan on the folder", mizan_ids(again, lines, special), want, lines)
        found["llama.cpp " + kind] = differences("llama.cpp", llama_ids(str(path), lines, special), want, lines)
    before, after = spoken(folder), spoken(again)
    for key in before:
        if before[key] != after[key] and before[key] is not None:
            print(f"    {key}: {str(after[key])[:70]!r}, was {str(before[key])[:70]!r}")
            found[key] = 1
    bad = sum(found.values())
    print(f"{name:12} {rows} rows, {len(lines)} texts twice: {bad} differences {({k: v for k, v in found.items() if v}) if bad else ''}", flush=True)
    return bad


def main():
    gguf_files.install()
    rng = random.Random(SEED)
    print(f"seed {SEED}, transformers {transformers.__version__}, {gguf_files.LLAMA_CPP}")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    bad = 0
    for name, source in tokenizer_ids.folders().items():
        with tempfile.TemporaryDirectory() as work:
            bad += compare(name, pathlib.Path(source), pathlib.Path(work), rng)
    print(f"tokenizer_files: {bad} differences")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
