#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GGUF files that Mizan wrote, under the eyes of two other programs.

The gguf package reads them: every tensor's bytes are those that it makes itself from the folder's weights (rows
interleaved, kv_b split, experts stacked as llama.cpp wants them), in f32, f16, bf16, q8_0 and q4_0.
llama.cpp (node-llama-cpp's build, on the CPU, its cache in f32) loads them: the probabilities of every position
within 1e-4 of Mizan's and the same 32 greedy tokens. The vocabulary that it needs is one that the gguf package
wrote, so Mizan reads that package's file too.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file

MIZAN = os.environ.get("MIZAN_PROGRAM", "build/mizan")
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
NODE = os.path.join(ROOT, ".cache", "peers", "node")
LLAMA_CPP = "node-llama-cpp@3.22.1"
# Without a low-rank query llama.cpp takes deepseek2 only with 26 or 27 layers, so those are not here.
MODELS = ["llama", "llama_bias", "llama_linear", "llama_llama3", "llama_tied", "llama_wide", "llama_yarn", "qwen2", "qwen2_tied",
          "qwen3", "deepseek_v2_yarn", "deepseek_v3", "deepseek_v3_mscale"]
TYPES = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16, "bf16": gguf.GGMLQuantizationType.BF16,
         "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
NAMES = {"input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
         "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight", "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
         "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight", "mlp.gate.weight": "ffn_gate_inp.weight",
         "mlp.gate.e_score_correction_bias": "exp_probs_b.bias"}
TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}


def name_of(rest):
    if rest in NAMES:
        return NAMES[rest]
    for ours, theirs in (("self_attn.o_proj", "attn_output"), ("self_attn.", "attn_"), ("mlp.shared_experts.", "ffn_"), ("mlp.", "ffn_")):
        if rest.startswith(ours):
            rest = theirs + rest[len(ours):]
            break
    return rest.replace("_proj", "")


