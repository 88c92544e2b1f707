#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Event files of `mizan train`, read by TensorBoard's own EventAccumulator, against log.jsonl.

Three runs of a small model: one that nothing disturbs, one that is killed twice, its last record torn,
and gone on with, and one on two ranks. Every step of the log is there once, with every number
of its line, in f32.

  tools/peers/tensorboard.py [--steps N]
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.pop(0)  # this file has the name of the package
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIZAN = os.environ.get("MIZAN_PROGRAM", os.path.join(ROOT, "build", "mizan"))
KEYS = ["loss", "lr", "grad_norm", "tokens_per_s", "flops_per_s", "skipped", "eval_loss",
        "expert_load"]  # fmt: skip


def prepare(folder, steps):
    with open(os.path.join(folder, "rows.jsonl"), "w", encoding="utf-8") as file:
        for i in range(256):
            ids = [(7 * i + k * (i + 3)) % 300 for k in range(25)]
            file.write(json.dumps({"ids": ids}) + "\n")
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300,
                   "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                   "num_attention_heads": 2, "num_key_value_heads": 1,
                   "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                   "tie_word_embeddings": True}, file)  # fmt: skip
    with open(os.path.join(folder, "train.yaml"), "w", encoding="utf-8") as file:
        json.dump({"model": {"config": "config.json"},
                   "data": {"path": "rows.jsonl", "seq": 24, "validation": "rows.jsonl"},
                   "run": {"dir": "run", "steps": steps, "checkpoint_every": 20, "eval_every": 10,
                           "eval_samples": 8},
                   "batch": {"global": 4, "micro": 4}, "optim": {"lr": 1e-2}}, file)  # fmt: skip


def train(folder, run, *more):
    environment = dict(os.environ, XDG_STATE_HOME=os.path.join(folder, "state"))
    return subprocess.Popen([MIZAN, "train", "train.yaml", f"run.dir={run}", *more], cwd=folder,
                            env=environment, stderr=subprocess.DEVNULL)


def checkpoints(folder, run):
    return len(glob.glob(os.path.join(folder, run, "checkpoints", "step-*", "manifest.json")))


def kill(folder, run, begun):
    """Once another checkpoint is there."""
    process = train(folder, run, "run.steps=1000000", f"run.keep={begun + 5}")
    while checkpoints(folder, run) <= begun and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    return checkpoints(folder, run)


def compare(folder, run):
    with open(os.path.join(folder, run, "log.jsonl"), encoding="utf-8") as file:
        log = [json.loads(line) for line in file]
    board = os.path.join(folder, run, "tensorboard")
    reader = EventAccumulator(board, size_guidance={"scalars": 0})
    reader.Reload()
    count, wrong = 0, []
    for key in KEYS:
        want = [(line["step"], np.float32(line[key])) for line in log if key in line]
        tags = reader.Tags()["scalars"]
        got = [(e.step, np.float32(e.value)) for e in reader.Scalars(key)] if key in tags else []
        times = [e.wall_time for e in reader.Scalars(key)] if key in tags else []
        if got != want:
            lost = sorted(set(want) ^ set(got))[:3]
            wrong.append(f"{key}: {len(got)} values, want {len(want)}, not alike: {lost}")
        if any(abs(t - line["time"]) > 1e-3 for t, line in zip(times, log)) and len(times) == len(log):
            wrong.append(f"{key}: other times")
        count += len(want)
    files = len(os.listdir(board))
    print(f"{run}: {len(log)} steps, {count} values in {files} files: "
          + ("; ".join(wrong) if wrong else "equal"))
    return not wrong and len(log) > 0


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--steps", type=int, default=200)
    steps = options.parse_args().steps
    fast = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=fast) as folder:
        prepare(folder, steps)
        assert train(folder, "undisturbed").wait() == 0
        begun = kill(folder, "killed", 0)
        newest = max(glob.glob(os.path.join(folder, "killed", "tensorboard", "*")))
        with open(newest, "ab") as file:  # a record that was being written
            file.write(b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09\x01")
        begun = kill(folder, "killed", begun)
        last = 20 * (begun + 3)
        assert train(folder, "killed", f"run.steps={last}").wait() == 0
        ranks = "ranks=[{chip: cpu, share: 2}, {chip: far, share: 1}]"
        assert train(folder, "ranks", ranks).wait() == 0
        good = [compare(folder, run) for run in ("undisturbed", "killed", "ranks")]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
