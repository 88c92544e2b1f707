#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden: tiny models of every family with what the official implementation makes of them.

Each folder holds config.json and model.safetensors (F32, random weights) as a user would have
them, in.safetensors (ids, labels), want.safetensors (what `mizan probe` must write: logits, loss,
hidden.I, router.L.*, grad.*, greedy.ids) and errors.json (how far transformers itself is from these
numbers in f32 and in bf16, router ids forced).

The wanted numbers are float64: transformers runs in double with eager attention and eager experts,
and its inner casts to float32 (norms, softmax, router, rotation) go to double too; rope tables stay
as it makes them, in float32. The family `deepseek` has no class there: plain PyTorch below.
Seeds are searched so that no expert and no greedy token is chosen by a margin that rounding could
turn.

Needs exactly transformers 5.24.0 and torch 2.15.0 (CPU):  tools/make_golden.py [--out DIR] [NAME ...]
"""

import argparse
import contextlib
import copy
import hashlib
import json
import os
import sys
import warnings

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import safetensors.torch
import torch
import torch.nn.functional as F
import transformers
from torch import nn

PINNED = {"transformers": "5.24.0", "torch": "2.15.0"}
MARGIN = 1e-5  # of router choices; greedy tokens want the same share of the largest logit
GREEDY = 24
MTP = "mtp."

# ---- variants ------------------------------------------------------------------------------------

DENSE = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128)
LATENT = dict(vocab_size=97, hidden_size=32, intermediate_size=29, num_attention_heads=4,
              num_key_value_heads=4, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4,
              v_head_dim=8, max_position_embeddings=128, first_k_dense_replace=1,
              num_hidden_layers=2, moe_intermediate_size=8)
V2 = dict(LATENT, n_routed_experts=8, num_experts_per_tok=2, n_shared_experts=2, topk_method="greedy",
          q_lora_rank=None)
V3 = dict(LATENT, n_routed_experts=16, num_experts_per_tok=4, n_shared_experts=1, n_group=4,
          topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.5, q_lora_rank=24)


def yarn(**more):
    return dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=32, beta_slow=1,
                original_max_position_embeddings=16, **more)


# name: family, form of config.json, configuration, tokens a sequence
VARIANTS = {
    "llama": ("llama", 4, dict(DENSE, intermediate_size=43), 13),
    "llama_tied": ("llama", 4, dict(DENSE, vocab_size=89, hidden_size=36, num_attention_heads=9,
                   num_key_value_heads=3, intermediate_size=50, tie_word_embeddings=True, num_hidden_layers=1,
                   rms_norm_eps=1e-5, rope_parameters=dict(rope_type="default", rope_theta=1e5)), 17),
    "llama_llama3": ("llama", 5, dict(DENSE, num_hidden_layers=1, rope_parameters=dict(
        rope_type="llama3", rope_theta=20.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32)), 37),
    "llama_linear": ("llama", 4, dict(DENSE, num_key_value_heads=4, num_hidden_layers=1,
                     rope_parameters=dict(rope_type="linear", rope_theta=1e5, factor=4.0)), 19),
    "llama_wide": ("llama", 5, dict(DENSE, num_attention_heads=5, hidden_size=35, head_dim=14,
                   num_key_value_heads=1, num_hidden_layers=1, intermediate_size=33), 11),
    "llama_bias": ("llama", 5, dict(DENSE, attention_bias=True, mlp_bias=True, vocab_size=61,
                   intermediate_size=30), 13),
    "llama_yarn": ("llama", 5, dict(DENSE, num_hidden_layers=1, rope_parameters=yarn()), 23),
    "qwen2": ("qwen2", 5, dict(DENSE, vocab_size=71, intermediate_size=37, rope_parameters=dict(rope_type="default", rope_theta=1e6)), 13),
    "qwen2_tied": ("qwen2", 4, dict(DENSE, num_attention_heads=6, hidden_size=36,
                   num_key_value_heads=3, vocab_size=53, num_hidden_layers=1,
                   intermediate_size=45, tie_word_embeddings=True), 15),
    "qwen3": ("qwen3", 5, dict(DENSE, head_dim=16, hidden_size=24, intermediate_size=37, rope_parameters=dict(
        rope_type="default", rope_theta=1e6)), 13),
    "qwen3_tied": ("qwen3", 4, dict(DENSE, head_dim=6, num_hidden_layers=1, vocab_size=101,
                   tie_word_embeddings=True, attention_bias=True), 13),
    "deepseek": ("deepseek", 4, dict(DENSE, vocab_size=79, num_key_value_heads=4, moe_intermediate_size=6,
                 n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3,
                 first_k_dense_replace=1, norm_topk_prob=False), 13),
    "deepseek_norm": ("deepseek", 4, dict(DENSE, hidden_size=30, num_attention_heads=5,
                      num_key_value_heads=5, moe_intermediate_size=7, n_routed_experts=7,
                      n_shared_experts=None, num_experts_per_tok=2, first_k_dense_replace=0,
                      norm_topk_prob=True, num_hidden_layers=1), 11),
    "deepseek_v2": ("deepseek_v2", 5, dict(V2, vocab_size=53), 13),
    "deepseek_v2_yarn": ("deepseek_v2", 4, dict(V2, q_lora_rank=24, vocab_size=64, routed_scaling_factor=1.5,
                         rope_parameters=yarn(mscale=0.707, mscale_all_dim=0.707)), 21),
    "deepseek_v2_groups": ("deepseek_v2", 5, dict(V2, attention_bias=True, mlp_bias=True, q_lora_rank=20, topk_method="group_limited_greedy",
                           n_group=4, topk_group=2, routed_scaling_factor=16.0, num_experts_per_tok=3,
                           hidden_size=36, num_attention_heads=3, num_key_value_heads=3, v_head_dim=6,
                           qk_nope_head_dim=10, vocab_size=61), 13),
    "deepseek_v3": ("deepseek_v3", 5, dict(V3, num_hidden_layers=3, moe_intermediate_size=5,
                    vocab_size=53), 13),
    "deepseek_v3_yarn": ("deepseek_v3", 4, dict(V3, q_lora_rank=None, vocab_size=62, n_routed_experts=12,
                         n_group=3, num_nextn_predict_layers=0,
                         rope_parameters=yarn(mscale=1.0, mscale_all_dim=1.0)), 21),
    "deepseek_v3_mscale": ("deepseek_v3", 5, dict(V3, vocab_size=53, rope_interleave=False, norm_topk_prob=False,
                           n_shared_experts=2, rms_norm_eps=1e-5, n_routed_experts=8, n_group=1,
                           topk_group=1, num_experts_per_tok=3, qk_rope_head_dim=6, rope_parameters=yarn(
                               mscale=1.0, mscale_all_dim=0.5)), 21),
    "deepseek_v3_mtp": ("deepseek_v3", 4, dict(V3, n_routed_experts=8, n_group=2, topk_group=1,
                        num_experts_per_tok=2, num_nextn_predict_layers=1, vocab_size=53,
                        hidden_size=28, kv_lora_rank=12, q_lora_rank=18, moe_intermediate_size=6), 13),
}  # fmt: skip

CLASSES = {
    "llama": transformers.LlamaConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "deepseek_v2": transformers.DeepseekV2Config,
    "deepseek_v3": transformers.DeepseekV3Config,
}

# ---- the family that transformers does not have --------------------------------------------------


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        wide = x if x.dtype == torch.float64 else x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Gate(nn.Module):
    """Softmax over all experts, the best k; their shares as they are, or made to sum to 1."""

    def __init__(self, c):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(c["n_routed_experts"], c["hidden_size"]))
        self.k, self.normalise, self.forced = c["num_experts_per_tok"], c["norm_topk_prob"], None

    def forward(self, x):
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        logits = F.linear(x.to(wide), self.weight.to(wide))
        scores = logits.softmax(-1)
        ids = scores.topk(self.k, -1).indices if self.forced is None else self.forced
        weights = scores.gather(-1, ids)
        if self.normalise and self.k > 1:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return logits, weights, ids


class Moe(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate = Gate(c)
        width, inner = c["hidden_size"], c["moe_intermediate_size"]
        self.experts = nn.ModuleList(Mlp(width, inner) for _ in range(c["n_routed_experts"]))
        if c["n_shared_experts"]:
            self.shared_experts = Mlp(width, inner * c["n_shared_experts"])

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        _, weights, ids = self.gate(flat)
        out = torch.zeros_like(flat)
        for e, expert in enumerate(self.experts):
            token, choice = torch.where(ids == e)
            if len(token):
                out = out.index_add(0, token, (expert(flat[token]) * weights[token, choice, None]).to(out.dtype))
        out = out.view_as(x)
        return out + self.shared_experts(x) if hasattr(self, "shared_experts") else out


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, self.heads = c["hidden_size"], c["num_attention_heads"]
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(width, width, bias=False))

    def forward(self, x, cos, sin):
        b, t, width = x.shape
        q, k, v = (p(x).view(b, t, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))

        def rotate(y):
            half = y.shape[-1] // 2
            return y * cos + torch.cat((-y[..., half:], y[..., :half]), -1) * sin

        scores = rotate(q) @ rotate(k).transpose(-1, -2) * (q.shape[-1] ** -0.5)
        scores = scores.masked_fill(torch.ones(t, t).triu(1).bool(), torch.finfo(scores.dtype).min)
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        p = scores.softmax(-1, dtype=wide).to(x.dtype)
        return self.o_proj((p @ v).transpose(1, 2).reshape(b, t, width))


class Block(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        width, eps = c["hidden_size"], c["rms_norm_eps"]
        self.self_attn = Attention(c)
        dense = layer < c["first_k_dense_replace"]
        self.mlp = Mlp(width, c["intermediate_size"]) if dense else Moe(c)
        self.input_layernorm, self.post_attention_layernorm = Norm(width, eps), Norm(width, eps)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class DeepseekMoe(nn.Module):
    """DeepSeekMoE 16B's network: llama's attention, softmax experts, shared experts."""

    def __init__(self, c):
        super().__init__()
        self.config, width = c, c["hidden_size"]
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(c["vocab_size"], width)
        self.model.layers = nn.ModuleList(Block(c, i) for i in range(c["num_hidden_layers"]))
        self.model.norm = Norm(width, c["rms_norm_eps"])
        self.lm_head = nn.Linear(width, c["vocab_size"], bias=False)

    def forward(self, input_ids):
        c = self.config
        dims = c["hidden_size"] // c["num_attention_heads"]
        f = 1.0 / (c["rope_theta"] ** (torch.arange(0, dims, 2, dtype=torch.float) / dims))
        angle = torch.arange(input_ids.shape[1]).float()[:, None] * f
        x = self.model.embed_tokens(input_ids)
        cos, sin = (torch.cat((y, y), -1).to(x.dtype) for y in (angle.cos(), angle.sin()))
        for block in self.model.layers:
            x = block(x, cos, sin)
        return self.lm_head(self.model.norm(x))


# ---- one network, in any precision ---------------------------------------------------------------


class Torch64:
    """torch, but what a model calls float32 is float64."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def rotate_v2(xq, xk, freqs):
    """deepseek_v2 rotates complex numbers in float32; here in what it is given."""

    def turn(x):
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
        return torch.view_as_real(pairs * freqs.unsqueeze(1)).flatten(3)

    return turn(xq), turn(xk)


