#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small models of transformers, with weights drawn at random, on the emulated Ascend through Huawei's PyTorch adapter: three steps of
training with clipped gradients, and greedy generation for two prompts of which one is padded, with eager and with sdpa attention,
beside the same on the processor. f32: losses within 1e-5 of them, the same ids; bf16: losses within 2 %."""

import os
import sys

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
import torch_npu  # noqa: F401 - registers the device
import transformers

TOKENS = {"vocab_size": 61, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
BASE = TOKENS | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = BASE | {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 64}
MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "num_key_value_heads": 4, "n_routed_experts": 8, "n_group": 4, "topk_group": 2, "q_lora_rank": 16, "kv_lora_rank": 16,
    "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "first_k_dense_replace": 1, "n_shared_experts": 1,
}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
MODELS = {
    "Llama": LLAMA, "Qwen2": LLAMA, "Qwen3": LLAMA | {"head_dim": 8}, "Mistral": LLAMA | {"sliding_window": 6}, "GPT2": TOKENS | GPT,
    "Gemma": LLAMA | {"head_dim": 8}, "Gemma2": LLAMA | {"head_dim": 8, "sliding_window": 6}, "Phi": LLAMA, "Phi3": LLAMA,
    "DeepseekV3": LLAMA | MOE | LATENT, "Qwen3Moe": LLAMA | MOE | {"head_dim": 8, "num_experts": 4}, "GPTNeoX": LLAMA,
    "Mixtral": LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}, "Olmo2": LLAMA, "Granite": LLAMA,
    "OPT": BASE | {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
}  # fmt: skip


def train(name, device, attention, dtype):
    """The losses, and what it writes."""
    torch.manual_seed(2)
    config = getattr(transformers, name + "Config")(**MODELS[name], attn_implementation=attention)
    kind = getattr(transformers, "GPT2LMHeadModel" if name == "GPT2" else name + "ForCausalLM")
    model = kind(config).to(device).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    ids, losses = (torch.arange(1, 25) * 5 % 61).view(2, 12).to(device), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    seen = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]], device=device)
    text = model.generate(ids[:, :5], attention_mask=seen, max_new_tokens=8, do_sample=False)
    return losses, text.cpu().tolist()


def compare(name, attention, dtype):
    (want, text), (got, our_text) = train(name, "cpu", attention, dtype), train(name, "npu", attention, dtype)
    off = max(abs(a - b) / abs(a) for a, b in zip(want, got))
    is_whole = dtype == torch.float32
    good = off <= (1e-5 if is_whole else 2e-2) and (text == our_text or not is_whole)
    print(f"transformers_models: {name:10} {attention:5} {str(dtype)[6:]:8} loss {got[0]:.4f} -> {got[-1]:.4f}, off by {off:.1e} of it, "
          f"{'the same' if text == our_text else 'other'} greedy ids  {'ok' if good else 'TOO FAR'}", flush=True)  # fmt: skip
    return good


def main():
    bad = 0
    for name in sys.argv[1:] or MODELS:
        for attention in ("eager", "sdpa"):
            for dtype in (torch.float32, torch.bfloat16):
                bad += not compare(name, attention, dtype)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
