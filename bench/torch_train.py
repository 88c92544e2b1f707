# SPDX-License-Identifier: Apache-2.0
"""PyTorch and transformers on a folder of bench/models.py: torch_train.py FOLDER SETTING THREADS STEPS

SETTING is f32, bf16 (weights, gradients and moments), autocast, with -compile or -grouped after it. Prints one JSON object:
nanoseconds of each step after one that is not counted, and the most memory the process had."""

import json
import os
import pathlib
import resource
import sys
import time

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
import transformers


def main():
    folder, setting, threads, steps = pathlib.Path(sys.argv[1]), sys.argv[2].split("-"), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    train = json.loads((folder / "train.yaml").read_text(encoding="utf-8"))
    rows = [json.loads(line)["ids"] for line in open(folder / "rows.jsonl", encoding="utf-8")]
    dtype = torch.bfloat16 if setting[0] == "bf16" else torch.float32
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa").train()
    if "grouped" in setting:
        model.set_experts_implementation("grouped_mm")
    optim = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    run = torch.compile(model) if "compile" in setting else model
    samples, times = train["batch"]["global"], []
    for step in range(steps + 1):
        at = step * samples % len(rows)
        ids = torch.tensor(rows[at:at + samples])
        start = time.perf_counter_ns()
        with torch.autocast("cpu", torch.bfloat16, enabled=setting[0] == "autocast"):
            loss = run(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        optim.zero_grad(set_to_none=True)
        times.append(time.perf_counter_ns() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"ns": times[1:], "peak_bytes": peak, "loss": loss.item(), "version": torch.__version__}))


if __name__ == "__main__":
    main()
