# SPDX-License-Identifier: Apache-2.0
"""Matrix products of many shapes beside PyTorch's, in turn (A B A B), as CSV: large squares, the four networks of models.py in all
three directions, few rows, and products by experts (torch._grouped_mm or a loop, whichever is faster).

  products.py [--threads N] [--rounds N] [--repetitions N] [--dtypes F32,BF16] [--only WORD] [--out FILE.csv]

Backward is both products; few rows are what decoding multiplies, so of them there is forward alone. Where the processor multiplies no bf16, PyTorch's products of bf16 take tens of times as long as its f32:
torch_ops.py gives up repeating what took more than two seconds. report.py makes the table of ratios."""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys

import kernels
import models

FEW = "few rows"
FIELDS = ["kind", "op", "shape", "pass", "dtype", "who", "how", "round", "repetition", "ns"]


def of_network(name):
    """(op, sizes) of every product of one step."""
    c, samples, positions, _ = models.MODELS[name]
    rows, d, heads = samples * positions, c["hidden_size"], c["num_attention_heads"]
    maps = [(c["intermediate_size"], d), (d, c["intermediate_size"])]
    if c["model_type"] == "llama":
        maps += [(heads * 64, d), (c["num_key_value_heads"] * 64, d), (d, heads * 64)]
        grouped = []
    else:
        q, kv, hidden, experts = c["q_lora_rank"], c["kv_lora_rank"], c["moe_intermediate_size"], c["n_routed_experts"]
        maps += [(q, d), (heads * 96, q), (kv + 32, d), (heads * 128, kv), (d, heads * 64), (experts, d), (hidden, d), (d, hidden)]
        routed = rows * c["num_experts_per_tok"]
        grouped = [("experts", (routed, hidden, d, experts)), ("experts", (routed, d, hidden, experts))]
    head = min(rows, 8388608 // c["vocab_size"])
    return [("matmul", (rows, n, k)) for n, k in maps] + [("matmul", (head, c["vocab_size"], d))] + grouped


def shapes():
    """(kind, op, sizes), each once."""
    seen, out = set(), []
    kinds = [("square", [("matmul", (n, n, n)) for n in (1024, 2048, 4096)]), *((name, of_network(name)) for name in models.MODELS),
             (FEW, [("matmul", (m, n, k)) for n, k in ((2048, 2048), (32000, 768)) for m in (1, 4, 8, 16)])]
    for kind, products in kinds:
        for product in products:
            if product not in seen:
                seen.add(product)
                out.append((kind, *product))
    return out


def ask_mizan(op, sizes, options):
    done = subprocess.run([kernels.MIZAN, "bench", "ops", op, *map(str, sizes), "--threads", str(options.threads), "--repetitions",
                           str(options.repetitions), "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"products: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)["ops"]


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--repetitions", type=int, default=5)
    read.add_argument("--dtypes", type=lambda text: text.split(","), default=["F32", "BF16"])
    read.add_argument("--only", default="", help="a word of the kind, the operator or the shape")
    read.add_argument("--out", type=pathlib.Path, default=kernels.ROOT / "bench/results/products.csv")
    options = read.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch = kernels.Torch(options)
    with open(options.out, "w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(FIELDS)
        for kind, op, sizes in shapes():
            shape = " x ".join(map(str, sizes[:3])) + (f" / {sizes[3]}" if op == "experts" else "")
            if options.only not in f"{kind} {op} {shape}":
                continue
            for turn in range(options.rounds):
                ours = [o for o in ask_mizan(op, sizes, options) if o["dtype"] in options.dtypes and (kind != FEW or o["pass"] == "forward")]
                answers = [("mizan", ours), ("pytorch", torch.ask(ours) if torch.child else [])]
                for who, found in answers:
                    for o in found:
                        for i, ns in enumerate(o["ns"]):
                            rows.writerow([kind, op, shape, o["pass"], o["dtype"], who, o.get("how", o.get("state")), turn, i, ns])
            print(f"  {kind} {op} {shape}", file=sys.stderr, flush=True)
    torch.end()


if __name__ == "__main__":
    main()
