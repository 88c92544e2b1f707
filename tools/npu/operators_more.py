#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""More operators of Huawei's PyTorch adapter on the emulated Ascend, and their gradients, beside PyTorch on the processor: what
operators.py has no room for. Each parameter has a value of its own; f32 within 1e-5."""

import sys

import torch
import torch.nn.functional as F
import torch_npu
from operators import A, B, MASK, compare, draw

X, COS, SIN = draw(2, 5, 4, 8), draw(1, 5, 1, 8), draw(1, 5, 1, 8)
G, GATE = draw(2, 5, 4, 8), draw(3, 12)


def turned(x, mode):
    """The other element of each pair, the first with a minus: of halves, or of neighbours."""
    if mode == "half":
        first, second = x.chunk(2, -1)
        return torch.cat([-second, first], -1)
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([-second, first], -1).flatten(-2)


def slopes(function):
    """The function's value and its gradients, weighted unevenly, by all tensors."""

    def run(*tensors):
        inputs = [t.detach().clone().requires_grad_() for t in tensors]
        y = function(*inputs)
        weights = torch.linspace(0.5, 1.5, y.numel()).reshape(y.shape).to(y.device)
        (y * weights).sum().backward()
        return torch.cat([y.detach().flatten()] + [t.grad.flatten() for t in inputs])

    return run


def rotary(mode):
    def run(x, cos, sin):
        if x.device.type == "npu":
            return torch_npu.npu_rotary_mul(x, cos, sin, mode)
        return x * cos + turned(x, mode) * sin

    return run


def swiglu(dim):
    def run(x):
        if x.device.type == "npu":
            return torch_npu.npu_swiglu(x, dim=dim)
        first, second = x.chunk(2, dim)
        return F.silu(first) * second

    return run


CASES = {
    "rotary of halves": (slopes(rotary("half")), (X, COS, SIN)), "rotary of neighbours": (slopes(rotary("interleave")), (X, COS, SIN)),
    "swiglu": (slopes(swiglu(-1)), (GATE,)), "swiglu of another axis": (slopes(swiglu(1)), (draw(3, 4, 5),)),
    "gelu": (slopes(F.gelu), (A,)), "gelu by tanh": (slopes(lambda a: F.gelu(a, approximate="tanh")), (A,)),
    "softplus": (slopes(lambda a: F.softplus(a, 2.3, 1.1)), (A,)), "elu": (slopes(lambda a: F.elu(a, 0.7)), (A,)),
    "leaky relu": (slopes(lambda a: F.leaky_relu(a, 0.3)), (A,)), "hardtanh": (slopes(lambda a: F.hardtanh(a, -0.6, 1.2)), (A,)),
    "binary entropy": (slopes(lambda a: F.binary_cross_entropy_with_logits(a, (B / 2).to(a.device), pos_weight=B[0].to(a.device))), (A,)),
    "smooth l1": (slopes(lambda a, b: F.smooth_l1_loss(a, b, beta=0.4)), (A, B)), "variance": (slopes(lambda a: a.var(1, unbiased=False)), (A,)),
    "deviation": (slopes(lambda a: a.std(0)), (A,)), "logsumexp": (slopes(lambda a: a.logsumexp(0)), (A,)),
    "amax": (slopes(lambda a: a.amax((0, 1))), (A,)), "topk": (slopes(lambda a: a.topk(3, 1)[0]), (A,)),
    "smallest": (lambda a: a.topk(2, 0, largest=False)[1], (A,)), "scatter": (lambda a, b: a.scatter(1, (b * 2).long(), b), (A, B)),
    "roll": (lambda a: a.roll((2, -1), (0, 1)), (A,)), "flip": (lambda a: a.flip(1), (A,)), "repeat": (lambda a: a.repeat(2, 3), (A,)),
    "repeat each": (lambda a: a.repeat_interleave(3, 1), (A,)), "tril": (lambda a: a.tril(-2), (A,)),
    "where of a number": (lambda m, a: torch.where(m, a, 0.3), (MASK, A)), "linspace": (lambda a: torch.linspace(0.3, 2.7, 9, device=a.device), (A,)),
    "one hot": (lambda a: F.one_hot((a.abs() * 2).long(), 6), (A,)), "cumulative product": (lambda b: b.cumprod(1), (B,)),
    "running largest": (lambda a: a.cummax(1)[1], (A,)), "remainder": (lambda a: torch.remainder(a, -0.7), (A,)),
    "floor division": (lambda a, b: torch.div(a, b, rounding_mode="floor"), (A, B)), "wide integers": (lambda a: (a * 9).long() * 3 + 2**60, (A,)),
    "lerp of tensors": (torch.lerp, (A, B, A * B)), "xor": (lambda m, a: m ^ (a > 0.1), (MASK, A)), "shift": (lambda a: (a * 9).int() << 3, (A,)),
}  # fmt: skip


def main():
    failed, most = [], 0.0
    torch_npu.npu.use_compatible_impl(True)  # without it the adapter asks for the same gelu of both forms
    for name, (function, tensors) in CASES.items():
        try:
            wrong, worst = compare(name, function, tensors)
        except RuntimeError as why:
            wrong, worst = f"{name}: {str(why).splitlines()[0][:200]}", 0.0
        most = max(most, worst)
        failed += [wrong] if wrong else []
    print(f"operators_more: {len(CASES) - len(failed)} of {len(CASES)} as on the processor, worst {most:.1e}")
    for line in failed:
        print(f"operators_more: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
