#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""transformers' LlamaForCausalLM on the emulated Ascend through Huawei's PyTorch adapter: three steps of training and greedy
generation with its own cache, with plain and with fused attention, beside the same on the processor. f32: losses within 1e-5, the
same ids."""

import os
import sys

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
import torch_npu  # noqa: F401 - registers the device
import transformers


def train(device, attention):
    torch.manual_seed(2)
    config = transformers.LlamaConfig(vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=2, max_position_embeddings=64, bos_token_id=None, eos_token_id=None,
                                      pad_token_id=0, attn_implementation=attention)  # fmt: skip
    model = transformers.LlamaForCausalLM(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    ids, losses = (torch.arange(1, 25) * 5 % 61).view(2, 12).to(device), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    text = model.generate(ids[:1, :5], attention_mask=torch.ones(1, 5, dtype=torch.long, device=device), max_new_tokens=10, do_sample=False)
    return losses, text.cpu().tolist()[0]


def main():
    bad = 0
    for attention in ("eager", "sdpa"):
        (want, text), (got, our_text) = train("cpu", attention), train("npu", attention)
        off = max(abs(a - b) / abs(a) for a, b in zip(want, got))
        good = off <= 1e-5 and text == our_text
        bad += not good
        print(f"transformers_llama: {transformers.__version__}, {attention:5} loss {got[0]:.4f} -> {got[-1]:.4f}, off by {off:.1e} of it, "
              f"{'the same' if text == our_text else 'other'} greedy ids  {'ok' if good else 'TOO FAR'}")  # fmt: skip
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
