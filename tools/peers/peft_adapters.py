#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters between `peft` and Mizan, both ways, for one network of each family.

  their adapter   made and saved by peft, read by `mizan probe --adapter`: logits within 3e-6
  our adapter     trained by `mizan train` (lora.rank), loaded by peft: logits within 3e-6
  training        from their adapter, 60 steps of AdamW on the same rows: every loss within 1e-4
  merged          `mizan convert --adapter`, loaded by transformers alone: logits within 3e-6

  tools/peers/peft_adapters.py [--seed N] [NAME ...]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIZAN = os.environ.get("MIZAN_PROGRAM", os.path.join(ROOT, "build", "mizan"))
# targets that peft can reach: its linear modules (routed experts are one parameter there, as here)
NAMES = {
    "llama": ["q_proj", "v_proj", "down_proj"],
    "qwen2": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "deepseek_v2": ["q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"],
    "deepseek_v3": ["q_b_proj", "kv_b_proj", "o_proj"],
}
RANK, ALPHA, STEPS, SEQ, GLOBAL, LR = 4, 6, 60, 16, 4, 3e-3
LOGITS, LOSS = 3e-6, 1e-4
torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()


def run(*words):
    done = subprocess.run([MIZAN, *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"mizan {' '.join(words)}: {done.returncode}\n{done.stderr}")
    return done.stdout


def base_model(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager",
        experts_implementation="eager").eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(ids).logits.float()


def probe(folder, ids, out, *more):
    source = os.path.join(out, "in.safetensors")
    target = os.path.join(out, "out.safetensors")
    save_file({"ids": ids}, source)
    run("probe", folder, "--ids", source, "--out", target, *more)
    return load_file(target)["logits"]


def apart(got, want):
    return ((got - want).abs().max() / want.abs().max()).item()


def their_adapter(folder, targets, where, seed):
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, lora_dropout=0.0,
                             task_type="CAUSAL_LM")
    model = peft.get_peft_model(base_model(folder), config)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.05)
    model.save_pretrained(where)
    return model.eval()


def write_rows(path, vocab, rng):
    rows = [[rng.randrange(vocab) for _ in range(rng.randint(6, SEQ))] for _ in range(GLOBAL * STEPS)]
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"ids": row}) + "\n" for row in rows)
    return rows


def train_theirs(model, rows):
    """As `mizan train` has it: a step's loss is the mean over its samples of each one's mean."""
    params = [p for p in model.parameters() if p.requires_grad]
    optim = torch.optim.AdamW(params, lr=LR, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        loss = 0.0
        for row in rows[step * GLOBAL:(step + 1) * GLOBAL]:
            ids = torch.tensor([row])
            loss = loss + F.cross_entropy(model(ids).logits[0, :-1].float(), ids[0, 1:]) / GLOBAL
        optim.zero_grad()
        loss.backward()
        optim.step()
        losses.append(loss.item())
    return losses


def train_ours(folder, targets, adapter, data, where):
    config = os.path.join(where, "train.yaml")
    with open(config, "w", encoding="utf-8") as file:
        json.dump({
            "model": {"path": folder},
            "data": {"path": data, "seq": SEQ, "shuffle": False},
            "run": {"dir": os.path.join(where, "run"), "steps": STEPS, "checkpoint_every": 0},
            "batch": {"global": GLOBAL, "micro": 3},
            "optim": {"lr": LR, "weight_decay": 0, "clip": 0},
            "guard": {"sigma": 0},
            "lora": {"rank": RANK, "alpha": ALPHA, "targets": ",".join(targets),
                     "adapter": adapter},
        }, file)
    run("train", config, "moe.bias_rate=0", "moe.balance=0", "mtp.weight=0")
    with open(os.path.join(where, "run", "log.jsonl"), encoding="utf-8") as file:
        losses = [json.loads(line)["loss"] for line in file]
    return losses, os.path.join(where, "run", "checkpoints", f"step-{STEPS:08d}")


def compare(name, targets, seed):
    folder = os.path.join(ROOT, "tests", "golden", name)
    rng = random.Random(seed)
    bad = 0
    with tempfile.TemporaryDirectory() as out:
        theirs, merged = os.path.join(out, "theirs"), os.path.join(out, "merged")
        model = their_adapter(folder, targets, theirs, seed)
        vocab = model.config.vocab_size
        ids = torch.randint(0, vocab, (2, 12), generator=torch.Generator().manual_seed(seed))
        plain = apart(logits_of(base_model(folder), ids), logits_of(model, ids))
        a = apart(probe(folder, ids, out, "--adapter", theirs), logits_of(model, ids))
        run("convert", folder, merged, "--to", "hf", "--type", "f32", "--adapter", theirs)
        m = apart(logits_of(base_model(merged), ids), logits_of(model, ids))
        data = os.path.join(out, "rows.jsonl")
        rows = write_rows(data, vocab, rng)
        ours, checkpoint = train_ours(folder, targets, theirs, data, out)
        losses = train_theirs(model, rows)
        worst = max(abs(x - y) for x, y in zip(ours, losses))
        loaded = peft.PeftModel.from_pretrained(base_model(folder), checkpoint).eval()
        b = apart(probe(folder, ids, out, "--adapter", checkpoint), logits_of(loaded, ids))
        moved = apart(logits_of(loaded, ids), logits_of(base_model(folder), ids))
        bad += not (a <= LOGITS and b <= LOGITS and m <= LOGITS and worst <= LOSS)
        bad += not (plain > 1e-3 and moved > 1e-3)  # an adapter that does nothing proves nothing
        print(f"{name:12} their adapter {a:.1e}, ours {b:.1e}, merged {m:.1e} (without it {plain:.2f});"
              f" {STEPS} steps: loss {losses[0]:.3f} to {losses[-1]:.3f}, apart {worst:.1e}")
    return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(NAMES))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    bad = sum(compare(name, NAMES[name], args.seed) for name in args.names)
    print("peft_adapters:", "all within their bounds" if bad == 0 else f"{bad} out of bounds")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
