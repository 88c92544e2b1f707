# SPDX-License-Identifier: Apache-2.0
"""Mizan beside its peers, in turn (A B A B ...), on the same threads: every repetition becomes a row of a CSV.

  measure.py [--threads N] [--rounds N] [--steps N] [--only train,text] [--model NAME] [--all] [--out FILE.csv]

train   the networks of bench/models.py; tokens of a step after one that is not counted   peer: PyTorch + transformers
text    SmolLM2-135M as GGUF of several types; prefill of 512 and 2,048 tokens, 64 more   peer: llama.cpp
        one by one, with the share of the speed at which memory was read alone
--all also tries the peers' settings that were slower when they were looked for. A peer that is not installed or fails is
named on stderr and left out."""

import argparse
import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import models

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIZAN = os.environ.get("MIZAN_PROGRAM", str(ROOT / "build" / "mizan"))
PYTHON = os.environ.get("MIZAN_PEERS_PYTHON", str(ROOT / ".cache/peers/bin/python"))
PEERS = pathlib.Path(os.environ.get("MIZAN_PEERS", ROOT / ".cache/peers"))
NODE, TEXT = PEERS / "node", PEERS / "smollm2"
PREFILLS, DECODE, KINDS = [512, 2048], 64, ["bf16", "q8_0", "q4_1", "q4_0", "f16"]
HAS_BF16 = any(flag in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8") for flag in ["avx512_bf16", "amx_bf16", " bf16"])
FIELDS = ["part", "what", "who", "setting", "round", "repetition", "tokens", "ns", "peak_bytes", "read_share", "flop"]


class Rows:
    """The CSV, written as rows come: a run that is broken off keeps what it has."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "w", newline="", encoding="utf-8")
        self.csv = csv.DictWriter(self.file, FIELDS)
        self.csv.writeheader()

    def put(self, key, who, setting, turn, times, tokens, peak=0, share="", flop=""):
        for i, ns in enumerate(times):
            self.csv.writerow(dict(zip(FIELDS, [*key, who, setting, turn, i, tokens, int(ns), peak, share, flop])))
        self.file.flush()
        rate = tokens * len(times) / sum(times) * 1e9
        print(f"  {key[1]:28} {who:10} {setting:14} {rate:9.1f} tokens/s", flush=True)


def answer(words, **more):
    """A program's stdout as JSON, without the lines before the first brace; None, with the reason on stderr, where it failed."""
    try:
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, timeout=900, **more)
    except (OSError, subprocess.TimeoutExpired) as why:
        print(f"measure: {words[0]}: {why}", file=sys.stderr)
        return None
    if done.returncode:
        print(f"measure: {words[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout[done.stdout.index("{"):])


def train_mizan(folder, options):
    shutil.rmtree(folder / "run", ignore_errors=True)
    if not answer([MIZAN, "train", folder / "train.yaml", f"run.steps={options.steps + 1}", "--threads", options.threads, "--json"]):
        sys.exit("measure: our own training failed")
    log = [json.loads(line) for line in open(folder / "run" / "log.jsonl", encoding="utf-8")]
    tokens = log[0]["tokens"]
    flop = round(tokens * log[-1]["flops_per_s"] / log[-1]["tokens_per_s"])  # by the network's formula, attention included
    return [tokens / step["tokens_per_s"] * 1e9 for step in log[1:]], tokens, log[-1]["peak_bytes"], flop


def settings_of(name, options):
    """The peer's settings that are tried: without bf16 instructions PyTorch's products of bf16 take tens of times as long as its
    f32 (llama 7.3M: 62 to 1,612 tokens/s), so there f32 alone is measured."""
    settings = models.MODELS[name][3]
    if not HAS_BF16:
        settings = [setting for setting in settings if setting.startswith("f32")]
    return settings[:None if options.all else 1]


def train(rows, options, work):
    for name in [name for name in models.MODELS if options.model in name]:
        folder = models.write(work, name)
        settings = settings_of(name, options)
        for turn in range(options.rounds):
            times, tokens, peak, flop = train_mizan(folder, options)
            rows.put(("train", name), "mizan", "bf16", turn, times, tokens, peak, flop=flop)
            for setting in settings:
                words = [PYTHON, "-B", ROOT / "bench/torch_train.py", folder, setting, options.threads, options.steps]
                peer = answer(words, env={**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"})
                if peer:
                    rows.put(("train", name), "pytorch", setting, turn, peer["ns"], tokens, peer["peak_bytes"])


def text_files(work):
    """SmolLM2 in every type; the packaged one as it is."""
    plain, files = work / "f32.gguf", {"q4_1": sorted(TEXT.glob("*.gguf"))[0]}
    subprocess.run([MIZAN, "convert", files["q4_1"], plain, "--to", "gguf", "--type", "f32"], check=True, capture_output=True)
    for kind in KINDS:
        if kind not in files:
            files[kind] = work / f"{kind}.gguf"
            subprocess.run([MIZAN, "convert", plain, files[kind], "--to", "gguf", "--type", kind], check=True, capture_output=True)
    return files


def text_mizan(rows, options, kind, file, turn):
    """Every type as it lies, computed in f32 and in bf16."""
    for dtype in [None, "bf16"]:
        more = ["--threads", options.threads, "--json", *(["--dtype", dtype] if dtype else [])]
        setting = kind + (" in bf16" if dtype else "")
        for positions in PREFILLS:
            out = answer([MIZAN, "bench", "prefill", file, "--positions", positions, "--repetitions", 2, *more])
            if not out:
                sys.exit("measure: our own prefill failed")
            rows.put(("text", f"prefill {positions} {kind}"), "mizan", setting, turn, out["prefill_ns"], positions)
        out = answer([MIZAN, "bench", "decode", file, "--positions", PREFILLS[0], "--repetitions", DECODE, *more])
        if not out:
            sys.exit("measure: our own decoding failed")
        rows.put(("text", f"decode {kind}"), "mizan", setting, turn, out["decode_ns"], 1, share=out["read_share"])


def text(rows, options, work):
    if not list(TEXT.glob("*.gguf")):
        print("measure: no SmolLM2 in .cache/peers, `tools/check_peers smollm2` brings it", file=sys.stderr)
        return
    files = text_files(work)
    if NODE.is_dir():
        shutil.copy(ROOT / "bench/llama_speed.mjs", NODE)
    for kind in KINDS:
        for turn in range(options.rounds):
            text_mizan(rows, options, kind, files[kind], turn)
            for positions in PREFILLS if NODE.is_dir() else []:
                tokens = DECODE if positions == PREFILLS[0] else 0
                peer = answer(["node", "llama_speed.mjs", files[kind].resolve(), options.threads, positions, tokens], cwd=NODE)
                if peer:
                    rows.put(("text", f"prefill {positions} {kind}"), "llama.cpp", kind, turn, [peer["prefill_ns"]], positions)
                if peer and tokens:
                    rows.put(("text", f"decode {kind}"), "llama.cpp", kind, turn, [peer["decode_ns"]], tokens)


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--steps", type=int, default=3)
    read.add_argument("--only", default="train,text")
    read.add_argument("--model", default="", help="only networks whose name holds this")
    read.add_argument("--all", action="store_true")
    read.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results/peers.csv")
    options = read.parse_args()
    rows = Rows(options.out)
    with tempfile.TemporaryDirectory() as work:
        for part in options.only.split(","):
            {"train": train, "text": text}[part](rows, options, pathlib.Path(work))


if __name__ == "__main__":
    main()
