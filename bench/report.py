# SPDX-License-Identifier: Apache-2.0
"""From what bench/run left in a folder (peers.csv of measure.py, gemm.json and bandwidth.json of `mizan bench`, threads.csv,
sequence.* and positions.* of scaling.py and positions.py) to tables, an SVG roofline and docs/performance.md.

  report.py FOLDER [--page docs/performance.md --plots docs/plots]"""

import argparse
import csv
import datetime
import json
import pathlib
import shutil
import statistics

NOTES = pathlib.Path(__file__).resolve().parent / "notes.md"


def rates(path):
    """{(part, what): {(who, setting): [tokens/s, one a round]}}, the largest peak in bytes of each, the middle share of the
    speed of memory of each that has one, and the operations a token of each that has them."""
    out, peaks, shares, flops = {}, {}, {}, {}
    with open(path, encoding="utf-8") as file:
        rounds = {}
        for row in csv.DictReader(file):
            key = row["part"], row["what"], row["who"], row["setting"]
            rounds.setdefault(key, {}).setdefault(row["round"], []).append((int(row["tokens"]), int(row["ns"])))
            peaks[key] = max(peaks.get(key, 0), int(row["peak_bytes"] or 0))
            if row.get("read_share"):
                shares.setdefault(key, []).append(float(row["read_share"]))
            if row.get("flop"):
                flops[key] = int(row["flop"]) / int(row["tokens"])
    for (part, what, who, setting), turns in rounds.items():
        speed = [sum(t for t, _ in turn) / sum(ns for _, ns in turn) * 1e9 for turn in turns.values()]
        out.setdefault((part, what), {})[who, setting] = speed
    return out, peaks, {key: statistics.median(all_of) for key, all_of in shares.items()}, flops


def spread(values):
    return f"{(max(values) - min(values)) / statistics.median(values) * 50:.0f} %"


def table(found, peaks, shares, flops, gemm):
    """Rows of text: our best setting, the peer's, and the median of the ratios of each round."""
    lines = [["what", "tokens/s", "±", "peer", "tokens/s", "±", "ratio", "memory", "of the read speed", "of big products"]]
    for (part, what), who in found.items():
        own = {k[1]: v for k, v in who.items() if k[0] == "mizan"}
        setting, ours = max(own.items(), key=lambda k: statistics.median(k[1]))
        line = [what if len(own) == 1 else f"{what} ({setting})", f"{statistics.median(ours):.0f}", spread(ours)]
        peers = {k: v for k, v in who.items() if k[0] != "mizan"}
        if peers:
            best = max(peers, key=lambda k: statistics.median(peers[k]))
            pairs = [a / b for a, b in zip(ours, peers[best])]
            mine, theirs = peaks[part, what, "mizan", setting], peaks[(part, what, *best)]
            line += [" ".join(best), f"{statistics.median(peers[best]):.0f}", spread(peers[best]),
                     f"{statistics.median(pairs):.2f}", f"{mine / theirs:.2f}" if mine and theirs else ""]
        share, flop = shares.get((part, what, "mizan", setting)), flops.get((part, what, "mizan", setting))
        lines.append(line + [""] * (8 - len(line)) + [f"{100 * share:.0f} %" if share else "",
                                                        f"{100 * flop * statistics.median(ours) / gemm:.0f} %" if flop else ""])
    return lines


def against_best(found):
    """Prefill of every type beside the type that the peer is fastest with."""
    lines = [["prefill", "tokens/s", "the peer's best", "tokens/s", "ratio"]]
    rows = {}
    for (part, what), who in found.items():
        words = what.split()
        if part == "text" and words[0] == "prefill":
            for (name, setting), speed in who.items():
                rows.setdefault((words[1], name), []).append((statistics.median(speed), setting, words[2]))
    for (positions, name), own in rows.items():
        if name == "mizan" and (positions, "llama.cpp") in rows:
            theirs, type_of, _ = max(rows[positions, "llama.cpp"])
            for kind in sorted({k for _, _, k in own}):
                ours, setting, _ = max(row for row in own if row[2] == kind)
                lines.append([f"{positions} tokens, {setting}", f"{ours:.0f}", f"llama.cpp {type_of}", f"{theirs:.0f}", f"{ours / theirs:.2f}"])
    return lines


