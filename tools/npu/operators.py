#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Huawei's PyTorch adapter on the emulated Ascend: copies, views and operators against PyTorch on the processor, each with a value
of its own in every parameter, so that two that were swapped or cut off would show. f32 within 1e-5, copies and comparisons equal."""

import sys

import torch
import torch_npu

GENERATOR = torch.Generator().manual_seed(20)


def draw(*shape, low=-2.0, high=2.0):
    return torch.rand(*shape, generator=GENERATOR) * (high - low) + low


A, B, C = draw(5, 7), draw(5, 7, low=0.3, high=1.7), draw(7, low=0.5)
M, N, R = draw(6, 9), draw(9, 4), draw(4)
MASK = draw(5, 7) > 0.4

# name: (function of tensors, tensors)
CASES = {
    "transposed": (lambda a: a.t().contiguous(), (A,)), "sliced": (lambda a: a[1:4, 2::3].contiguous(), (A,)),
    "flipped strides": (lambda a: a.t()[2:5].contiguous(), (A,)), "expanded": (lambda c: c.expand(3, 7).contiguous(), (C,)),
    "to bf16 and back": (lambda a: a.bfloat16().float(), (A,)), "to int64": (lambda a: (a * 9).to(torch.int64), (A,)),
    "add alpha": (lambda a, b: torch.add(a, b, alpha=1.7), (A, B)), "add scalar": (lambda a: torch.add(a, 0.31, alpha=3), (A,)),
    "sub alpha": (lambda a, b: torch.sub(a, b, alpha=0.6), (A, B)), "rsub": (lambda a: torch.rsub(a, 2.5, alpha=1.3), (A,)),
    "sub scalar": (lambda a: a - 0.27, (A,)), "mul": (lambda a, c: a * c, (A, C)), "mul scalar": (lambda a: a * -1.9, (A,)),
    "div": (lambda a, b: a / b, (A, B)), "div scalar": (lambda a: a / 3.3, (A,)), "neg": (torch.neg, (A,)), "abs": (torch.abs, (A,)),
    "reciprocal": (torch.reciprocal, (B,)), "sqrt": (torch.sqrt, (B,)), "rsqrt": (torch.rsqrt, (B,)), "exp": (torch.exp, (A,)),
    "log": (torch.log, (B,)), "sin": (torch.sin, (A,)), "cos": (torch.cos, (A,)), "tanh": (torch.tanh, (A,)),
    "relu": (torch.relu, (A,)), "silu": (torch.nn.functional.silu, (A,)), "sigmoid": (torch.sigmoid, (A,)),
    "clamp": (lambda a: torch.clamp(a, -0.7, 1.1), (A,)), "power": (lambda b: torch.pow(b, 2.3), (B,)),
    "power of a number": (lambda a: torch.pow(1.6, a), (A,)), "maximum": (torch.maximum, (A, B)), "minimum": (torch.minimum, (A, B)),
    "equal": (torch.eq, (A.round(), B.round())), "not equal": (torch.ne, (A.round(), B.round())), "greater": (torch.gt, (A, B)),
    "at least": (torch.ge, (A, B)), "less": (torch.lt, (A, B)), "at most": (torch.le, (A, B)),
    "equal number": (lambda a: a.round() == 1.0, (A,)), "less than a number": (lambda a: a < 0.2, (A,)),
    "greater than a number": (lambda a: a > 0.2, (A,)), "and": (lambda m, a: m & (a > 0), (MASK, A)),
    "or": (lambda m, a: m | (a > 0), (MASK, A)), "not": (lambda m: ~m, (MASK,)), "where": (torch.where, (MASK, A, B)),
    "masked fill": (lambda a, m: a.masked_fill(m, -3.5), (A, MASK)), "addcdiv": (lambda a, b: a.clone().addcdiv_(a, b, value=0.3), (A, B)),
    "matmul": (torch.matmul, (M, N)), "matmul of a transposed": (lambda m: m @ m.t(), (M,)),
    "addmm": (lambda r, m, n: torch.addmm(r, m, n, beta=0.7, alpha=1.9), (R, M, N)), "bmm": (torch.bmm, (draw(3, 4, 5), draw(3, 5, 6))),
    "sum": (lambda a: a.sum(), (A,)), "sum over an axis": (lambda a: a.sum(0), (A,)), "sum kept": (lambda a: a.sum(1, keepdim=True), (A,)),
    "mean": (lambda a: a.mean(), (A,)), "mean over an axis": (lambda a: a.mean(1), (A,)),
    "softmax": (lambda a: torch.softmax(a, 0), (A,)), "sort": (lambda a: torch.sort(a, 1, descending=True)[0], (A,)),
    "gather": (lambda a: torch.gather(a, 1, torch.tensor([[3], [0], [6], [2], [5]], device=a.device)), (A,)),
    "index select": (lambda a: a.index_select(0, torch.tensor([4, 0, 4], device=a.device)), (A,)),
    "arange": (lambda a: torch.arange(2, 23, 3, device=a.device), (A,)), "full": (lambda a: torch.full_like(a, 0.37), (A,)),
    "cat": (lambda a, b: torch.cat([a, b[:, :3]], 1), (A, B)), "stack": (lambda a, b: torch.stack([a, b], 1), (A, B)),
    "argmax": (lambda a: a.argmax(1), (A,)), "max": (torch.max, (A,)), "cumsum": (lambda a: a.cumsum(0), (A,)),
    "any": (lambda m: m.any(1), (MASK,)), "all": (lambda m: m.all(0, keepdim=True), (MASK,)), "triu": (lambda a: a.triu(2), (A,)),
    "norm": (lambda a: torch.linalg.vector_norm(a, 2, 1), (A,)), "log softmax": (lambda a: torch.log_softmax(a, 1), (A,)),
    "embedding": (lambda a: torch.nn.functional.embedding(torch.tensor([[4, 0], [2, 4]], device=a.device), a), (A,)),
    "lerp": (lambda a, b: torch.lerp(a, b, 0.3), (A, B)), "addcmul": (lambda a, b: a.clone().addcmul_(a, b, value=-0.8), (A, B)),
    "nll": (lambda a: torch.nn.functional.nll_loss(torch.log_softmax(a, 1), torch.tensor([3, 0, -100, 6, 1], device=a.device),
                                                   weight=torch.linspace(0.5, 2.0, 7).to(a.device)), (A,)),
    "mse mean": (torch.nn.functional.mse_loss, (A, B)),
    "mse sum": (lambda a, b: torch.nn.functional.mse_loss(a, b, reduction="sum"), (A, B)),
    "mse of each": (lambda a, b: torch.nn.functional.mse_loss(a, b, reduction="none"), (A, B)),
}  # fmt: skip


Q, K, W = draw(2, 4, 16, 8), draw(2, 4, 16, 8), draw(2, 4, 16, 8)


def rms_norm(a, c):
    if a.device.type == "npu":
        return torch_npu.npu_rms_norm(a, c, 0.3)[0]
    return a * torch.rsqrt(a.pow(2).mean(-1, keepdim=True) + 0.3) * c


def attention(q, k, v):
    """With a scale of its own."""
    if q.device.type == "npu":
        return torch_npu.npu_fusion_attention(q, k, v, 4, "BNSD", scale=0.27)[0]
    return torch.softmax(q @ k.transpose(-1, -2) * 0.27, -1) @ v


CASES |= {
    "npu_rms_norm": (rms_norm, (A, C)), "npu_fusion_attention": (attention, (Q, K, W)),
    "sdpa": (lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.4), (Q, K, W)),
    "causal sdpa": (lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), (Q, K, W)),
}  # fmt: skip


def compare(name, function, tensors):
    want, got = function(*tensors), function(*(t.npu() for t in tensors))
    got = got.cpu()
    if want.dtype != got.dtype or want.shape != got.shape:
        return f"{name}: {got.dtype} {tuple(got.shape)}, want {want.dtype} {tuple(want.shape)}", 0.0
    if not want.is_floating_point():
        return (None if torch.equal(want, got) else f"{name}: other values"), 0.0
    worst = float(((got - want).abs() / (1 + want.abs())).max())
    return (None if worst <= 1e-5 else f"{name}: off by {worst:.1e}"), worst


def train(device):
    """Three steps of two linear maps; the losses and a weight."""
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(9, 16), torch.nn.SiLU(), torch.nn.Linear(16, 4)).to(device)
    x, target = M.to(device), (M @ N).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, weight_decay=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model[0].weight.detach().cpu()


def main():
    assert torch.npu.is_available(), "the adapter finds no device"
    print(f"operators: {torch.npu.device_count()} device, {torch.npu.get_device_name(0)}, emulated")
    failed, most = [], 0.0
    for name, (function, tensors) in CASES.items():
        try:
            wrong, worst = compare(name, function, tensors)
        except RuntimeError as why:
            wrong, worst = f"{name}: {str(why).splitlines()[0][:200]}", 0.0
        most = max(most, worst)
        failed += [wrong] if wrong else []
    (losses, weight), (ours, our_weight) = train("cpu"), train("npu")
    off = max(abs(a - b) / (1 + abs(a)) for a, b in zip(losses, ours))
    far = float((weight - our_weight).abs().max())
    print(f"operators: {len(CASES) - len(failed)} of {len(CASES)} as on the processor, worst {most:.1e}; "
          f"3 steps of linear maps: losses {off:.1e}, weights {far:.1e}")  # fmt: skip
    if not (off <= 1e-5 and far <= 1e-5):
        failed.append("the training departs")
    for line in failed:
        print(f"operators: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
