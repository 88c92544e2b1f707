#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# devices: 4
"""torch.distributed with the backend hccl of Huawei's PyTorch adapter, on the emulated Ascend: two ranks and four, a device
each. Every collective in f32, bf16, f16 and integers, sizes of 1 and odd ones to beyond a MiB, against what the processor
makes of the same numbers; groups of some ranks, objects, point to point; DDP in several settings, FSDP and sharded
optimizers, whose losses and parameters are within 1e-5 of one process on the processor."""

import contextlib
import copy
import os
import socket
import subprocess
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
import torch_npu  # noqa: F401 - registers the device

SIZES = (1, 3, 1000, 270001)
TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int8)
OPS = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN, "product": dist.ReduceOp.PRODUCT}


def given(rank, size, dtype, salt=0):
    """What a rank brings, on the processor."""
    torch.manual_seed(1000 * salt + 10 * rank + size % 7)
    if dtype.is_floating_point:
        return torch.randn(size).to(dtype)
    return torch.randint(-9, 9, (size,)).to(dtype)


def folded(op, parts):
    """In the order of the ranks, floats in f32 and rounded once: to the bit what every rank gets."""
    wide = torch.float32 if parts[0].dtype.is_floating_point else parts[0].dtype
    total = parts[0].to(wide)
    for part in parts[1:]:
        part = part.to(wide)
        total = {"sum": torch.add, "max": torch.maximum, "min": torch.minimum, "product": torch.mul}[op](total, part)
    return total.to(parts[0].dtype)


class Checks:
    def __init__(self, rank):
        self.rank, self.done, self.bad = rank, 0, 0

    def same(self, what, got, want):
        self.done += 1
        if not torch.equal(got.cpu(), want):
            self.bad += 1
            print(f"rank {self.rank}: {what}: {got.cpu().flatten()[:4].tolist()}, want {want.flatten()[:4].tolist()}")

    def near(self, what, got, want, limit=1e-5):
        self.done += 1
        off = (got.detach().cpu().float() - want.detach().float()).abs().max().item() if got.numel() else 0.0
        if not off <= limit:
            self.bad += 1
            print(f"rank {self.rank}: {what}: off by {off:.2e}")

    def true(self, what, is_so):
        self.done += 1
        if not is_so:
            self.bad += 1
            print(f"rank {self.rank}: {what}")


# ---- collectives ----


def reductions(check, rank, n):
    for dtype in TYPES:
        for size in SIZES:
            parts = [given(r, size, dtype) for r in range(n)]
            for name, op in OPS.items():
                if name == "product" and dtype in (torch.bfloat16,):
                    continue  # HCCL has no such product
                x = parts[rank].npu()
                work = dist.all_reduce(x, op, async_op=size == 3)
                if work:
                    work.wait()
                check.same(f"all_reduce {name} {dtype} {size}", x, folded(name, parts))
            x = parts[rank].npu()
            dist.reduce(x, n - 1, OPS["sum"])
            if rank == n - 1:
                check.same(f"reduce {dtype} {size}", x, folded("sum", parts))
            whole = [given(r, n * size, dtype) for r in range(n)]
            out = torch.empty(size, dtype=dtype, device="npu")
            dist.reduce_scatter_tensor(out, whole[rank].npu())
            check.same(f"reduce_scatter_tensor {dtype} {size}", out, folded("sum", [w.chunk(n)[rank] for w in whole]))
            dist.reduce_scatter(out, [p.contiguous().npu() for p in whole[rank].chunk(n)])
            check.same(f"reduce_scatter {dtype} {size}", out, folded("sum", [w.chunk(n)[rank] for w in whole]))
    x = given(rank, 64, torch.float32).npu()
    dist.all_reduce(x, dist.ReduceOp.AVG)
    check.near("all_reduce average", x, folded("sum", [given(r, 64, torch.float32) for r in range(n)]) / n, 1e-6)