@contextlib.contextmanager
def in_double(model):
    module = sys.modules[type(model).__module__]
    keep = {name: getattr(module, name) for name in ("torch", "apply_rotary_emb") if hasattr(module, name)}
    if module.__name__.startswith("transformers."):
        module.torch = Torch64()
        if "apply_rotary_emb" in keep:
            module.apply_rotary_emb = rotate_v2
    try:
        yield
    finally:
        for name, value in keep.items():
            setattr(module, name, value)


def gates_of(model):
    return {i: l.mlp.gate for i, l in enumerate(model.model.layers) if hasattr(l.mlp, "gate")}


def force(gate, ids, family):
    """Makes a router of transformers choose these experts; weights as it would give them."""
    if family == "deepseek":
        gate.forced = ids
        return

    def forward(x):
        x = x.view(-1, gate.hidden_dim)
        logits = F.linear(x.float(), gate.weight.float())
        scores = logits.sigmoid() if family == "deepseek_v3" else logits.softmax(-1)
        weights = scores.gather(1, ids)
        if family == "deepseek_v3" and gate.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return logits, weights * gate.routed_scaling_factor, ids

    gate.forward = forward


def run(model, ids):
    """Logits, and what passed: every block's output and every router's answer."""
    seen, handles = {"hidden": [], "router": {}}, []
    first = lambda out: out[0] if isinstance(out, tuple) else out
    core = model.model
    modules = [core.embed_tokens, *core.layers, core.norm]
    for module in modules:
        handles.append(module.register_forward_hook(lambda m, a, out: seen["hidden"].append(first(out))))
    for layer, gate in gates_of(model).items():
        def keep(m, a, out, layer=layer):
            seen["router"][layer] = out
        handles.append(gate.register_forward_hook(keep))
    out = model(input_ids=ids)
    for handle in handles:
        handle.remove()
    return (out if torch.is_tensor(out) else out.logits), seen


