#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Folders that Mizan wrote, in transformers: every golden model is converted from its folder (in one file, in shards)
and through a GGUF, and loaded with from_pretrained. No weight is missing or left over (but those of MTP layers, which
transformers passes over), and in float64 its logits are within 3e-6 of those of the official folder; what it saves
again, Mizan reads to the same logits. generation_config.json is one that transformers accepts.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(here))
import make_golden as golden  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

MIZAN = os.environ.get("MIZAN_PROGRAM", "build/mizan")
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(here)), "tests", "golden")
LIMIT = 3e-6


def mizan(*words):
    return subprocess.run([MIZAN, *words], capture_output=True, text=True, check=False)


def share(got, want):
    return float((got.double() - want.double()).abs().max() / want.double().abs().max())


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", output_loading_info=True)


def logits_of(model, ids):
    double = model.eval().double()
    with golden.in_double(double), torch.no_grad():
        return golden.run(double, ids)[0]


def check(folder, want, ids, work, layers):
    """What is wrong with one folder that Mizan wrote; its distance from the official logits."""
    model, info = load(folder)
    wrong = [f"missing {k}" for k in info["missing_keys"]] + [f"mismatched {k}" for k in info["mismatched_keys"]]
    wrong += [f"left over {k}" for k in info["unexpected_keys"] if not k.startswith(f"model.layers.{layers}.")]
    if not os.path.exists(os.path.join(folder, "generation_config.json")):
        wrong.append("no generation_config.json")
    far = share(logits_of(model, ids), want)
    again = os.path.join(work, "saved")
    model.float().save_pretrained(again)
    out = os.path.join(work, "saved.safetensors")
    answer = mizan("probe", again, "--ids", os.path.join(work, "in.safetensors"), "--out", out)
    if answer.returncode:
        wrong.append(f"saved again: {answer.stderr.strip()[-200:]}")
    else:
        back = share(load_file(out)["logits"], want)
        if not back <= LIMIT:
            wrong.append(f"saved again: logits {back:.1e}")
    if not far <= LIMIT:
        wrong.append(f"logits {far:.1e}")
    return far, wrong


def routes(name, source, work):
    """(how, folder) of each way from the official folder to one of Mizan's."""
    ways = {"one file": ["--type", "f32"], "shards": ["--type", "f32", "--shard-bytes", "20000"]}
    for how, options in ways.items():
        out = os.path.join(work, how.replace(" ", "_"))
        yield how, out, mizan("convert", source, out, "--to", "hf", *options)
    gguf, out = os.path.join(work, "model.gguf"), os.path.join(work, "from_gguf")
    answer = mizan("convert", source, gguf, "--to", "gguf", "--type", "f32")
    if answer.returncode == 69:  # what GGUF cannot say
        print(f"  {name}: not through GGUF: {answer.stderr.strip().splitlines()[-1]}")
        return
    yield "GGUF", out, mizan("convert", gguf, out, "--to", "hf", "--type", "f32") if answer.returncode == 0 else answer


def compare(name, work):
    source = os.path.join(GOLDEN, name)
    with open(os.path.join(source, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    inputs = load_file(os.path.join(source, "in.safetensors"))
    os.symlink(os.path.join(source, "in.safetensors"), os.path.join(work, "in.safetensors"))
    want = load_file(os.path.join(source, "want.safetensors"))["logits"]
    found, worst = [], 0.0
    for how, folder, answer in routes(name, source, work):
        if answer.returncode:
            found.append(f"{how}: {answer.stderr.strip()[-200:]}")
            continue
        far, wrong = check(folder, want, inputs["ids"], work, config["num_hidden_layers"])
        worst = max(worst, far)
        found += [f"{how}: {w}" for w in wrong]
    return worst, found


def main():
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    names = sys.argv[1:] or [n for n in golden.VARIANTS if golden.VARIANTS[n][0] != "deepseek"]
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory() as work:
            worst, found = compare(name, work)
        failed += bool(found)
        print(f"{name:20} logits within {worst:.1e}" + ("  FAILED " + "; ".join(found) if found else ""), flush=True)
    print(f"folders: {len(names) - failed} of {len(names)} agree")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
