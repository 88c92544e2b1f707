#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One training on other chips: does it learn the same? placements.py [--steps N] [--seeds 1,2,...] [--out FOLDER] [NAME ...]

A small deepseek_v3 and a small qwen2 (NAME), the same weights, rows and global batch, f32: on one rank of the cpu chip, on the
OpenCL device alone, on both at three shares, and as a pipeline cut at two places. Every step's loss is held to 1e-4 of the one
rank's. The spread between seeds stands beside it: what another seed changes, against what other chips change.

A router's choice of experts is not continuous. Where two experts' scores are nearer than f32 can tell, chips may choose
differently, and from there on these are two trainings. So where losses depart, both are run again with a checkpoint a step, and
`mizan probe` names the first token whose experts differ and how far apart the scores were (relative to the largest chosen one):
above 1e-5, docs/numerics.md's own limit, it is an error; below, the steps before it are held to 1e-4 and those after only shown.

Writes placements.csv and placements.svg to FOLDER (bench/results)."""

import argparse
import csv
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIZAN = os.environ.get("MIZAN_PROGRAM", str(ROOT / "build" / "mizan"))
OPENCL = os.environ.get("MIZAN_CHIP", "opencl:0")
GLOBAL, MICRO, SEQ, ROWS, VOCAB = 8, 2, 32, 600, 256
STEP, DEPARTED, TIE = 1e-4, 1e-5, 1e-5
COMMON = {"vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
          "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000, "tie_word_embeddings": False,
          "initializer_range": 0.05, "hidden_act": "silu", "bos_token_id": None, "eos_token_id": None}
NETWORKS = {
    "deepseek_v3": COMMON | {
        "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "num_key_value_heads": 4,
        "moe_intermediate_size": 32, "first_k_dense_replace": 1, "n_routed_experts": 8, "n_shared_experts": 1,
        "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.0, "norm_topk_prob": True,
        "q_lora_rank": None, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc", "num_nextn_predict_layers": 0},
    "qwen2": COMMON | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 2},
}


def placements(chip):
    shares = {f"cpu {a} : {b} {chip}": [{"chip": "cpu", "share": a}, {"chip": chip, "share": b}] for a, b in [(1, 1), (3, 1), (1, 3)]}
    return {f"{chip} alone": [{"chip": chip}], **shares,
            f"cpu 2 + 2 {chip}": [{"chip": "cpu", "layers": 2}, {"chip": chip, "layers": 2}],
            f"{chip} 1 + 3 cpu": [{"chip": chip, "layers": 1}, {"chip": "cpu", "layers": 3}]}


def make_rows(seed):
    """Each id follows from the one before, more often than not: there is something to learn."""
    rng = random.Random(seed)
    after = [[rng.randrange(VOCAB) for _ in range(3)] for _ in range(VOCAB)]
    rows = [[rng.randrange(VOCAB)] for _ in range(ROWS)]
    for row in rows:
        while len(row) < SEQ:
            row.append(rng.choice(after[row[-1]]) if rng.random() < 0.9 else rng.randrange(VOCAB))
    return rows


class Job:
    """A network and a seed, in a folder of its own."""

    def __init__(self, folder, name, seed, steps):
        self.folder, self.seed, self.steps, self.rows = pathlib.Path(folder), seed, steps, make_rows(seed)
        (self.folder / "config.json").write_text(json.dumps(NETWORKS[name]), encoding="utf-8")
        lines = "".join(json.dumps({"ids": row}) + "\n" for row in self.rows)
        (self.folder / "rows.jsonl").write_text(lines, encoding="utf-8")

    def train(self, run, ranks, every=0):
        """Losses of all steps. Every 1: with the checkpoints of all of them."""
        config = {
            "model": {"config": str(self.folder / "config.json")},
            "data": {"path": str(self.folder / "rows.jsonl"), "seq": SEQ, "shuffle": False},
            "run": {"dir": str(self.folder / run), "steps": self.steps, "seed": self.seed, "checkpoint_every": every,
                    "keep": self.steps + 1},
            "batch": {"global": GLOBAL, "micro": MICRO},
            "optim": {"lr": 3e-3, "clip": 1.0}, "guard": {"sigma": 0},
            "schedule": {"kind": "cosine", "warmup": 20, "min_lr": 3e-4}} | ({"ranks": ranks} if ranks else {})  # fmt: skip
        shutil.rmtree(self.folder / run, ignore_errors=True)
        (self.folder / "train.yaml").write_text(json.dumps(config), encoding="utf-8")
        words = [MIZAN, "train", str(self.folder / "train.yaml"), "--threads", "1"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"placements: mizan train ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        lines = (self.folder / run / "log.jsonl").read_text(encoding="utf-8").splitlines()
        losses = [json.loads(line)["loss"] for line in lines]
        assert len(losses) == self.steps, f"{len(losses)} steps of {self.steps}"
        return losses

    def choices(self, run, step):
        """{layer: (ids, weights)} with which a run routes the rows of this step (0 is the first)."""
        at, ids, out = self.folder / run / "checkpoints" / f"step-{step:08}", self.folder / "ids.st", self.folder / "out.st"
        rows = [self.rows[(step * GLOBAL + i) % ROWS] for i in range(GLOBAL)]
        write_ids(ids, rows)
        chip = OPENCL if run.startswith("other") else "cpu"
        subprocess.run([MIZAN, "probe", at, "--ids", ids, "--out", out, "--router-out", "--threads", "1", "--chip", chip], check=True,
                       capture_output=True)
        return read_router(out)

    def tie(self, ranks, step):
        """The first choice that differs, near where losses depart: (step, layer, token, margin of the scores); None: there is none."""
        self.train("one", None, 1)
        self.train("other", ranks, 1)
        for at in range(max(1, step - 12), step + 1):
            one, other = self.choices("one", at), self.choices("other", at)
            for layer, (ids, weights) in sorted(one.items()):
                ids2, weights2 = other[layer]
                far = [t for t, _ in enumerate(ids) if ids[t] != ids2[t]]
                if far:
                    return at + 1, layer, far[0], max(margin(ids[t], weights[t], ids2[t], weights2[t]) for t in far)
        return None


def margin(ids, weights, ids2, weights2):
    """How far apart the scores of two experts were, one chosen here and the other there, from their ratios to an expert that both
    chose; relative to the largest chosen score."""
    common = [e for e in ids if e in ids2]
    only, only2 = [e for e in ids if e not in ids2], [e for e in ids2 if e not in ids]
    if not common or len(only) != 1:
        return float("inf")  # not one pair: no near tie explains that
    a, b = dict(zip(ids, weights)), dict(zip(ids2, weights2))
    x, y = a[only[0]] / a[common[0]], b[only2[0]] / b[common[0]]
    return abs(x - y) / max(1.0, x, y)


def write_ids(path, rows):
    data = b"".join(struct.pack(f"<{len(row)}q", *row) for row in rows)
    head = json.dumps({"ids": {"dtype": "I64", "shape": [len(rows), len(rows[0])], "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def read_router(path):
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    head, found = json.loads(data[8:start]), {}

    def rows(key, kind):
        begin, end = head[key]["data_offsets"]
        k, flat = head[key]["shape"][-1], struct.unpack(f"<{(end - begin) // struct.calcsize(kind)}{kind}", data[start + begin:start + end])
        return [flat[i:i + k] for i in range(0, len(flat), k)]

    for key in head:
        if key.startswith("router.") and key.endswith(".ids"):
            found[int(key.split(".")[1])] = rows(key, "q"), rows(key[:-3] + "weights", "f")
    return found


def worst(far):
    return max(far, default=0.0)


def compare(name, seed, steps, chip):
    """The one rank's losses, and for each placement its differences and what was found."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="placements-") as folder:
        job = Job(folder, name, seed, steps)
        base = job.train("one", None)
        for place, ranks in placements(chip).items():
            far = [abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf for a, b in zip(job.train("other", ranks), base)]
            first = next((i for i, x in enumerate(far) if x > DEPARTED), None)
            found = job.tie(ranks, first) if first is not None and "experts" in json.dumps(NETWORKS[name]) else None
            same = far[:found[0] - 1] if found else far
            good = worst(same) <= STEP and (not found or found[3] <= TIE)
            rows.append({"network": name, "seed": seed, "placement": place, "worst": worst(far), "steps_alike": len(same),
                         "worst_alike": worst(same), "layer": found[1] if found else "", "margin": found[3] if found else "",
                         "good": good, "far": far})  # fmt: skip
            tie = f"; step {found[0]}, layer {found[1]}: other experts, scores {found[3]:.0e} apart" if found else ""
            print(f"{name:12} seed {seed}  {place:22} worst of {len(same)} steps {worst(same):.1e}{tie}"
                  f"{f', then {worst(far):.1e}' if found else ''}  {'ok' if good else 'TOO FAR'}", flush=True)
    return base, rows