def token_losses(logits, labels):
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide.flatten(0, -2), labels.flatten(), ignore_index=-100, reduction="none")


def mean_loss(logits, labels):
    return token_losses(logits, labels).sum() / (labels != -100).sum()


def on_disk(tensors):
    """The names of the checkpoint: transformers holds all experts of a layer in one tensor."""
    out = {}
    for name, value in tensors.items():
        stem, _, last = name.rpartition(".")
        if not stem.endswith("mlp.experts"):
            out[name] = value
            continue
        for e, one in enumerate(value):
            parts = zip(("gate_proj", "up_proj"), one.chunk(2)) if last == "gate_up_proj" else [("down_proj", one)]
            for part, matrix in parts:
                out[f"{stem}.{e}.{part}.weight"] = matrix
    return out


def gradients(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    named = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in model.named_parameters()}
    return on_disk(named)


# ---- MTP: layer number num_hidden_layers, which transformers does not run in training ------------


class Mtp(nn.Module):
    """h' = eh_proj [enorm(embedding of the next token); hnorm(h)], h after the final norm."""

    def __init__(self, model):
        super().__init__()
        config = model.config
        block, norm = type(model.model.layers[-1]), type(model.model.norm)
        self.layer = block(config, config.num_hidden_layers)
        self.enorm, self.hnorm = norm(config.hidden_size), norm(config.hidden_size)
        self.eh_proj = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.shared_head = nn.Module()
        self.shared_head.norm = norm(config.hidden_size)

    def forward(self, model, ids, hidden):
        t = ids.shape[1]
        x = self.eh_proj(torch.cat((self.enorm(model.model.embed_tokens(ids)), self.hnorm(hidden)), -1))
        mask = torch.zeros(t, t, dtype=x.dtype).masked_fill(torch.ones(t, t).triu(1).bool(), torch.finfo(x.dtype).min)
        turn = model.model.rotary_emb(x, torch.arange(t)[None])
        out = self.layer(x, attention_mask=mask[None, None], position_embeddings=turn)
        return model.lm_head(self.shared_head.norm(out[0] if isinstance(out, tuple) else out))

    def named(self, layer):
        """name on disk -> parameter, experts still in one tensor"""
        names = {}
        for name, p in [*self.named_parameters(), *self.named_buffers()]:
            if "rotary" not in name:
                names[f"model.layers.{layer}." + name.removeprefix("layer.")] = p
        return names


