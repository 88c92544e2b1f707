#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What two chips reach together: mixed.py [--steps N] [--rounds N] [--model llama|deepseek] [--out FILE.csv]

The cpu chip on the first core and the OpenCL device on the second, each thread of a rank pinned to its rank's core: tokens/s of
each alone, of both together at shares swept around what they reach alone, and at `share: auto`; in turn, so that what else the
machine does falls on all. A figure is the median over rounds of a run's median step. Two ratios count: the best mixed speed to
the sum of both alone (95 % wanted), and `auto` to the best of the sweep (97 %)."""

import argparse
import csv
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIZAN = os.environ.get("MIZAN_PROGRAM", str(ROOT / "build" / "mizan"))
SECOND = os.environ.get("MIZAN_CHIP", "opencl:0")
GLOBAL, MICRO, SEQ, VOCAB = 64, 4, 128, 512
COMMON = {"vocab_size": VOCAB, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
          "num_key_value_heads": 6, "max_position_embeddings": SEQ, "rms_norm_eps": 1e-6, "rope_theta": 10000, "hidden_act": "silu",
          "tie_word_embeddings": False, "initializer_range": 0.02, "bos_token_id": None, "eos_token_id": None}
MODELS = {
    "llama": COMMON | {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    "deepseek": COMMON | {
        "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "moe_intermediate_size": 96,
        "first_k_dense_replace": 1, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1,
        "topk_group": 1, "routed_scaling_factor": 1.0, "norm_topk_prob": True, "q_lora_rank": None, "kv_lora_rank": 64,
        "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
        "num_nextn_predict_layers": 0}}


def children(pid):
    try:
        return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def pin(pid, core):
    """Every thread of a process, and those that it makes later."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})
    except OSError:
        pass  # gone


class Bench:
    def __init__(self, folder, model, steps):
        self.folder, self.steps, self.runs = pathlib.Path(folder), steps, 0
        (self.folder / "config.json").write_text(json.dumps(MODELS[model]), encoding="utf-8")
        rng = random.Random(1)
        rows = [{"ids": [rng.randrange(VOCAB) for _ in range(SEQ)]} for _ in range(256)]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")

    def train(self, ranks, cores):
        """The median step's tokens/s, and shares.json's shares if there are any."""
        self.runs += 1
        run = self.folder / f"run{self.runs}"
        config = {"model": {"config": str(self.folder / "config.json")}, "ranks": ranks,
                  "data": {"path": str(self.folder / "rows.jsonl"), "seq": SEQ},
                  "run": {"dir": str(run), "steps": self.steps, "checkpoint_every": 0, "tensorboard": False},
                  "batch": {"global": GLOBAL, "micro": MICRO}, "optim": {"lr": 1e-3}}
        (self.folder / "train.yaml").write_text(json.dumps(config), encoding="utf-8")
        words = [MIZAN, "train", str(self.folder / "train.yaml"), "--threads", "1"]
        # PoCL makes a thread a core that it sees when it is opened
        with subprocess.Popen(words, env=os.environ | {"POCL_MAX_PTHREAD_COUNT": "1"}, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                for child, core in zip(children(process.pid), cores):
                    pin(child, core)
                time.sleep(0.02)
            if process.returncode:
                sys.exit(f"mixed: mizan train ended with {process.returncode}: {process.stderr.read()[-500:]}")
        log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        found = run / "shares.json"
        shares = json.loads(found.read_text(encoding="utf-8"))["shares"] if found.exists() else None
        return statistics.median(r["tokens_per_s"] for r in log[2:]), shares


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--steps", type=int, default=12)
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--model", choices=MODELS, default="llama")
    read.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results/mixed.csv")
    options = read.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        read.error("two cores are wanted")
    print(f"load when it begins: {os.getloadavg()[0]:.2f}")
    speeds, autos = {}, []

    def put(name, ranks, on):
        speed, shares = bench.train(ranks, on)
        speeds.setdefault(name, []).append(speed)
        print(f"  {name:24} {speed:9.1f} tokens/s{f'  {shares}' if shares else ''}", flush=True)
        return speed, shares

    with tempfile.TemporaryDirectory(prefix="mixed-") as folder:
        bench = Bench(folder, options.model, options.steps)
        for _ in range(options.rounds):
            one, _ = put("cpu alone", [{"chip": "cpu"}], cores[:1])
            two, _ = put(f"{SECOND} alone", [{"chip": SECOND}], cores[1:2])
            middle = round(GLOBAL * two / (one + two))
            for k in range(max(1, middle - 2), min(GLOBAL - 1, middle + 2) + 1):
                put(f"{GLOBAL - k} : {k}", [{"chip": "cpu", "share": GLOBAL - k}, {"chip": SECOND, "share": k}], cores[:2])
            auto = [{"chip": "cpu", "share": "auto"}, {"chip": SECOND, "share": "auto"}]
            autos.append(put("auto", auto, cores[:2])[1])
    middle = {name: statistics.median(all_of) for name, all_of in speeds.items()}
    swept = {name: speed for name, speed in middle.items() if ":" in name and "alone" not in name}
    best = max(swept, key=swept.get)
    alone = middle["cpu alone"] + middle[f"{SECOND} alone"]
    print(f"{options.model}: best share {best}, {swept[best]:.1f} tokens/s: {100 * swept[best] / alone:.1f} % of {alone:.1f}, both alone")
    print(f"auto {autos}: {100 * middle['auto'] / swept[best]:.1f} % of the best share")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with open(options.out, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["what", "tokens_per_s", *(f"round_{i + 1}" for i in range(options.rounds))])
        rows.writerows([name, middle[name], *all_of] for name, all_of in speeds.items())


if __name__ == "__main__":
    main()
