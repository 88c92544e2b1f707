# SPDX-License-Identifier: Apache-2.0
"""PyTorch's operators on the processor at the shapes of `mizan bench ops --json`: torch_ops.py THREADS REPETITIONS

Each line of stdin is a list of that document's ops; it answers with one line, a list of {"op", "pass", "dtype", "how", "ns"}, after a
first line {"version"}, so that kernels.py can take turns with it without starting it anew. Where PyTorch has one operator for it, that is taken, else
what its users write; `how` says which. Backward is autograd's alone, from a graph that is kept; weights get fresh gradients where
ours add to those that are there. Of what has no counterpart there is no row."""

import json
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16}


def ids(shape, most):
    n = 1
    for d in shape:
        n *= d
    return (torch.arange(n) * 7919 % most).reshape(shape)


class Case:
    """Inputs by the names that mizan gives them, uniform in [-1,1)."""

    def __init__(self, row):
        self.shapes, self.dtype = row["shapes"], DTYPES[row["dtype"]]

    def real(self, name, dtype=None, grad=False):
        return torch.empty(self.shapes[name], dtype=dtype or self.dtype).uniform_(-1, 1).requires_grad_(grad)


# Each gives (how, forward, inputs that get a gradient, name of the output's gradient).
def matmul(c):
    a, b = c.real("a", grad=True), c.real("b", grad=True)
    return "linear", lambda: F.linear(a, b), (a, b), "dc"


def experts(c):
    """_grouped_mm, or a product after the other where that is missing or slower."""
    x, w = c.real("x", grad=True), c.real("w", grad=True)
    rows, n = x.shape[0], w.shape[0]
    size, ends = rows // n, (torch.arange(1, n + 1) * rows // n).to(torch.int32)
    ways = {"_grouped_mm": lambda: torch._grouped_mm(x, w.transpose(1, 2), offs=ends),
            "a linear for each": lambda: torch.cat([F.linear(x[e * size:(e + 1) * size], w[e]) for e in range(n)])}
    times = {}
    for how, run in ways.items():
        try:
            times[how] = min(clock(run, 2))
        except (RuntimeError, AttributeError):
            continue
    how = min(times, key=times.get)
    return how, ways[how], (x, w), "dy"


def rmsnorm(c):
    x, w = c.real("x", grad=True), c.real("w", c.dtype, grad=True)
    return "rms_norm", lambda: F.rms_norm(x, (x.shape[-1],), w, 1e-6), (x, w), "dy"


def rope(c):
    x, half = c.real("x", grad=True), c.shapes["x"][2] // 2
    at = ids(c.shapes["pos"], c.shapes["cos"][0])
    cos, sin = (torch.cat([c.real(n, torch.float32)] * 2, -1).to(c.dtype) for n in ("cos", "sin"))

    def run():
        turned = torch.cat((-x[..., half:], x[..., :half]), -1)
        return x * cos[at].unsqueeze(1) + turned * sin[at].unsqueeze(1)
    return "rotate_half", run, (x,), "dy"


def attention(c):
    texts = c.shapes["cu"][0] - 1
    q, k, v = (c.real(n, grad=True) for n in "qkv")
    cut = lambda x: x.reshape(texts, -1, x.shape[1], x.shape[2]).transpose(1, 2)
    return "scaled_dot_product_attention", lambda: F.scaled_dot_product_attention(
        cut(q), cut(k), cut(v), is_causal=True).transpose(1, 2).reshape(q.shape), (q, k, v), "dout"


def decode(c):
    texts, pages = c.shapes["table"]
    page, groups, width = c.shapes["k_cache"][1:]
    q = c.real("q")
    k, v = (c.real(n).reshape(texts, pages * page, groups, width).transpose(1, 2).contiguous() for n in ("k_cache", "v_cache"))
    return "scaled_dot_product_attention, no pages", lambda: F.scaled_dot_product_attention(
        q.unsqueeze(2), k, v, enable_gqa=True), (), None


def swiglu(c):
    gate, up = c.real("gate", grad=True), c.real("up", grad=True)
    return "silu, mul", lambda: F.silu(gate) * up, (gate, up), "dy"


def embed(c):
    w, at = c.real("w", grad=True), ids(c.shapes["ids"], c.shapes["w"][0])
    return "embedding", lambda: F.embedding(at, w), (w,), "dy"