def as_text(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) if i in (0, 3) else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
                     for line in lines)


def as_markdown(lines):
    head = ["|" + "|".join(f" {cell} " for cell in lines[0]) + "|", "|" + "---|" * len(lines[0])]
    return "\n".join(head + ["|" + "|".join(f" {cell} " for cell in line) + "|" for line in lines[1:]])


def gemms(chip):
    """Of each product: name, flop a byte that has to move, GFLOP/s of the median, dtype."""
    out = []
    for g in chip["gemm"]:
        m, n, k, size = g["m"], g["n"], g["k"], 4 if g["dtype"] == "F32" else 2
        ns = statistics.median(g["ns"])
        out.append((f"{m} x {n} x {k}", 2 * m * n * k / ((m * k + k * n + m * n) * size), 2 * m * n * k / ns, g["dtype"]))
    return out


def roofline(chip, points):
    """Both axes logarithmic; a line for what memory gives, one for the best product of each dtype."""
    import math
    left, top, width, height = 60, 20, 560, 340
    bandwidth = chip["bandwidth"]["bytes"] / min(chip["bandwidth"]["read_ns"])
    peaks = {d: max(p[2] for p in points if p[3] == d) for d in {p[3] for p in points}}
    x_of = lambda x: left + width * (math.log10(x) + 1) / 4.5
    y_of = lambda y: top + height * (1 - math.log10(max(y, 1)) / 3.5)
    colour = {"F32": "#2563eb", "BF16": "#dc2626"}
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 20} {top + height + 50}" font-family="sans-serif" font-size="12">',
           f'<rect width="100%" height="100%" fill="#fff"/><rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>']
    for e in range(-1, 4):
        out.append(f'<text x="{x_of(10.0 ** e):.0f}" y="{top + height + 16}" text-anchor="middle">{10.0 ** e:g}</text>')
    for e in range(0, 4):
        out.append(f'<text x="{left - 6}" y="{y_of(10.0 ** e) + 4:.0f}" text-anchor="end">{10 ** e}</text>')
    for dtype, peak in sorted(peaks.items()):
        ridge = peak / bandwidth
        out.append(f'<polyline fill="none" stroke="{colour[dtype]}" points="{x_of(0.1):.1f},{y_of(max(0.1 * bandwidth, 1)):.1f} '
                   f'{x_of(ridge):.1f},{y_of(peak):.1f} {x_of(3000):.1f},{y_of(peak):.1f}"/>')
        out.append(f'<text x="{left + width - 4}" y="{y_of(peak) - 5:.1f}" text-anchor="end" fill="{colour[dtype]}">{dtype} {peak:.0f} GFLOP/s</text>')
    for name, x, y, dtype in points:
        out.append(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="4" fill="{colour[dtype]}"><title>{name} {dtype}: {y:.0f} GFLOP/s</title></circle>')
    out += [f'<text x="{left + width / 2}" y="{top + height + 38}" text-anchor="middle">flop a byte (read {bandwidth:.1f} GB/s)</text>',
            f'<text x="14" y="{top + height / 2}" text-anchor="middle" transform="rotate(-90 14 {top + height / 2})">GFLOP/s</text>', "</svg>"]
    return "\n".join(out) + "\n"


def grown(folder):
    """What scaling.py found: more threads, longer samples, and the law beside each length."""
    lines = [["what", "figure"]]
    for what, times in list(csv.reader(open(folder / "threads.csv", encoding="utf-8")))[1:] if (folder / "threads.csv").exists() else []:
        lines.append([what, f"{float(times):.2f} times as fast"])
    for name, what in {"sequence": "training of llama 7.3M, samples of {} positions", "positions": "decoding behind {} positions"}.items():
        path = folder / f"{name}.csv"
        for n, ns, law in list(csv.reader(open(path, encoding="utf-8")))[1:] if path.exists() else []:
            lines.append([what.format(n), f"{1e9 / float(ns):.0f} tokens/s (the law: {1e9 / float(law):.0f})"])
    return lines


def products(path):
    """Of products.csv: a line a shape and pass; a ratio is the median of the rounds' ratios of medians, the peer's time to ours."""
    lines = [["product", "of", "pass", "dtype", "GFLOP/s", "PyTorch's", "ratio", "how"]]
    found, how = {}, {}
    for row in csv.DictReader(open(path, encoding="utf-8")) if path.exists() else []:
        key = row["shape"], row["kind"], row["pass"], row["dtype"]
        found.setdefault(key, {}).setdefault(row["who"], {}).setdefault(row["round"], []).append(int(row["ns"]))
        how[key] = row["how"] if row["who"] == "pytorch" else how.get(key, "")
    for key, who in found.items():
        m, n, k = (int(x) for x in key[0].split(" / ")[0].split(" x "))
        flop = 2 * m * n * k * (2 if key[2] == "backward" else 1)
        ns = {name: [statistics.median(turn) for turn in rounds.values()] for name, rounds in who.items()}
        speed = {name: f"{flop / statistics.median(all_of):.0f}" for name, all_of in ns.items()}
        ratio = statistics.median(a / b for a, b in zip(ns["pytorch"], ns["mizan"])) if "pytorch" in ns else 0
        lines.append([*key, speed["mizan"], speed.get("pytorch", ""), f"{ratio:.2f}" if ratio else "", how[key]])
    return lines


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("folder", type=pathlib.Path)
    read.add_argument("--page", type=pathlib.Path)
    read.add_argument("--plots", type=pathlib.Path)
    options = read.parse_args()
    found, peaks, shares, flops = rates(options.folder / "peers.csv")
    chip = json.loads((options.folder / "gemm.json").read_text(encoding="utf-8"))
    chip["bandwidth"] = json.loads((options.folder / "bandwidth.json").read_text(encoding="utf-8"))
    points, against = gemms(chip), against_best(found)
    big = max(y for name, _, y, dtype in points if dtype == "BF16" and name.split(" x ")[0] in ("1024", "2048", "4096")) * 1e9
    lines = table(found, peaks, shares, flops, big)
    best = {d: max(p[2] for p in points if p[3] == d) for d in {p[3] for p in points}}
    alone = [["product", "dtype", "GFLOP/s", "share of the best"]]
    alone += [[name, dtype, f"{y:.0f}", f"{100 * y / best[dtype]:.0f} %"] for name, _, y, dtype in points]
    tables = [t for t in [lines, against, grown(options.folder)] if t[1:]]
    beside = products(options.folder / "products.csv")
    print("\n\n".join(as_text(t) for t in [*tables, alone, *([beside] if beside[1:] else [])]))
    pictures = "![roofline](plots/roofline.svg)\n\n"
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        (options.plots / "roofline.svg").write_text(roofline(chip, points), encoding="utf-8")
        for name in ["sequence", "positions"]:
            if (options.folder / f"{name}.svg").exists():
                shutil.copy(options.folder / f"{name}.svg", options.plots)
                pictures += f"![{name}](plots/{name}.svg)\n\n"
    compared = ("## Products beside PyTorch's\n\n`bench/products.py`: the shapes of the four networks, large squares, few rows, and products by experts "
                "(rows x outputs x inputs / experts). Backward is both products. A ratio above 1: ours is faster.\n\n"
                f"{as_markdown(beside)}\n\n") if beside[1:] else ""
    if options.page:
        options.page.write_text(
            f"# How fast\n\n`make bench` wrote this page on {datetime.date.today()}: {chip['model']}, {chip['isa']}, {chip['threads']} threads. "
            "Both sides have the same threads and take turns; a figure is the median of the rounds, ± half of their range, "
            "the ratio the median of the rounds' ratios, ours to the peer's. Memory is our most to the peer's. A share of the read speed "
            "counts the weights' bytes once a token, beside reading memory and doing nothing else; a share of big products counts a "
            "training's operations, attention included, beside the fastest bf16 product of 1,024 rows or more.\n\n"
            + "\n\n".join(as_markdown(t) for t in tables)
            + f"\n\n{pictures}{as_markdown(alone)}\n\n{compared}{NOTES.read_text(encoding='utf-8')}", encoding="utf-8")


if __name__ == "__main__":
    main()
