# SPDX-License-Identifier: Apache-2.0
"""How Mizan's speed grows and falls: scaling.py [--threads N] [--rounds N] [--model MODEL] [--out FILE.svg]

threads    training of two networks of bench/models.py and prefill of MODEL, on one thread and on N, in turn; eight texts of MODEL
           that grow together, and one
sequence   training of llama 7.3M, the same tokens a step, in samples of 256 to 8,192 positions. The law: what a token costs
           is a + b * positions, since a position of attention looks back at half of them
start      of llama 100M: from the start of the process until the first step can begin

Prints tables, writes CSVs and the plot of the sequences beside it (positions.py plots decoding)."""

import argparse
import csv
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import models
import positions

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIZAN = os.environ.get("MIZAN_PROGRAM", str(ROOT / "build" / "mizan"))
TOKENS, SEQUENCES = 8192, [256, 512, 1024, 2048, 4096, 8192]


def run(words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"scaling: {' '.join(map(str, words[:3]))} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def train_ns(folder, threads, steps=3):
    """Nanoseconds of a step without the first, the middle of `steps`, and those until the first began."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    start = time.monotonic_ns()
    run([MIZAN, "train", folder / "train.yaml", f"run.steps={steps + 1}", "--threads", threads, "--json"])
    whole = time.monotonic_ns() - start
    log = [json.loads(line) for line in open(folder / "run" / "log.jsonl", encoding="utf-8")]
    tokens = log[0]["tokens"]
    steps_ns = [tokens / step["tokens_per_s"] * 1e9 for step in log]
    return statistics.median(steps_ns[1:]), whole - sum(steps_ns)


def streams(options):
    words = [MIZAN, "bench", "decode", options.model, "--dtype", "bf16", "--repetitions", 32, "--threads", options.threads, "--json"]
    one = lambda n: statistics.median(json.loads(run([*words, "--streams", n]))["decode_ns"])
    times = statistics.median(8 * one(1) / one(8) for _ in range(options.rounds))
    print(f"eight texts at once {times:.2f} times the tokens of one", flush=True)
    return times


def threads_table(options, work):
    jobs = {f"training, {name}": lambda n, f=models.write(work, name): train_ns(f, n)[0] for name in ["llama 7.3M", "llama 100M"]}
    if options.model:
        words = [MIZAN, "bench", "prefill", options.model, "--dtype", "bf16", "--repetitions", 3, "--json", "--threads"]
        jobs["prefill, 512 tokens in bf16"] = lambda n: statistics.median(json.loads(run([*words, n]))["prefill_ns"])
    rows = []
    if options.model:
        rows.append(("decoding eight texts in bf16, tokens/s beside one text", streams(options)))
    for what, job in jobs.items():
        pairs = [(job(1), job(options.threads)) for _ in range(options.rounds)]
        rows.append((f"{what}, {options.threads} threads beside one", statistics.median(a / b for a, b in pairs)))
        print(f"{rows[-1][0]:50} {rows[-1][1]:.2f} times as fast", flush=True)
    return rows


def sequence_points(options, work):
    points = []
    for seq in SEQUENCES:
        folder = models.write(work / str(seq), "llama 7.3M", TOKENS // seq, seq)
        points.append((seq, train_ns(folder, options.threads)[0] / TOKENS))
    a, b = positions.law(points)
    for seq, ns in points:
        print(f"{seq:6} positions a sample {1e9 / ns:8.1f} tokens/s, the law {1e9 / (a + b * seq):8.1f} ({100 * (ns / (a + b * seq) - 1):+.0f} %)")
    positions.plot(points, a, b, options.out, "training of llama 7.3M, tokens/s (to {:.0f}) against positions of a sample; the line is a + b n")
    return points, a, b


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--model")
    read.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results/sequence.svg")
    options = read.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        speedups = threads_table(options, work)
        points, a, b = sequence_points(options, work)
        start = [train_ns(models.write(work, "llama 100M"), options.threads, 1)[1] for _ in range(options.rounds)]
        print(f"llama 100M: {statistics.median(start) * 1e-9:.2f} s of a short run are not steps: loading, random weights, the end")
    with open(options.out.with_suffix(".csv"), "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([["positions", "ns_a_token", "law_ns"], *[[n, int(ns), int(a + b * n)] for n, ns in points]])
    with open(options.out.with_name("threads.csv"), "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([["what", "times"], *[[what, f"{times:.3f}"] for what, times in speedups]])


if __name__ == "__main__":
    main()