# ---- making --------------------------------------------------------------------------------------


def fill(module, generator):
    """Random weights: matrices 0.1 or so, norms around 1, selection biases small."""
    def draw(t):
        return torch.randn(t.shape, generator=generator)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name.endswith(("norm.weight", "enorm.weight", "hnorm.weight")):
                p.copy_(1 + 0.1 * draw(p))
            elif name.endswith("bias"):
                p.copy_(0.1 * draw(p))
            elif "embed_tokens" in name:
                p.copy_(0.5 * draw(p))
            elif name.endswith("gate.weight"):
                p.copy_(0.3 * draw(p))
            else:
                p.copy_(min(0.12, 0.96 * p.shape[-1] ** -0.5) * draw(p))  # wider ones: the same size of products
        for name, b in module.named_buffers():
            if name.endswith("e_score_correction_bias"):
                b.copy_(0.05 * draw(b))


def fresh(family, fields):
    if family == "deepseek":
        return DeepseekMoe(dict(fields, rope_theta=10000.0, rms_norm_eps=1e-6))
    config = CLASSES[family](**copy.deepcopy(fields))
    return transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager", dtype=torch.float32).eval()


def loaded(folder, family, fields, dtype):
    """As a user would load it: transformers decides what stays in float32."""
    if family == "deepseek":
        model = DeepseekMoe(dict(fields, rope_theta=10000.0, rms_norm_eps=1e-6))
        model.load_state_dict(safetensors.torch.load_file(f"{folder}/model.safetensors"))
        return model.to(dtype)
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", experts_implementation="eager").eval()