def router(c):
    x, k = c.real("logits", grad=True), c.shapes["weights"][1]

    def run():
        best = torch.topk(torch.softmax(x, -1), k).values
        return best / best.sum(-1, keepdim=True)
    return "softmax, topk", run, (x,), "dweights"


def permute(c):
    x, at = c.real("x", grad=True), ids(c.shapes["ids"], c.shapes["offsets"][0] - 1)
    k = at.shape[1]
    return "argsort, index_select", lambda: x.index_select(0, at.flatten().argsort(stable=True) // k), (x,), "dy"


def unpermute(c):
    z, w, at = c.real("z", grad=True), c.real("weights", torch.float32, grad=True), ids(c.shapes["row_of"], c.shapes["z"][0])
    return "index_select, mul, sum", lambda: (z.index_select(0, at.flatten()).reshape(*at.shape, -1) * w.unsqueeze(-1)).sum(1).to(
        z.dtype), (z, w), "dy"


def xent(c):
    """Loss and gradient together, as ours gives them."""
    logits, targets = c.real("logits", grad=True), ids(c.shapes["targets"], c.shapes["logits"][1])
    weight = c.real("weight", torch.float32)
    return "cross_entropy and its backward", lambda: torch.autograd.grad(
        F.cross_entropy(logits, targets, reduction="none"), logits, weight.to(logits.dtype)), (), None


def adamw(c):
    p = torch.nn.Parameter(c.real("p"))
    p.grad = c.real("g")
    optim = torch.optim.AdamW([p], lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    return "AdamW(fused)", optim.step, (), None


def one(name, run):
    return lambda c: (name, (lambda x: lambda: run(x))(c.real("x")), (), None)


def elementwise(c):
    a, b, y = c.real("a"), c.real("b"), torch.empty(c.shapes["y"], dtype=c.dtype)
    return "add", lambda: torch.add(a, b, out=y), (), None


def rows(c):
    x, at = c.real("x"), ids(c.shapes["idx"], c.shapes["x"][0])
    return "index_select", lambda: x.index_select(0, at), (), None


def sample(c):
    x = c.real("logits")

    def run():
        best = torch.topk(x, 40)
        p = torch.softmax(best.values, -1)
        p = p * ((p.cumsum(-1) - p) < 0.9)
        return best.indices.gather(-1, torch.multinomial(p, 1))
    return "topk, softmax, cumsum, multinomial", run, (), None


CASES = {"matmul": matmul, "experts": experts, "rmsnorm": rmsnorm, "rope": rope, "attention": attention, "decode": decode,
         "swiglu": swiglu, "embed": embed, "router": router, "permute": permute, "unpermute": unpermute, "xent": xent, "adamw": adamw,
         "sumsq": one("pow, sum", lambda x: x.square().sum(dtype=torch.float32)),
         "finite": one("isfinite, all", lambda x: torch.isfinite(x).all()),
         "cast": one("to", lambda x: x.to(torch.bfloat16)), "elementwise": elementwise,
         "reduce": one("sum", lambda x: x.sum(1, dtype=torch.float32)), "rows": rows, "sample": sample}


LONG_NS = 2_000_000_000


def clock(run, times):
    """The first is not counted, unless it took so long that once is enough."""
    out = []
    for _ in range(times + 1):
        start = time.perf_counter_ns()
        run()
        out.append(time.perf_counter_ns() - start)
        if out[0] > LONG_NS:
            return out
    return out[1:]


def measure(row, times):
    how, forward, inputs, grad = CASES[row["op"]](Case(row))
    if row["pass"] == "forward":
        with torch.set_grad_enabled(row["op"] == "xent"):
            return how, clock(forward, times)
    if not inputs:
        return None
    y = forward()
    dy = torch.empty_like(y).uniform_(-1, 1)
    return how, clock(lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True), times)


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(1)
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        out = []
        for row in json.loads(line):
            found = measure(row, int(sys.argv[2])) if row["op"] in CASES else None
            if found:
                out.append({"op": row["op"], "pass": row["pass"], "dtype": row["dtype"], "how": found[0], "ns": found[1]})
        print(json.dumps(out), flush=True)


if __name__ == "__main__":
    main()
