#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Huawei's PyTorch adapter on the emulated Ascend: values that an interface read otherwise would show, beside PyTorch on the
processor. Large where they are usually too small to matter, all different, negative, and some that do not fit into 32 bits,
which the adapter hands on as they are. tools/npu/mutations changes the driver's side and wants this program to see it."""

import sys

import torch
import torch.nn.functional as F
import torch_npu

GENERATOR = torch.Generator().manual_seed(5)
WIDE = 2**32 + 1


def draw(*shape, low=-2.0, high=2.0):
    return torch.rand(*shape, generator=GENERATOR) * (high - low) + low


A, B, C = draw(5, 7), draw(5, 7, low=0.3, high=1.7), draw(7, low=0.5)
M, N, R = draw(6, 9), draw(9, 4), draw(4)
Q, K, V = draw(2, 4, 16, 8), draw(2, 4, 16, 8), draw(2, 4, 16, 8)


def rms_norm(a, c):
    if a.device.type == "npu":
        return torch_npu.npu_rms_norm(a, c, 0.3)[0]
    return a * torch.rsqrt(a.pow(2).mean(-1, keepdim=True) + 0.3) * c


def attention(q, k, v):
    """The first position sees one key, the third three; a scale of its own."""
    hidden = torch.ones(16, 16, device=q.device).triu(1).bool()
    if q.device.type == "npu":
        return torch_npu.npu_fusion_attention(q, k, v, 4, "BNSD", atten_mask=hidden, scale=0.27)[0]
    return torch.softmax((q @ k.transpose(-1, -2) * 0.27).masked_fill(hidden, -1e30), -1) @ v


def nll(reduction):
    """One target is the class that is left out."""
    return lambda a: F.nll_loss(torch.log_softmax(a, 1), torch.tensor([3, 0, 2, 6, 1], device=a.device), ignore_index=2,
                                weight=torch.linspace(0.5, 2.0, 7).to(a.device), reduction=reduction)  # fmt: skip


def nll_gradient(a):
    a = a.clone().requires_grad_()
    nll("mean")(a).backward()
    return a.grad


def embedding_gradient(a):
    """Row 2 is padding and learns nothing."""
    w = a.clone().requires_grad_()
    ids = torch.tensor([[4, 2], [2, 4]], device=a.device)
    (F.embedding(ids, w, padding_idx=2) * torch.arange(1, 8, device=a.device)).sum().backward()
    return w.grad


def adamw(a):
    """Three fused steps; every number is another, and none is small."""
    w = a.clone().requires_grad_()
    optimizer = torch.optim.AdamW([w], lr=0.03, betas=(0.8, 0.95), eps=0.07, weight_decay=0.21, fused=True)
    for step in range(3):
        optimizer.zero_grad()
        (w * w * (step + 1)).sum().backward()
        optimizer.step()
    return w.detach()


# name: (function of tensors, tensors)
CASES = {
    "rms_norm, large eps": (rms_norm, (A, C)), "softmax, the last axis": (lambda a: torch.softmax(a, -1), (A,)),
    "log softmax, the last but one": (lambda a: torch.log_softmax(a, -2), (A,)), "triu, more than 32 bits": (lambda a: a.triu(WIDE), (A,)),
    "nll mean": (nll("mean"), (A,)), "nll sum": (nll("sum"), (A,)), "nll of each": (nll("none"), (A,)), "nll gradient": (nll_gradient, (A,)),
    "cat": (lambda a, b: torch.cat([a, b[:, :3]], -1), (A, B)), "stack": (lambda a, b: torch.stack([a, b], 1), (A, B)),
    "sum": (lambda a: a.sum(1), (A,)), "sum kept": (lambda a: a.sum(0, keepdim=True), (A,)),
    "turned": (lambda a: (a.t() * 3)[1:], (A,)), "a part": (lambda a: a[2:4, 3:] + 1, (A,)),
    "matmul": (torch.matmul, (M, N)), "addmm": (lambda r, m, n: torch.addmm(r, m, n, beta=0.7, alpha=1.9), (R, M, N)),
    "add": (lambda a: torch.add(a, 0.31, alpha=3), (A,)), "rsub": (lambda a: torch.rsub(a, 2.5, alpha=1.3), (A,)),
    "clamp": (lambda a: a.clamp(-0.7, 1.1), (A,)), "addcdiv": (lambda a, b: a.clone().addcdiv_(a, b, value=0.3), (A, B)),
    "attention": (attention, (Q, K, V)), "embedding gradient": (embedding_gradient, (A,)), "fused AdamW": (adamw, (A,)),
}  # fmt: skip

# Axes that are none in 64 bits, and one in 32.
REFUSED = {
    "softmax over axis 2^32 + 1": lambda a: torch.softmax(a, WIDE), "log softmax over axis 2^32 + 1": lambda a: torch.log_softmax(a, WIDE),
}  # fmt: skip


def compare(name, function, tensors):
    try:
        want, got = function(*tensors), function(*(t.npu() for t in tensors)).cpu()
    except RuntimeError as why:
        return f"{name}: {str(why).splitlines()[0][:160]}"
    if want.shape != got.shape:
        return f"{name}: {tuple(got.shape)}, want {tuple(want.shape)}"
    worst = float(((got - want).abs() / (1 + want.abs())).max())
    return None if worst <= 1e-5 else f"{name}: off by {worst:.1e}"


def refuses(name, function):
    try:
        function(A.npu()).cpu()
    except (RuntimeError, IndexError):
        return None
    return f"{name}: was taken"


def main():
    assert torch.npu.is_available(), "the adapter finds no device"
    wrong = [compare(name, *case) for name, case in CASES.items()] + [refuses(*case) for case in REFUSED.items()]
    wrong = [line for line in wrong if line]
    print(f"parameters: {len(CASES) + len(REFUSED) - len(wrong)} of {len(CASES) + len(REFUSED)} as on the processor, emulated")
    for line in wrong:
        print(f"parameters: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
