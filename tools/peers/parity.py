#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mizan probe` against transformers on models of random shape: every family, a new seed each run (printed;
MIZAN_SEED repeats it, MIZAN_MODELS sets how many of each family).

float64 transformers is what is right. f32: logits, decode and hidden states within 3e-6 of the largest, loss 1e-6,
every gradient 1e-5 in its L2 norm, router ids and greedy tokens equal. bf16, router ids forced: at most 1.25 times
the error of transformers' own bf16.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(here))
import make_golden as golden  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

MIZAN = os.environ.get("MIZAN_PROGRAM", "build/mizan")


def rope(rng, kinds):
    kind = rng.choice(kinds)
    theta = rng.choice([1e3, 1e4, 1e5, 5e5])
    if kind == "yarn":
        mscale = rng.choice([{}, dict(mscale=0.707, mscale_all_dim=0.707), dict(mscale=1.0, mscale_all_dim=0.5)])
        return dict(golden.yarn(**mscale), factor=rng.choice([2.0, 4.0, 10.0]))
    if kind == "linear":
        return dict(rope_type="linear", rope_theta=theta, factor=rng.choice([2.0, 3.0]))
    if kind == "llama3":
        return dict(rope_type="llama3", rope_theta=theta, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                    original_max_position_embeddings=32)
    return dict(rope_type="default", rope_theta=theta)


def dense(rng, family):
    kv = rng.randint(1, 3)
    heads = kv * rng.randint(1, 3)
    head = 2 * rng.randint(2, 10)
    fields = dict(vocab_size=rng.randint(40, 150), hidden_size=heads * rng.randint(5, 9), intermediate_size=rng.randint(17, 90),
                  num_hidden_layers=rng.randint(1, 3), num_attention_heads=heads, num_key_value_heads=kv, head_dim=head,
                  max_position_embeddings=128, rms_norm_eps=rng.choice([1e-6, 1e-5]),
                  tie_word_embeddings=rng.random() < 0.4,
                  rope_parameters=rope(rng, ["default", "linear", "llama3", "yarn"] if family == "llama" else ["default", "yarn"]))
    if family == "llama":
        fields.update(attention_bias=rng.random() < 0.3, mlp_bias=rng.random() < 0.3)
    if family == "qwen2":  # it has no head_dim of its own
        del fields["head_dim"]
        fields["hidden_size"] = heads * head
    return fields


def moe16b(rng):
    heads = rng.randint(2, 5)
    experts = rng.randint(4, 12)
    return dict(vocab_size=rng.randint(40, 120), hidden_size=heads * 2 * rng.randint(3, 6),
                intermediate_size=rng.randint(20, 60), num_hidden_layers=rng.randint(1, 3), num_attention_heads=heads,
                num_key_value_heads=heads, max_position_embeddings=128, moe_intermediate_size=rng.randint(5, 12),
                n_routed_experts=experts, n_shared_experts=rng.choice([None, 1, 2]),
                num_experts_per_tok=rng.randint(1, min(4, experts)), first_k_dense_replace=rng.randint(0, 1),
                norm_topk_prob=rng.random() < 0.5)


def latent(rng, family):
    heads = rng.randint(2, 6)
    groups = rng.choice([1, 2, 4])
    each = rng.randint(2, 4)
    kept = rng.randint(1, groups)
    fields = dict(vocab_size=rng.randint(40, 120), hidden_size=heads * rng.randint(5, 12), intermediate_size=rng.randint(20, 60),
                  num_attention_heads=heads, num_key_value_heads=heads, kv_lora_rank=rng.randint(8, 24),
                  qk_nope_head_dim=rng.randint(4, 14), qk_rope_head_dim=2 * rng.randint(2, 5), v_head_dim=rng.randint(4, 14),
                  q_lora_rank=rng.choice([None, rng.randint(10, 30)]), max_position_embeddings=128,
                  first_k_dense_replace=rng.randint(0, 1), num_hidden_layers=rng.randint(2, 3),
                  moe_intermediate_size=rng.randint(5, 14), n_routed_experts=groups * each,
                  n_shared_experts=rng.randint(1, 2), num_experts_per_tok=rng.randint(1, min(4, kept * each)),
                  rope_parameters=rope(rng, ["default", "yarn"]))
    if family == "deepseek_v3":
        fields.update(n_group=groups, topk_group=kept, norm_topk_prob=rng.random() < 0.7,
                      routed_scaling_factor=rng.choice([1.0, 2.5]), rope_interleave=rng.random() < 0.8,
                      num_nextn_predict_layers=rng.choice([0, 0, 1]))
    elif groups > 1:
        fields.update(topk_method="group_limited_greedy", n_group=groups, topk_group=kept,
                      routed_scaling_factor=rng.choice([1.0, 4.0]))
    else:
        fields.update(topk_method="greedy")
    return fields