def router_margin(gate, family, logits, fields):
    """How far the nearest expert (or group) that was not chosen is from being chosen."""
    scores = logits.sigmoid() if family == "deepseek_v3" else logits.softmax(-1)
    if family == "deepseek_v3":
        scores = scores + gate.e_score_correction_bias
    grouped = family == "deepseek_v3" or fields.get("topk_method") == "group_limited_greedy"
    margin = torch.tensor(float("inf"))
    if grouped:
        groups, kept = fields["n_group"], fields["topk_group"]
        by_group = scores.view(len(scores), groups, -1)
        value = by_group.topk(2, -1).values.sum(-1) if family == "deepseek_v3" else by_group.max(-1).values
        order = value.sort(-1, descending=True).values
        if kept < groups:
            margin = (order[:, kept - 1] - order[:, kept]).min()
        out = torch.ones_like(value).scatter(1, value.topk(kept, -1).indices, 0).bool()
        scores = by_group.masked_fill(out[..., None], float("-inf")).view_as(scores)
    order = scores.sort(-1, descending=True).values
    k = fields["num_experts_per_tok"]
    if k < order.shape[-1]:
        margin = torch.minimum(margin, (order[:, k - 1] - order[:, k]).min())
    return float(margin)


def greedy(model, family, fields, ids):
    """GREEDY tokens by a full forward each; also the smallest margin of any choice on the way."""
    start, worst = ids.shape[1], float("inf")
    with torch.no_grad():
        for _ in range(GREEDY):
            logits, seen = run(model, ids)
            two = logits[:, -1].topk(2, -1).values
            worst = min(worst, float(((two[:, 0] - two[:, 1]) / logits.abs().max()).min()))
            for layer, gate in gates_of(model).items():
                worst = min(worst, router_margin(gate, family, seen["router"][layer][0], fields))
            ids = torch.cat((ids, logits[:, -1].argmax(-1, keepdim=True)), 1)
    return ids[:, start:], worst


def make_input(fields, tokens, generator):
    ids = torch.randint(0, fields["vocab_size"], (2, tokens), generator=generator)
    labels = torch.full_like(ids, -100)
    labels[:, :-1] = ids[:, 1:]
    labels[0, -1] = int(torch.randint(0, fields["vocab_size"], (1,), generator=generator))
    if tokens > 5:
        labels[1, 3] = labels[0, 5] = -100
    return ids, labels


def router_answers(seen, shape):
    out = {}
    for layer, (_, weights, ids) in seen["router"].items():
        ids, order = ids.sort(-1)
        out[f"router.{layer}.ids"] = ids.view(*shape, -1)
        out[f"router.{layer}.weights"] = weights.gather(-1, order).view(*shape, -1)
    return out