WIDE, HIGH, LEFT, TOP = 520, 360, 60, 44
COLOURS = ["#1565c0", "#2e7d32", "#ef6c00", "#6a1b9a", "#795548", "#00838f"]


def plot(bases, rows, path):
    """A column a network: by step, the largest difference of each placement over all seeds, and the spread between seeds."""
    names = list(bases)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE * len(names)}" height="{HIGH + 110}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>']
    for i, name in enumerate(names):
        parts += column(name, bases[name], [r for r in rows if r["network"] == name], WIDE * i)
    path.write_text("\n".join(parts + ["</svg>", ""]), encoding="utf-8")


def column(name, bases, rows, left):
    steps, low, high = len(bases[0]), -9, 1

    def at(step, value):
        y = TOP + (high - math.log10(min(max(value, 1e-9), 10.0))) / (high - low) * (HIGH - TOP)
        return f"{left + LEFT + step / steps * (WIDE - LEFT - 20):.1f},{y:.1f}"

    def line(values, colour, more=""):
        points = " ".join(at(s, v) for s, v in enumerate(values))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" {more}/>'

    parts = [f'<text x="{left + LEFT}" y="18" font-weight="bold">{name}: |loss - loss of one cpu rank|, {len(bases)} seeds</text>']
    for power in range(low, high + 1, 2):
        x, y = at(0, 10.0**power).split(",")
        parts += [f'<text x="{left + LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">1e{power}</text>',
                  f'<line x1="{x}" y1="{y}" x2="{left + WIDE - 20}" y2="{y}" stroke="#ddd"/>']
    for step in range(0, steps + 1, 100):
        parts.append(f'<text x="{at(step, 1).split(",")[0]}" y="{HIGH + 16}" text-anchor="middle">{step}</text>')
    spread = [max(b[s] for b in bases) - min(b[s] for b in bases) for s in range(steps)]
    parts += [line(spread, "#000", 'stroke-width="1.5"'), line([STEP] * steps, "#c00", 'stroke-dasharray="6 4"')]
    legend = [("between seeds", "#000"), ("limit 1e-4", "#c00")]
    for colour, place in zip(COLOURS, dict.fromkeys(r["placement"] for r in rows)):
        far = [r["far"] for r in rows if r["placement"] == place]
        parts.append(line([max(f[s] for f in far) for s in range(steps)], colour, 'stroke-width="0.8"'))
        legend.append((place, colour))
    for i, (text, colour) in enumerate(legend):
        x, y = left + LEFT + i % 3 * 150, HIGH + 40 + i // 3 * 20
        parts += [f'<line x1="{x}" y1="{y}" x2="{x + 18}" y2="{y}" stroke="{colour}" stroke-width="3"/>',
                  f'<text x="{x + 24}" y="{y + 4}">{text}</text>']
    return parts


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    read.add_argument("--steps", type=int, default=300)
    read.add_argument("--seeds", default="1,2,3,4,5")
    read.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results")
    options = read.parse_args()
    bases, rows = {}, []
    for name in options.names or NETWORKS:
        if name not in NETWORKS:
            read.error(f"{name} is none of {', '.join(NETWORKS)}")
        for seed in map(int, options.seeds.split(",")):
            base, found = compare(name, seed, options.steps, OPENCL)
            bases.setdefault(name, []).append(base)
            rows += found
        ends = [sum(b[-50:]) / len(b[-50:]) for b in bases[name]]
        print(f"{name:12} last 50 steps: {min(ends):.4f} to {max(ends):.4f} between seeds")
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "placements.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, [k for k in rows[0] if k != "far"], extrasaction="ignore")
        out.writeheader()
        out.writerows(rows)
    plot(bases, rows, options.out / "placements.svg")
    return 0 if all(r["good"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