def draw(rng, family):
    if family == "deepseek":
        return moe16b(rng)
    return latent(rng, family) if family.startswith("deepseek") else dense(rng, family)


def probe(folder, out, *flags):
    command = [MIZAN, "probe", folder, "--ids", f"{folder}/in.safetensors", "--out", out, *flags]
    subprocess.run(command, check=True)
    return load_file(out)


def share(got, want):
    return float((got.double() - want.double()).abs().max() / want.abs().max())


def l2(got, want):
    return float((got.double() - want.double()).norm() / want.double().norm())


def check_f32(folder, want):
    got = probe(folder, f"{folder}/out", "--hidden", "--router-out", "--gradients", "--decode", "--greedy", "24")
    figures = {"logits": share(got["logits"], want["logits"]), "decode": share(got["decode.logits"], want["logits"]),
               "loss": abs(float(got["loss"]) - float(want["loss"])), "hidden": 0.0, "gradient": 0.0, "wrong": []}
    for name, w in want.items():
        if name.startswith("mtp."):
            continue
        if name.startswith("hidden."):
            figures["hidden"] = max(figures["hidden"], share(got[name], w))
        elif name.startswith("grad."):
            figures["gradient"] = max(figures["gradient"], l2(got[name], w))
        elif w.dtype == torch.int64 and not torch.equal(got[name], w):
            figures["wrong"].append(name)
    bounds = {"logits": 3e-6, "decode": 3e-6, "hidden": 3e-6, "loss": 1e-6, "gradient": 1e-5}
    bad = [k for k, v in bounds.items() if not figures[k] <= v] + figures["wrong"]
    return figures, bad


def check_bf16(folder, family, want, errors):
    forced = ["--router", f"{folder}/want.safetensors"] if family.startswith("deepseek") else []
    got = probe(folder, f"{folder}/out", "--dtype", "bf16", "--gradients", *forced)
    grads = [n for n in want if n.startswith("grad.")]
    flat = [torch.cat([x[n].flatten().double() for n in grads]) for x in (got, want)]
    figures = {"logits_l2": l2(got["logits"], want["logits"]) / errors["logits_l2"],
               "logits_max": share(got["logits"], want["logits"]) / errors["logits_max"],
               "gradients_l2": l2(*flat) / errors["gradients_l2"]}
    return figures, [f"bf16 {k} {v:.2f}x" for k, v in figures.items() if not v <= 1.25]


def main():
    seed = int(os.environ.get("MIZAN_SEED", time.time()))
    count = int(os.environ.get("MIZAN_MODELS", 6))
    rng = random.Random(seed)
    failed = 0
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, seed {seed}")
    for family in ("llama", "qwen2", "qwen3", "deepseek", "deepseek_v2", "deepseek_v3"):
        for i in range(count):
            fields = draw(rng, family)
            name = f"{family}-{i}"
            golden.VARIANTS[name] = (family, rng.choice([4, 5]) if family != "deepseek" else 4, fields, rng.randint(8, 40))
            with tempfile.TemporaryDirectory() as out:
                folder = os.path.join(out, name)
                golden.make(name, out)
                want = load_file(f"{folder}/want.safetensors")
                errors = json.load(open(f"{folder}/errors.json", encoding="utf-8"))["bfloat16"]
                f32, bad = check_f32(folder, want)
                bf16, more = check_bf16(folder, family, want, errors)
            print(f"  f32 logits {f32['logits']:.1e} decode {f32['decode']:.1e} loss {f32['loss']:.1e} gradient"
                  f" {f32['gradient']:.1e}; bf16 {bf16['logits_l2']:.2f}x {bf16['logits_max']:.2f}x {bf16['gradients_l2']:.2f}x"
                  f"{'  FAILED ' + ', '.join(bad + more) + ' ' + str(fields) if bad + more else ''}", flush=True)
            failed += bool(bad + more)
    print(f"{6 * count - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