def copies(check, rank, n):
    for dtype in TYPES + (torch.uint8, torch.bool):
        for size in SIZES:
            kind = torch.int32 if dtype in (torch.uint8, torch.bool) else dtype
            parts = [given(r, size, kind).to(dtype) for r in range(n)]
            out = [torch.zeros(size, dtype=dtype, device="npu") for _ in range(n)]
            dist.all_gather(out, parts[rank].npu())
            for r in range(n):
                check.same(f"all_gather {dtype} {size}", out[r], parts[r])
            flat = torch.zeros(n * size, dtype=dtype, device="npu")
            work = dist.all_gather_into_tensor(flat, parts[rank].npu(), async_op=True)
            work.wait()
            check.same(f"all_gather_into_tensor {dtype} {size}", flat, torch.cat(parts))
            x = parts[rank].npu()
            dist.broadcast(x, n - 1)
            check.same(f"broadcast {dtype} {size}", x, parts[n - 1])
            x = torch.zeros(size, dtype=dtype, device="npu")
            dist.scatter(x, [p.npu() for p in parts] if rank == 0 else None, src=0)
            check.same(f"scatter {dtype} {size}", x, parts[rank])
            whole = [given(r, n * size, kind).to(dtype) for r in range(n)]
            x = torch.zeros(n * size, dtype=dtype, device="npu")
            dist.all_to_all_single(x, whole[rank].npu())
            check.same(f"all_to_all_single {dtype} {size}", x, torch.cat([w.chunk(n)[rank] for w in whole]))


def uneven(check, rank, n):
    """Rank r sends r + k + 1 numbers to rank k."""
    row = [given(rank, rank + k + 1, torch.float32, k) for k in range(n)]
    out = [torch.zeros(r + rank + 1, device="npu") for r in range(n)]
    dist.all_to_all(out, [p.npu() for p in row])
    for r in range(n):
        check.same("all_to_all", out[r], given(r, r + rank + 1, torch.float32, rank))
    sizes = [r + rank + 1 for r in range(n)]
    x = torch.zeros(sum(sizes), device="npu")
    dist.all_to_all_single(x, torch.cat(row).npu(), sizes, [len(p) for p in row])
    check.same("all_to_all_single uneven", x, torch.cat([given(r, r + rank + 1, torch.float32, rank) for r in range(n)]))
    lists = [torch.zeros(r + 1, device="npu") for r in range(n)]
    dist.all_gather(lists, given(rank, rank + 1, torch.float32).npu())
    for r in range(n):
        check.same("all_gather uneven", lists[r], given(r, r + 1, torch.float32))


def point_to_point(check, rank, n):
    for dtype in (torch.float32, torch.bfloat16, torch.int64):
        for size in SIZES:
            after, before = (rank + 1) % n, (rank - 1) % n
            mine, x = given(rank, size, dtype).npu(), torch.zeros(size, dtype=dtype, device="npu")
            if rank % 2 == 0:
                dist.send(mine, after)
                dist.recv(x, before)
            else:
                dist.recv(x, before)
                dist.send(mine, after)
            check.same(f"send, recv {dtype} {size}", x, given(before, size, dtype))
            x = torch.zeros(size, dtype=dtype, device="npu")
            work = dist.batch_isend_irecv([dist.P2POp(dist.isend, mine, after), dist.P2POp(dist.irecv, x, before)])
            for one in work:
                one.wait()
            check.same(f"batch_isend_irecv {dtype} {size}", x, given(before, size, dtype))


def groups_and_objects(check, rank, n):
    halves = [dist.new_group(list(range(0, n, 2))), dist.new_group(list(range(1, n, 2)))]
    x = torch.full((5,), float(rank + 1), device="npu")
    dist.all_reduce(x, group=halves[rank % 2])
    check.same("group of every other rank", x, torch.full((5,), float(sum(range(rank % 2 + 1, n + 1, 2)))))
    objects = [None] * n
    dist.all_gather_object(objects, {"rank": rank, "text": "x" * (100 * rank)})
    check.true("all_gather_object", [o["rank"] for o in objects] == list(range(n)) and len(objects[-1]["text"]) == 100 * (n - 1))
    box = [{"from": rank}, "word"] if rank == 1 else [None, None]
    dist.broadcast_object_list(box, src=1)
    check.true("broadcast_object_list", box == [{"from": 1}, "word"])
    with contextlib.suppress(AttributeError):
        total = torch.distributed.nn.functional.all_reduce(torch.ones(3, device="npu", requires_grad=True))
        check.same("functional all_reduce", total.detach(), torch.full((3,), float(n)))
    dist.barrier()


