#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mizan probe` against transformers on models of random shape: every family, a new seed each run (printed;
MIZAN_SEED repeats it, MIZAN_MODELS sets how many of each family, MIZAN_FAMILIES which).

float64 transformers is what is right. f32: logits, decode and hidden states within 3e-6 of the largest, the loss
1e-6 of itself, every gradient 1e-5 in its L2 norm, router ids and greedy tokens equal. bf16, router ids forced: at most 1.25 times
the error of transformers' own bf16.
"""

import contextlib
import io
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


def rope(rng):
    """Settings of rotation, and the context they are for: texts are longer than it, too."""
    kind = rng.choice(["default", "default", "linear", "llama3", "yarn", "yarn"])
    theta = rng.choice([1e3, 1e4, 1e5, 5e5])
    context = rng.choice([8, 16, 32])
    if kind == "yarn":
        more = rng.choice([{}, dict(mscale=0.707, mscale_all_dim=0.707), dict(mscale=1.0, mscale_all_dim=0.5),
                           dict(mscale=1.0, mscale_all_dim=1.0), dict(mscale_all_dim=0.7), dict(mscale=0.9),
                           dict(attention_factor=1.3), dict(attention_factor=0.8, mscale_all_dim=1.0)])
        return dict(golden.yarn(**more), rope_theta=theta, factor=rng.choice([1.0, 2.0, 4.0, 10.0, 40.0]),
                    beta_fast=rng.choice([32, 16, 4.5]), beta_slow=rng.choice([1, 2, 0.5]),
                    original_max_position_embeddings=context, **rng.choice([{}, {}, dict(truncate=False)]))
    if kind == "linear":
        return dict(rope_type="linear", rope_theta=theta, factor=rng.choice([1.0, 2.0, 3.0, 4.0]),
                    **rng.choice([{}, {}, dict(mscale_all_dim=1.0)]))  # latent attention alone looks at it
    if kind == "llama3":
        return dict(rope_type="llama3", rope_theta=rng.choice([20.0, 500.0, theta]), factor=rng.choice([8.0, 32.0]),
                    low_freq_factor=1.0, high_freq_factor=rng.choice([4.0, 2.0]), original_max_position_embeddings=context)
    return dict(rope_type="default", rope_theta=theta)


def common(rng):
    vocab = rng.randint(40, 150)
    pad = rng.choice([None, None, None, rng.randrange(vocab)])
    return dict(vocab_size=vocab, max_position_embeddings=rng.choice([8, 32, 128]), rms_norm_eps=rng.choice([1e-6, 1e-5]),
                tie_word_embeddings=rng.random() < 0.4, rope_parameters=rope(rng), **({} if pad is None else {"pad_token_id": pad}))


def dense(rng, family):
    kv = rng.randint(1, 3)
    heads = kv * rng.randint(1, 4)
    head = 2 * rng.randint(1, 10)
    fields = dict(common(rng), hidden_size=heads * rng.randint(5, 9), intermediate_size=rng.randint(1, 90),
                  num_hidden_layers=rng.randint(1, 3), num_attention_heads=heads, num_key_value_heads=kv, head_dim=head)
    if family != "qwen2":
        fields.update(attention_bias=rng.random() < 0.3)
    if family == "llama":
        fields.update(mlp_bias=rng.random() < 0.3)
    if family != "qwen3" and rng.random() < 0.5:
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
    heads = rng.randint(1, 6)
    groups = rng.choice([1, 2, 3, 4])
    each = rng.randint(2, 5)
    kept = rng.randint(1, groups)
    layers = rng.randint(1, 3)
    fields = dict(common(rng), hidden_size=heads * rng.randint(5, 12), intermediate_size=rng.randint(20, 60),
                  num_attention_heads=heads, num_key_value_heads=heads, kv_lora_rank=rng.randint(4, 24),
                  qk_nope_head_dim=rng.randint(1, 14), qk_rope_head_dim=2 * rng.randint(1, 5), v_head_dim=rng.randint(1, 14),
                  q_lora_rank=rng.choice([None, rng.randint(4, 30)]), attention_bias=rng.random() < 0.3,
                  first_k_dense_replace=rng.randint(0, layers), num_hidden_layers=layers,
                  moe_intermediate_size=rng.randint(1, 14), n_routed_experts=groups * each,
                  n_shared_experts=rng.randint(1, 3), num_experts_per_tok=rng.randint(1, min(6, kept * each)))
    if rng.random() < 0.2:  # transformers ignores it
        fields.update(moe_layer_freq=rng.choice([1, 2]))
    if family == "deepseek_v3":
        fields.update(n_group=groups, topk_group=kept, norm_topk_prob=rng.random() < 0.7,
                      routed_scaling_factor=rng.choice([1.0, 2.5]), rope_interleave=rng.random() < 0.8,
                      num_nextn_predict_layers=rng.choice([0, 0, 1]))
    else:
        for name in ("kv_lora_rank", "qk_nope_head_dim"):  # transformers' complex numbers want even strides
            fields[name] += fields[name] % 2
        fields.update(mlp_bias=rng.random() < 0.3, norm_topk_prob=rng.random() < 0.2, routed_scaling_factor=rng.choice([1.0, 4.0]))
        if groups > 1:
            fields.update(topk_method="group_limited_greedy", n_group=groups, topk_group=kept)
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


def l2(got, want, floor=0.0):
    """Where nothing is wanted nothing may come."""
    off, size = float((got.double() - want.double()).norm()), max(floor, float(want.double().norm()))
    return off / size if size else (float("inf") if off else 0.0)


def check_f32(folder, want):
    got = probe(folder, f"{folder}/out", "--hidden", "--router-out", "--gradients", "--decode", "--greedy", "24")
    figures = {"logits": share(got["logits"], want["logits"]), "decode": share(got["decode.logits"], want["logits"]),
               "loss": abs(float(got["loss"]) - float(want["loss"])) / float(want["loss"]), "hidden": 0.0, "gradient": 0.0, "wrong": []}
    # what cancels but for rounding (the share of a lone expert, normalised) has a gradient of rounding errors
    floor = 1e-7 * float(sum(w.double().norm() ** 2 for name, w in want.items() if name.startswith("grad."))) ** 0.5
    for name, w in want.items():
        if name.startswith("mtp."):
            continue
        if name.startswith("hidden."):
            figures["hidden"] = max(figures["hidden"], share(got[name], w))
        elif name.startswith("grad."):
            figures["gradient"] = max(figures["gradient"], l2(got[name], w, floor if w.any() else 0.0))
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
    # the largest error of a few hundred logits is chance: 1.25 is for the norms
    return figures, [f"bf16 {k} {v:.2f}x" for k, v in figures.items() if not v <= (1.6 if k == "logits_max" else 1.25)]


def one(name, family, rng):
    """One model of that family: its figures, and what is wrong with them."""
    fields = draw(rng, family)
    form = 4 if family == "deepseek" else rng.choice([4, 5])
    least = 3 if fields.get("num_nextn_predict_layers") else 1
    tokens = max(least, rng.choice([1, 2, *range(3, 48)]))
    golden.VARIANTS[name] = (family, form, fields, tokens)
    with tempfile.TemporaryDirectory() as out:
        folder = os.path.join(out, name)
        with contextlib.redirect_stdout(io.StringIO()):
            golden.make(name, out)
        want = load_file(f"{folder}/want.safetensors")
        errors = json.load(open(f"{folder}/errors.json", encoding="utf-8"))
        try:
            f32, bad = check_f32(folder, want)
            bf16, more = check_bf16(folder, family, want, errors["bfloat16"])
        except (subprocess.CalledProcessError, KeyError) as error:
            return {}, [f"{type(error).__name__} {error} {golden.VARIANTS[name]}"]
    figures = {**{k: v for k, v in f32.items() if k != "wrong"}, **{"bf16 " + k: v for k, v in bf16.items()}}
    if bad + more:
        official = {k: float(f"{v:.1e}") for k, v in errors["float32"].items()}
        more += [f"its figures {f32}, those of transformers in f32 {official}", str(golden.VARIANTS[name])]
    return figures, bad + more


def main():
    seed = int(os.environ.get("MIZAN_SEED", time.time()))
    count = int(os.environ.get("MIZAN_MODELS", 6))
    failed = 0
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, seed {seed}")
    families = os.environ.get("MIZAN_FAMILIES", "llama qwen2 qwen3 deepseek deepseek_v2 deepseek_v3").split()
    for family in families:
        worst = {}
        for i in range(count):
            name = f"{family}-{i}"
            figures, wrong = one(name, family, random.Random(f"{seed} {name}"))
            worst = {k: max(v, worst.get(k, 0.0)) for k, v in figures.items()} or worst
            if wrong:
                failed += 1
                print(f"{name} FAILED: {', '.join(wrong)}", flush=True)
        print(f"{family}: worst of {count}: " + ", ".join(f"{k} {v:.2f}x" if k.startswith("bf16") else f"{k} {v:.1e}"
                                                         for k, v in worst.items()), flush=True)
    print(f"{len(families) * count - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