def write_config(folder, family, form, fields):
    """As transformers 5 saves it, or as version 4 and DeepSeek's own files have it."""
    path = f"{folder}/config.json"
    if family == "deepseek":
        config = dict(fields, model_type="deepseek", architectures=["DeepseekForCausalLM"], rope_theta=10000.0,
                      rope_scaling=None, rms_norm_eps=1e-6, hidden_act="silu", scoring_func="softmax",
                      tie_word_embeddings=False, moe_layer_freq=1, aux_loss_alpha=0.001, seq_aux=True,
                      attention_bias=False, torch_dtype="float32", transformers_version="4.36.0")
    else:
        config = json.load(open(path))
    if form == 4 and family != "deepseek":
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        kind = rope.pop("rope_type")
        rope.pop("type", None)
        config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
        config["torch_dtype"] = config.pop("dtype")
        config["transformers_version"] = "4.46.3"
        for name in ("layer_types", "qk_head_dim") + (("head_dim",) if "lora" in str(config) else ()):
            config.pop(name, None)
        if config.get("head_dim", 1) is None:
            config.pop("head_dim")
    with open(path, "w") as out:
        json.dump(config, out, indent=2, sort_keys=True)
        out.write("\n")


def save_model(folder, family, form, fields, model, mtp):
    if family == "deepseek":
        tensors = {n: p.detach().clone() for n, p in model.state_dict().items()}
    else:
        model.save_pretrained(folder)
        tensors = safetensors.torch.load_file(f"{folder}/model.safetensors")
        for extra in ("generation_config.json",):
            if os.path.exists(f"{folder}/{extra}"):
                os.remove(f"{folder}/{extra}")
    if mtp:
        layer = fields["num_hidden_layers"]
        extra = {n: p.detach().clone() for n, p in on_disk(mtp.named(layer)).items()}
        extra[f"model.layers.{layer}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
        extra[f"model.layers.{layer}.shared_head.head.weight"] = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"]).clone()
        tensors.update(extra)
    tensors = {n: t.contiguous() for n, t in tensors.items()}
    safetensors.torch.save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
    write_config(folder, family, form, fields)


def want_main(model, ids, labels):
    logits, seen = run(model, ids)
    loss = mean_loss(logits, labels)
    want = {"logits": logits, "loss": loss, **router_answers(seen, ids.shape)}
    for i, hidden in enumerate(seen["hidden"]):
        want[f"hidden.{i}"] = hidden
    for name, grad in gradients(model, loss).items():
        want["grad." + name] = grad
    return want, seen


def want_mtp(model, mtp, ids, labels):
    """Loss of each token (position i, target two on) and the gradient of their SUM."""
    _, seen = run(model, ids)
    logits = mtp(model, ids[:, 1:], seen["hidden"][-1][:, :-1])
    losses = token_losses(logits, labels[:, 1:])
    both = nn.ModuleDict({"main": model, "mtp": mtp})
    both.zero_grad(set_to_none=True)
    losses.sum().backward()
    layer = model.config.num_hidden_layers
    named = {n: p for n, p in model.named_parameters()}
    named.update({n: p for n, p in mtp.named(layer).items() if isinstance(p, nn.Parameter)})
    want = {MTP + "logits": logits, MTP + "losses": losses.view(ids.shape[0], -1)}
    grads = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in named.items()}
    for name, grad in on_disk(grads).items():
        want[f"{MTP}grad.{name}"] = grad
    return want


def rel(got, want):
    return float((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-300))


def own_errors(folder, family, fields, ids, labels, want, dtype):
    """How far transformers itself is from `want` when it computes in dtype, router ids forced."""
    model = loaded(folder, family, fields, dtype)
    for layer, gate in gates_of(model).items():
        force(gate, want[f"router.{layer}.ids"].view(-1, fields["num_experts_per_tok"]), family)
    logits, _ = run(model, ids)
    loss = mean_loss(logits, labels)
    grads = gradients(model, loss)
    exact = {n: want["grad." + n] for n in grads}
    error = (logits.double() - want["logits"]).abs()
    all_got = torch.cat([g.double().flatten() for g in grads.values()])
    all_want = torch.cat([exact[n].flatten() for n in grads])
    by_tensor = {n: rel(grads[n], exact[n]) for n in grads if float(exact[n].norm()) > 0}
    detail = {n: float(f"{e:.2e}") for n, e in sorted(by_tensor.items())}
    return {
        **({"gradient_l2": detail} if dtype == torch.bfloat16 else {}),
        "logits_max": float(error.max() / want["logits"].abs().max()),
        "logits_l2": rel(logits, want["logits"]),
        "loss": float(abs(loss.double() - want["loss"]) / want["loss"]),
        "gradients_l2": rel(all_got, all_want),
        "gradient_l2_worst": max(by_tensor.values()),
    }