def several_at_once(check, rank, n):
    """Coalesced calls, functional ones, and a large one on a stream of its own."""
    from torch.distributed import _functional_collectives as functional
    from torch.distributed.distributed_c10d import _coalescing_manager

    total = torch.full((4,), float(sum(range(n))))
    some = [torch.full((4,), float(rank), device="npu") for _ in range(3)]
    with _coalescing_manager(device=torch.device("npu", rank)):
        for x in some:
            dist.all_reduce(x)
    for x in some:
        check.same("coalesced all_reduce", x, total)
    got = functional.all_gather_tensor(torch.full((2,), float(rank), device="npu"), 0, dist.group.WORLD)
    check.same("functional all_gather", got + 0, torch.arange(n).float().repeat_interleave(2))
    out = [torch.zeros(3, device="npu") for _ in range(n)] if rank == 0 else None
    dist.gather(torch.full((3,), float(rank), device="npu"), out, dst=0)
    for r, x in enumerate(out or []):
        check.same("gather", x, torch.full((3,), float(r)))
    stream, x = torch.npu.Stream(), torch.ones(2000003, device="npu")
    stream.wait_stream(torch.npu.current_stream())
    with torch.npu.stream(stream):
        dist.all_reduce(x, async_op=True).wait()
        x = x * 2
    torch.npu.current_stream().wait_stream(stream)
    check.same("all_reduce of 8 MB on another stream", x, torch.full((2000003,), 2.0 * n))


