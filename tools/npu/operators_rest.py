#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Huawei's PyTorch adapter on the emulated Ascend: operators of one shape by their names (in place too, and by lists), and the
rest one by one, against PyTorch on the processor. f32 within 1e-5, the others equal. What is called here with equal results is an
argument list that the client confirms (tools/check_abi)."""

import sys

import torch
import torch.nn.functional as F
import torch_npu

GENERATOR = torch.Generator().manual_seed(31)


def draw(*shape, low=-2.0, high=2.0):
    return torch.rand(*shape, generator=GENERATOR) * (high - low) + low


A, B, C, E = draw(5, 7), draw(5, 7, low=0.3, high=1.7), draw(7), draw(5, 7, low=-0.9, high=0.9)
L, H = draw(5, 7, low=1.1, high=3.0), draw(2, 6, 5)
I, J = (A * 9).to(torch.int32), (B * 4).to(torch.int32)
T, MASK = torch.eye(7)[:5], A > 0.2
LIST, OTHER, WIDE = [draw(3, 4, low=0.2, high=0.9), draw(5, low=0.2, high=0.9)], [draw(3, 4, low=0.3), draw(5, low=0.3)], [0.7, 1.9]

CASES = {}


def each(names, tensors, form, take=getattr):
    for name in names.split():
        CASES[form.format(name)] = (lambda *t, f=form.format(name): calls[f](*t), tensors)
        calls[form.format(name)] = take(form.format(name))


calls = {}


def plain(name):
    return getattr(torch, name)


def in_place(name):
    return lambda a, *rest: getattr(a.clone(), name)(*rest)


def by_list(name):
    return getattr(torch, name)


each("asinh atan cosh sinh tan ceil floor frac trunc erf erfc exp2 expm1 sign sinc isfinite isposinf isneginf signbit", (A,), "{}", plain)
each("acos asin atanh erfinv", (E,), "{}", plain)
each("acosh", (L,), "{}", plain)
each("log10 log1p log2", (B,), "{}", plain)
each("asinh atan cos cosh sin sinh tan tanh ceil floor frac trunc erf erfc exp exp2 expm1 sinc round relu sigmoid", (A,), "{}_", in_place)
each("acos asin atanh erfinv", (E,), "{}_", in_place)
each("acosh", (L,), "{}_", in_place)
each("log log10 log1p log2 reciprocal rsqrt sqrt", (B,), "{}_", in_place)
each("eq ne lt le gt ge", (A.round(), B.round()), "{}_", in_place)
each("div sub remainder fmod floor_divide clamp_min clamp_max logical_and logical_or", (A, B), "{}_", in_place)
each("atan2 logaddexp floor_divide fmod remainder logical_and logical_or logical_xor", (A, B), "{}", plain)
each("abs acos asin atan cos cosh erf erfc exp expm1 log log10 log1p log2 neg reciprocal sigmoid sign sin sinh tan tanh", (LIST,),
     "_foreach_{}", by_list)  # fmt: skip
each("add sub mul div maximum minimum pow", (LIST, OTHER), "_foreach_{}", by_list)
for name in "add sub mul div maximum minimum pow".split():
    CASES[f"{name} a list by a number"] = (lambda a, f=getattr(torch, f"_foreach_{name}"): f(a, 1.3), (LIST,))
    CASES[f"{name} a list by numbers"] = (lambda a, f=getattr(torch, f"_foreach_{name}"): f(a, WIDE), (LIST,))
for name in ("addcmul", "addcdiv"):
    CASES[f"{name} lists"] = (lambda a, b, f=getattr(torch, f"_foreach_{name}"): f(a, b, b, 0.6), (LIST, OTHER))
    CASES[f"{name} lists by numbers"] = (lambda a, b, f=getattr(torch, f"_foreach_{name}"): f(a, b, b, WIDE), (LIST, OTHER))
for name in "eq ne lt le gt ge".split():
    CASES[f"{name}_ a number"] = (lambda a, n=name: getattr(a.clone(), f"{n}_")(1.0), (A.round(),))
    CASES[f"{name} a number"] = (lambda a, n=name: getattr(torch, n)(a, 1.0), (A.round(),))


def gradient(function):
    """Of the sum of what the function gives, each value times another number."""

    def run(*tensors):
        leaves = [t.detach().clone().requires_grad_() for t in tensors]
        y = function(*leaves)
        (y * torch.arange(1, y.numel() + 1, device=y.device).view(y.shape)).sum().backward()
        return leaves[0].grad

    return run


ACTIVATIONS = {
    "gelu": F.gelu, "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "mish": F.mish, "log sigmoid": F.logsigmoid, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "relu": torch.relu, "hardshrink": lambda a: F.hardshrink(a, 0.7), "softshrink": lambda a: F.softshrink(a, 0.3),
    "threshold": lambda a: F.threshold(a, 0.4, -1.5), "celu": lambda a: F.celu(a, 1.3), "layer norm": lambda a: F.layer_norm(a, (7,)),
    "kl": lambda a: F.kl_div(a, torch.full_like(a, 0.3), reduction="none"), "l1": lambda a: F.l1_loss(a, torch.zeros_like(a), reduction="none"),
}  # fmt: skip
for name, function in ACTIVATIONS.items():
    CASES[name] = (function, (A,))
    CASES[f"gradient of {name}"] = (gradient(function), (A,))


def rms_norm(a, c):
    if a.device.type == "npu":
        return torch_npu.npu_rms_norm(a, c, 0.3)[0]
    return a * torch.rsqrt(a.pow(2).mean(-1, keepdim=True) + 0.3) * c


def at(*numbers):
    return lambda a: torch.tensor(numbers, device=a.device)


CASES |= {
    "gradient of rms_norm": (gradient(rms_norm), (A, C)), "addcdiv": (lambda a, b: torch.addcdiv(a, a, b, value=0.3), (A, B)),
    "addcmul": (lambda a, b: torch.addcmul(a, a, b, value=0.3), (A, B)),
    "addr": (lambda a, b, c: torch.addr(a, b[:, 0], c, beta=0.4, alpha=1.2), (A, B, C)),
    "addmv": (lambda a, b, c: torch.addmv(b[:, 0], a, c, beta=0.4, alpha=1.2), (A, B, C)), "mv": (torch.mv, (A, C)), "dot": (torch.dot, (C, C)),
    "amin": (lambda a: a.amin(1), (A,)), "argmin": (lambda a: a.argmin(1), (A,)), "min": (torch.min, (A,)),
    "min over an axis": (lambda a: a.min(1)[1], (A,)),
    "max over an axis": (lambda a: a.max(0)[0], (A,)), "median": (torch.median, (A,)), "kth": (lambda a: a.kthvalue(3, 1)[0], (A,)),
    "cummin": (lambda a: a.cummin(1)[0], (A,)), "prod": (torch.prod, (B,)), "prod over an axis": (lambda a: a.prod(1, keepdim=True), (B,)),
    "nansum": (lambda a: a.nansum(0), (A,)), "var and mean": (lambda a: torch.var_mean(a, 1)[0], (A,)),
    "std and mean": (lambda a: torch.std_mean(a, 1)[0], (A,)),
    "bits and": (torch.bitwise_and, (I, J)), "bits and a number": (lambda i: i & 6, (I,)), "bits or a number": (lambda i: i | 5, (I,)),
    "bits xor a number": (lambda i: i ^ 5, (I,)), "shift left": (torch.bitwise_left_shift, (I, J)),
    "shift right": (torch.bitwise_right_shift, (I, J)),
    "bits and_": (lambda i, j: i.clone().bitwise_and_(j), (I, J)), "bits xor_": (lambda i, j: i.clone().bitwise_xor_(j), (I, J)),
    "bincount": (lambda j: torch.bincount(j.flatten()), (J,)), "equal": (lambda a, b: torch.tensor(torch.equal(a, b)), (A, B)),
    "clamp by tensors": (lambda a, b: a.clamp(-b, b), (A, B)), "clamp_max": (lambda a: a.clamp_max(0.3), (A,)),
    "clamp_min": (lambda a: a.clamp_min(0.3), (A,)),
    "clamp_min by a tensor": (lambda a, b: a.clamp_min(b), (A, B)), "clamp_max by a tensor": (lambda a, b: a.clamp_max(b), (A, B)),
    "eye": (lambda a: torch.eye(4, 6, device=a.device), (A,)), "close": (lambda a, b: torch.isclose(a, b, 0.3, 0.2), (A, B)),
    "fill by a tensor": (lambda a: a.clone().fill_(a[0, 0]), (A,)), "index add": (lambda a: a.index_add(0, at(3, 1, 3)(a), a[:3], alpha=0.7), (A,)),
    "index copy": (lambda a: a.index_copy(0, at(3, 1)(a), a[:2]), (A,)), "index fill": (lambda a: a.index_fill(1, at(3, 1)(a), 0.4), (A,)),
    "put in": (lambda a: a.clone().index_put_((at(3, 1)(a), at(0, 2)(a)), at(0.5, 0.6)(a), accumulate=True), (A,)),
    "scatter add": (lambda a: a.scatter_add(1, torch.tensor([[0, 2], [1, 1]], device=a.device), a[2:4, 2:4]), (A,)),
    "scatter a number": (lambda a: a.scatter(1, torch.tensor([[0, 2], [1, 1]], device=a.device), 0.7), (A,)),
    "take": (lambda a: torch.take(a, at(3, 30)(a)), (A,)),
    "masked select": (torch.masked_select, (A, MASK)), "nonzero": (torch.nonzero, (MASK,)),
    "nan to number": (lambda a: torch.nan_to_num(a / 0, 0.3, 7.0, -8.0), (A,)),
    "power of tensors": (torch.pow, (B, A)), "power_ of a number": (lambda b: b.clone().pow_(2.3), (B,)),
    "round to decimals": (lambda a: torch.round(a, decimals=2), (A,)),
    "remainder of a number": (lambda b: torch.remainder(2.7, b), (B,)), "fmod a number": (lambda a: torch.fmod(a, 0.7), (A,)),
    "rounded down": (lambda a: torch.div(a, 0.7, rounding_mode="floor"), (A,)),
    "cut": (lambda a, b: torch.div(a, b, rounding_mode="trunc"), (A, B)), "repeat": (lambda a: torch.repeat_interleave(a, 3), (A,)),
    "repeat rows": (lambda a: torch.repeat_interleave(a, 2, 0), (A,)),
    "search": (lambda c: torch.searchsorted(c.sort()[0], at(-0.3, 0.4)(c), right=True), (C,)), "trace": (torch.trace, (A[:, :5],)),
    "tril_": (lambda a: a.clone().tril_(1), (A,)), "triu_": (lambda a: a.clone().triu_(-1), (A,)),
    "binary cross entropy": (lambda e: F.binary_cross_entropy(e.abs(), (e > 0).float()), (E,)),
    "group norm": (lambda h: F.group_norm(h, 3, eps=0.2), (H,)),
    "baddbmm": (lambda h: torch.baddbmm(h @ h.mT, h, h.mT, beta=0.4, alpha=1.2), (H,)), "norm of order 3": (lambda a: a.norm(3, 1), (A,)),
    "logit": (lambda e: torch.logit(e.abs(), 0.1), (E,)),
    "unique": (lambda j: torch.unique(j), (J,)), "x log y": (torch.xlogy, (A, B)),
    "masked fill by a tensor": (lambda a, m: a.masked_fill(m, a[0, 0]), (A, MASK)), "not": (lambda a: torch.logical_not(a.round()), (A,)),
    "sub_ with alpha": (lambda a, b: a.clone().sub_(b, alpha=0.6), (A, B)), "div_ by a number": (lambda a: a.clone().div_(1.7), (A,)),
    "lerp_ by a tensor": (lambda a, b: a.clone().lerp_(b, b), (A, B)),
    "leaky relu_": (lambda a: F.leaky_relu_(a.clone(), 0.2), (A,)), "elu_": (lambda a: F.elu_(a.clone(), 0.7), (A,)),
    "hardtanh_": (lambda a: F.hardtanh_(a.clone(), -0.4, 0.9), (A,)), "range": (lambda a: torch.range(1, 9, 2, device=a.device), (A,)),
}  # fmt: skip


def move(x):
    return [t.npu() for t in x] if isinstance(x, list) else x.npu()


def differ(want, got):
    if want.dtype != got.dtype or want.shape != got.shape:
        return f"{got.dtype} {tuple(got.shape)}, want {want.dtype} {tuple(want.shape)}"
    if not want.is_floating_point():
        return None if torch.equal(want, got) else "other values"
    worst = float(((got - want).abs() / (1 + want.abs())).max())
    return None if worst <= 1e-5 else f"off by {worst:.1e}"


def compare(name, function, tensors):
    try:
        want, got = function(*tensors), function(*(move(t) for t in tensors))
        pairs = zip(want, got) if isinstance(want, (list, tuple)) else [(want, got)]
        wrong = next(filter(None, (differ(w, g.cpu()) for w, g in pairs)), None)
    except RuntimeError as why:
        wrong = str(why).splitlines()[0][:200]
    return f"{name}: {wrong}" if wrong else None


def main():
    assert torch.npu.is_available(), "the adapter finds no device"
    wrong = [line for line in (compare(name, *case) for name, case in CASES.items()) if line]
    print(f"operators_rest: {len(CASES) - len(wrong)} of {len(CASES)} as on the processor, emulated")
    for line in wrong:
        print(f"operators_rest: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