def expected(folder, config):
    """The tensors that llama.cpp's architectures want, f32, by name."""
    out = {}
    experts = {}
    for name, tensor in load_file(os.path.join(folder, "model.safetensors")).items():
        x = tensor.float().numpy()
        if name in TOP:
            out[TOP[name]] = x
            continue
        layer, rest = name.split(".", 3)[2:]
        if int(layer) >= config["num_hidden_layers"] or (name == "lm_head.weight" and config["tie_word_embeddings"]):
            continue
        block = f"blk.{layer}."
        if rest == "self_attn.kv_b_proj.weight":
            heads, nope = config["num_attention_heads"], config["qk_nope_head_dim"]
            x = x.reshape(heads, -1, x.shape[1])
            out[block + "attn_k_b.weight"] = x[:, :nope].transpose(0, 2, 1)
            out[block + "attn_v_b.weight"] = x[:, nope:]
        elif rest.startswith("mlp.experts."):
            number, kind = rest.split(".")[2:4]
            experts.setdefault(f"{block}ffn_{kind.removesuffix('_proj')}_exps.weight", {})[int(number)] = x
        else:
            theirs = name_of(rest)
            if "shared_experts" in rest:
                theirs = theirs.replace(".weight", "_shexp.weight")
            heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(theirs.split(".")[0])
            if config["model_type"] == "llama" and heads:
                n = config[heads]
                x = x.reshape(n, 2, x.shape[0] // n // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)
            out[block + theirs] = x
    for name, parts in experts.items():
        out[name] = np.stack([parts[i] for i in range(len(parts))])
    return out


def packed(x, name, kind):
    """Bytes of x as the gguf package packs them; small and deciding tensors stay f32."""
    if x.ndim == 1 or name.endswith("ffn_gate_inp.weight"):
        kind = TYPES["f32"]
    block = gguf.GGML_QUANT_SIZES[kind][0]
    if x.shape[-1] % block:
        kind = TYPES["f16"]
    if kind == TYPES["f32"]:
        return kind, np.ascontiguousarray(x, np.float32).tobytes()
    if kind == TYPES["f16"]:
        return kind, x.astype(np.float16).tobytes()
    if kind == TYPES["bf16"]:
        return kind, torch.from_numpy(np.ascontiguousarray(x)).bfloat16().view(torch.int16).numpy().tobytes()
    return kind, gguf.quants.quantize(np.ascontiguousarray(x), kind).tobytes()


def convert(source, to, kind, vocabulary=None):
    command = [MIZAN, "convert", source, to, "--to", "gguf", "--type", kind]
    subprocess.run(command + (["--tokenizer", vocabulary] if vocabulary else []), check=True, stderr=subprocess.DEVNULL)


def compare_bytes(folder, config, work):
    want = expected(folder, config)
    moved = config["model_type"].startswith("deepseek") and not config.get("rope_interleave", True)
    wrong = []
    for kind, number in TYPES.items():
        path = os.path.join(work, "bytes.gguf")
        convert(folder, path, kind)
        got = {t.name: t for t in gguf.GGUFReader(path).tensors}
        got.pop("rope_freqs.weight", None)
        if set(got) != set(want):
            wrong.append(f"{kind}: {sorted(set(got) ^ set(want))}")
            continue
        for name, x in want.items():
            if moved and name.rsplit(".", 2)[1] in ("attn_q_b", "attn_kv_a_mqa"):
                continue  # rows are moved and scaled; llama.cpp's numbers below hold them
            expected_kind, raw = packed(x, name, number)
            if got[name].tensor_type != expected_kind or got[name].data.tobytes() != raw:
                wrong.append(f"{kind} {name}")
    return wrong


def vocabulary(path, n):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([f"<s{i}>" if i < 3 else f"t{i}" for i in range(n)])
    writer.add_token_types([3 if i < 3 else 1 for i in range(n)])
    writer.add_token_merges(["t 1"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def install():
    if not shutil.which("npm") or not shutil.which("node"):
        sys.exit("gguf_files: node and npm are needed for llama.cpp's packaged build")
    if not os.path.isdir(os.path.join(NODE, "node_modules", "node-llama-cpp")):
        os.makedirs(NODE, exist_ok=True)
        subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", LLAMA_CPP], cwd=NODE, check=True)
    shutil.copy(os.path.join(HERE, "llama_cpp.mjs"), NODE)  # it finds its package from where it lies


def compare_numbers(folder, config, work, greedy):
    path, words, out = (os.path.join(work, name) for name in ("model.gguf", "words.gguf", "out.safetensors"))
    vocabulary(words, config["vocab_size"])
    convert(folder, path, "f32", words)
    ids = load_file(os.path.join(folder, "in.safetensors"))["ids"][:1, :16].contiguous()
    save_file({"ids": ids}, os.path.join(work, "in.safetensors"))
    subprocess.run([MIZAN, "probe", path, "--ids", os.path.join(work, "in.safetensors"), "--out", out, "--greedy", str(greedy)], check=True)
    mine = load_file(out)
    request = {"model": path, "ids": ids.tolist(), "greedy": greedy}
    answer = subprocess.run(["node", "llama_cpp.mjs"], input=json.dumps(request), capture_output=True, text=True, cwd=NODE, timeout=300)
    if answer.returncode:
        return None, None, answer.stderr[-500:]
    theirs = json.loads(answer.stdout.splitlines()[-1])
    p = torch.softmax(mine["logits"].double(), -1)
    worst = 0.0
    for b, row in enumerate(theirs["probabilities"]):
        for t, pairs in enumerate(row):
            q = torch.zeros(p.shape[-1], dtype=torch.float64)
            for token, value in pairs:
                q[token] = value
            worst = max(worst, float((q - p[b, t]).abs().max()))
    return worst, theirs["greedy"] == mine["greedy.ids"].tolist(), ""


def main():
    install()
    print(f"gguf {version('gguf')}, {LLAMA_CPP}")
    failed = 0
    models = sys.argv[1:] or MODELS
    for name in models:
        folder = os.path.join(ROOT, "tests", "golden", name)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        with tempfile.TemporaryDirectory() as work:
            wrong = compare_bytes(folder, config, work)
            worst, same, trouble = compare_numbers(folder, config, work, 32)
        bad = bool(wrong) or trouble or not worst <= 1e-4 or not same
        failed += bool(bad)
        print(f"{name:20} {'other bytes: ' + ', '.join(wrong[:4]) if wrong else 'same bytes in 5 types'};"
              f" llama.cpp: {trouble or f'probabilities within {worst:.1e}, 32 greedy tokens ' + ('equal' if same else 'DIFFER')}")
    print(f"gguf_files: {len(models) - failed} of {len(models)} agree")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