def meshes(check, rank, n):
    """DTensor, tensor parallel and the newer FSDP, over a mesh of devices."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("npu", (n // 2, 2), mesh_dim_names=("data", "tensor"))["tensor"]
    torch.manual_seed(3)
    whole, x = torch.randn(8, 6), torch.randn(5 * n, 8)
    parts = distribute_tensor(whole.npu(), mesh, [Shard(0)])
    check.same("DTensor, whole", parts.full_tensor(), whole)
    check.same("DTensor, replicated", parts.redistribute(mesh, [Replicate()]).to_local(), whole)
    plain = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    net = parallelize_module(copy.deepcopy(plain).npu(), mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    check.near("tensor parallel", net(x.npu()), plain(x))
    net = copy.deepcopy(plain).npu()
    for part in (net[0], net):
        fully_shard(part)
    ours, theirs = sgd(net.parameters()), sgd(plain.parameters())
    for _ in range(3):
        ours.zero_grad()
        theirs.zero_grad()
        net(x[5 * rank : 5 * rank + 5].npu()).pow(2).mean().backward()
        plain(x).pow(2).mean().backward()
        ours.step()
        theirs.step()
    for (name, p), q in zip(net.named_parameters(), plain.parameters()):
        check.near(f"fully_shard: {name}", p.full_tensor(), q)


# ---- training ----

STEPS, BATCH, WIDE = 4, 8, 24


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm = torch.nn.Embedding(32, WIDE), torch.nn.Parameter(torch.ones(WIDE))
        self.up, self.down = torch.nn.Linear(WIDE, 3 * WIDE), torch.nn.Linear(3 * WIDE, WIDE, bias=False)
        self.head = torch.nn.Linear(WIDE, 32)

    def forward(self, ids):
        x = self.embed(ids)
        h = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.norm
        return self.head(x + self.down(F.silu(self.up(h))))


def batch(step):
    torch.manual_seed(step)
    ids = torch.randint(0, 32, (BATCH, 6))
    return ids[:, :-1], ids[:, 1:]


def model():
    torch.manual_seed(7)
    return Small()


def loss_of(net, ids, targets):
    return F.cross_entropy(net(ids).float().reshape(-1, 32), targets.reshape(-1))


def alone(make_optimizer, halves=1):
    """The whole batch in one process on the processor: losses, parameters."""
    net = model()
    optimizer, losses = make_optimizer(net.parameters()), []
    for step in range(STEPS):
        optimizer.zero_grad()
        ids, targets = batch(step)
        loss = loss_of(net, ids, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, dict(net.named_parameters())


def together(net, optimizer, rank, n, accumulate=False):
    losses, each = [], BATCH // n
    for step in range(STEPS):
        optimizer.zero_grad()
        ids, targets = (t[rank * each : (rank + 1) * each].npu() for t in batch(step))
        total = torch.zeros((), device="npu")
        parts = 2 if accumulate else 1
        for i in range(parts):
            quiet = net.no_sync() if accumulate and i + 1 < parts else contextlib.nullcontext()
            with quiet:
                loss = loss_of(net, ids.chunk(parts)[i], targets.chunk(parts)[i]) / parts
                loss.backward()
            total += loss.detach()
        optimizer.step()
        dist.all_reduce(total)
        losses.append(total.item() / n)
    return losses


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.3, momentum=0.9)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.01)


def compare(check, what, want, losses, parameters):
    check.near(f"{what}: losses", torch.tensor(losses), torch.tensor(want[0]))
    for name, p in parameters.items():
        check.near(f"{what}: {name}", p, want[1][name])


def trainings(check, rank, n):
    ddp, device = torch.nn.parallel.DistributedDataParallel, [rank]
    plain, by_adamw = alone(sgd), alone(adamw)
    settings = {"DDP": {}, "DDP of small buckets": {"bucket_cap_mb": 0.001}, "DDP with views": {"gradient_as_bucket_view": True},
                "DDP, static": {"static_graph": True}, "DDP, unused": {"find_unused_parameters": True}}  # fmt: skip
    for what, words in settings.items():
        net = ddp(model().npu(), device_ids=device, **words)
        compare(check, what, plain, together(net, sgd(net.parameters()), rank, n), dict(net.module.named_parameters()))
    net = ddp(model().npu(), device_ids=device)
    compare(check, "DDP, AdamW", by_adamw, together(net, adamw(net.parameters()), rank, n), dict(net.module.named_parameters()))
    net = ddp(model().npu(), device_ids=device)
    losses = together(net, sgd(net.parameters()), rank, n, accumulate=True)
    compare(check, "DDP, no_sync", plain, losses, dict(net.module.named_parameters()))
    sharded(check, rank, n, by_adamw)
    bf16 = ddp(copy.deepcopy(model()).bfloat16().npu(), device_ids=device)
    losses = together(bf16, sgd(bf16.parameters()), rank, n)
    check.near("DDP in bf16: losses", torch.tensor(losses), torch.tensor(plain[0]), 0.05)


def sharded(check, rank, n, by_adamw):
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.optim import ZeroRedundancyOptimizer

    net = torch.nn.parallel.DistributedDataParallel(model().npu(), device_ids=[rank])
    optimizer = ZeroRedundancyOptimizer(net.parameters(), torch.optim.AdamW, lr=0.01)
    compare(check, "ZeroRedundancyOptimizer", by_adamw, together(net, optimizer, rank, n), dict(net.module.named_parameters()))
    net = FullyShardedDataParallel(model().npu(), device_id=rank, use_orig_params=True)
    losses = together(net, adamw(net.parameters()), rank, n)
    with FullyShardedDataParallel.summon_full_params(net):
        compare(check, "FSDP", by_adamw, losses, {k.replace("_fsdp_wrapped_module.", ""): v for k, v in net.named_parameters()})


# ---- starting ----

PARTS = (reductions, copies, uneven, point_to_point, groups_and_objects, several_at_once, meshes, trainings)


def work(rank, n, results=None):
    torch.npu.set_device(rank)
    dist.init_process_group("hccl", rank=rank, world_size=n)
    check = Checks(rank)
    for part in PARTS:
        part(check, rank, n)
    sums = torch.tensor([check.done, check.bad], device="npu")
    dist.all_reduce(sums)
    if results is not None:
        results[rank] = check.bad
    if rank == 0:
        done, bad = sums.tolist()
        print(f"distributed: {n} ranks, {done} comparisons, {bad} TOO FAR" if bad else f"distributed: {n} ranks, {done} comparisons ok", flush=True)  # fmt: skip
    dist.destroy_process_group()
    return check.bad


def spawned(rank, n, port, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    work(rank, n, results)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main():
    if "RANK" in os.environ:  # by torchrun
        return 1 if work(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) else 0
    bad = 0
    for n in (2, 4):
        with mp.Manager() as manager:
            results = manager.dict()
            mp.spawn(spawned, args=(n, free_port(), results), nprocs=n)
            bad += sum(results.values()) + (len(results) != n)
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port()), __file__]
    bad += subprocess.run(run, check=False).returncode != 0
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