def save(path, tensors):
    out = {}
    for name, t in tensors.items():
        t = t.detach()
        out[name] = (t if t.dtype == torch.int64 else t.float()).contiguous().clone()
    safetensors.torch.save_file(out, path, metadata={"format": "pt"})


def attempt(family, fields, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    model = fresh(family, fields)
    fill(model, generator)
    mtp = None
    if family == "deepseek_v3" and fields.get("num_nextn_predict_layers", 0) > 0:
        mtp = Mtp(model)
        fill(mtp, generator)
    ids, labels = make_input(fields, tokens, generator)
    double = copy.deepcopy(model).double()
    with in_double(double):
        text, margin = greedy(double, family, fields, ids)
    return model, mtp, double, ids, labels, text, margin


def make(name, out):
    family, form, fields, tokens = VARIANTS[name]
    if family != "deepseek":
        fields = {k: v for k, v in fields.items() if v is not None or k == "q_lora_rank"}
    for seed in range(1000):
        model, mtp, double, ids, labels, text, margin = attempt(family, fields, tokens, seed)
        if margin > MARGIN:
            break
    else:
        raise SystemExit(f"{name}: no seed has margins above {MARGIN}")
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    save_model(folder, family, form, fields, model, mtp)
    with in_double(double):
        want, _ = want_main(double, ids, labels)
        if mtp:
            want.update(want_mtp(double, copy.deepcopy(mtp).double(), ids, labels))
    stock, _ = run(double, ids)  # transformers in float64 as it is, with its casts to float32
    errors = {"seed": seed, "margin": margin,
              "float64_with_float32_casts_logits_max": float((stock - want["logits"]).abs().max() / want["logits"].abs().max())}
    for dtype in (torch.float32, torch.bfloat16):
        key = str(dtype).removeprefix("torch.")
        errors[key] = own_errors(folder, family, fields, ids, labels, want, dtype)
    save(f"{folder}/in.safetensors", {"ids": ids, "labels": labels})
    save(f"{folder}/want.safetensors", dict(want, **{"greedy.ids": text}))
    with open(f"{folder}/errors.json", "w") as f:
        json.dump(errors, f, indent=1, sort_keys=True)
        f.write("\n")
    f32, bf16 = errors["float32"], errors["bfloat16"]
    print(f"{name:20s} seed {seed:2d} margin {margin:.1e}  f32 {f32['logits_max']:.1e} {f32['loss']:.1e}"
          f" {f32['gradient_l2_worst']:.1e}  bf16 {bf16['logits_max']:.1e} {bf16['loss']:.1e}"
          f" {bf16['gradients_l2']:.1e}  stock f64 {errors['float64_with_float32_casts_logits_max']:.1e}"
          f"  {sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder)) >> 10} KiB", flush=True)


def write_sums(out):
    lines = []
    for name in sorted(os.listdir(out)):
        folder = os.path.join(out, name)
        for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            digest = hashlib.sha256(open(os.path.join(folder, file), "rb").read()).hexdigest()
            lines.append(f"{digest}  {name}/{file}\n")
    with open(os.path.join(out, "SHA256SUMS"), "w") as f:
        f.writelines(lines)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="variants; all by default")
    parser.add_argument("--out", default=os.path.join(here, "..", "tests", "golden"))
    options = parser.parse_args()
    have = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    if have != PINNED:
        raise SystemExit(f"this needs {PINNED}, here are {have}")
    unknown = set(options.names) - set(VARIANTS)
    if unknown:
        raise SystemExit(f"no such variant: {', '.join(sorted(unknown))}")
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name in options.names or VARIANTS:
        make(name, options.out)
    write_sums(options.out)


if __name__ == "__main__":
    main()
