#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/text/unicode_classes.c and src/text/unicode_nfc.c, or compares with the tokenizers library.

    tools/make_unicode.py            write the tables (wants unicodedata2 16.0.0)
    tools/make_unicode.py --check    ask the tokenizers library about every code point (minutes)

The tokenizers library follows three editions of Unicode at once, and ids are only equal if we follow
it: its regular expressions 16.0, its Digits splitter 17.0, its NFC normaliser 9.0. Classes of a
code point may change between editions, normalisation of an assigned one never does, so 9.0 is 16.0
without the marks and compositions that came later (LATER).
"""

import os
import subprocess
import sys

import unicodedata2 as ucd

TEXT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src", "text")
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
MAJORS = {"L": 1, "M": 2, "N": 4, "P": 8, "S": 16}
SPACE, MARK, RECOMPOSE = 32, 64, 128
# Numbers of Unicode 17.0 that 16.0 does not have.
DIGITS_LATER = [(0x11DE0, 0x11DE9), (0x16FF4, 0x16FF6)]
# White_Space, which no release of unicodedata names.
SPACES = set(range(9, 14)) | {0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
SPACES |= set(range(0x2000, 0x200B))
# What has a combining class or a decomposition and came after Unicode 9.0.
LATER = """07fd 0897-089f 08ca-08d3 09fe 0c3c 0d3b-0d3c 0eba 1715 1abf-1ace 1df6-1dfa a82c
10d24-10d27 10d69-10d6d 10eab-10eac 10efd-10eff 10f46-10f50 10f82-10f85 11070 1133b 113ce-113d0
113e1-113e2 1145e 11839-1183a 1193d-1193e 11943 119e0 11a34 11a47 11a99 11d42 11d44-11d45 11d97
11f41-11f42 1612f 16ff0-16ff1 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef
105c9 105e4 11383 11385 1138e 11391 113c5 113c7-113c8 11938 16121-16128 16d68-16d6a"""


def later():
    points = set()
    for word in LATER.split():
        first, _, last = word.partition("-")
        points |= set(range(int(first, 16), int(last or first, 16) + 1))
    return points


def combining():
    late = later()
    return {c: ucd.combining(chr(c)) for c in POINTS if ucd.combining(chr(c)) and c not in late}


def decompositions():
    """{code point: (first, second or 0, whether NFC composes it)}; Hangul is arithmetic."""
    late, found = later(), {}
    for c in POINTS:
        text = ucd.decomposition(chr(c))
        if not text or text.startswith("<") or c in late:
            continue
        parts = [int(x, 16) for x in text.split()]
        composes = len(parts) == 2 and ucd.normalize("NFC", chr(c)) == chr(c)
        found[c] = (parts[0], parts[1] if len(parts) == 2 else 0, composes)
    return found


def classes():
    marks, pairs = combining(), decompositions()
    seconds = {second for _, second, composes in pairs.values() if composes}
    seconds |= set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    excluded = {c for c, (_, _, composes) in pairs.items() if not composes}
    out = [0] * 0x110000
    for c in POINTS:
        bits = MAJORS.get(ucd.category(chr(c))[0], 0)
        bits |= SPACE if c in SPACES else 0
        bits |= MARK if c in marks else 0
        bits |= RECOMPOSE if c in seconds or c in excluded else 0
        out[c] = bits
    return out


def runs(values):
    """Where a value begins that differs from the one before: (code point, value)."""
    out = []
    for c, value in enumerate(values):
        if (out[-1][1] if out else 0) != value:
            out.append((c, value))
    return out


def array(name, numbers):
    rows, row = [], "   "
    for number in numbers:
        word = f" 0x{number:x},"
        if len(row) + len(word) > 100:
            rows.append(row)
            row = "   "
        row += word
    return f"const uint32_t {name}[] = {{\n" + "\n".join(rows + [row]) + "\n};\n" + \
        f"const int {name}_count = MZ_COUNT({name});\n"


HEAD = """/* SPDX-License-Identifier: Apache-2.0 */
/* text/{name}.c - {what}
 * Written by tools/make_unicode.py; not by hand. Floor: text. */
#include "text/unicode.h"

"""


def write(name, what, arrays):
    path = os.path.join(TEXT, name + ".c")
    with open(path, "w", encoding="ascii") as f:
        f.write(HEAD.format(name=name, what=what) + "\n".join(array(*a) for a in arrays))
    subprocess.run(["clang-format", "-i", path], check=True)


def write_all():
    write("unicode_classes", "what kind of character each code point is (Unicode 16.0).", [
        ("mz_unicode_runs", [c << 8 | bits for c, bits in runs(classes())]),
        ("mz_unicode_digits_later", [x for pair in DIGITS_LATER for x in pair])])
    marks = combining()
    pairs, rows = [], []
    for row, (c, (first, second, composes)) in enumerate(sorted(decompositions().items())):
        pairs += [c | (0 if composes else 1 << 31), first, second]
        rows += [(first, second, row)] if composes else []
    write("unicode_nfc", "canonical composition (Unicode 9.0).", [
        ("mz_unicode_marks", [c << 8 | m for c, m in
                              runs([marks.get(c, 0) for c in range(0x110000)])]),
        ("mz_unicode_pairs", pairs),
        ("mz_unicode_composing", [row for _, _, row in sorted(rows)])])


# ---- the comparison ----


def removed_by(pre, text):
    left = set()
    for piece, _ in pre.pre_tokenize_str(text):
        left |= set(map(ord, piece))
    return set(map(ord, text)) - left


def check_classes():
    from tokenizers import Regex, pre_tokenizers
    ours, text, wrong = classes(), "".join(map(chr, POINTS)), 0
    for pattern, bit in [(rf"\p{{{m}}}", b) for m, b in MAJORS.items()] + [(r"\s", SPACE)]:
        theirs = removed_by(pre_tokenizers.Split(Regex(pattern), "removed"), text)
        differ = theirs ^ {c for c in POINTS if ours[c] & bit}
        print(f"{pattern}: {len(theirs)} code points, {len(differ)} differ", [hex(c) for c in sorted(differ)][:8])
        wrong += len(differ)
    late = {c for first, last in DIGITS_LATER for c in range(first, last + 1)}
    splitter, differ = pre_tokenizers.Digits(True), []
    for c in POINTS:
        numeric = len(splitter.pre_tokenize_str("a" + chr(c))) == 2
        if numeric != bool(ours[c] & MAJORS["N"] or c in late):
            differ.append(hex(c))
    print(f"Digits: {len(differ)} differ", differ[:8])
    return wrong + len(differ)


def reorder(points, marks):
    """Canonical order: marks sorted by class between the starters."""
    out, held = [], []
    for c in points:
        if marks.get(c):
            held.append(c)
            continue
        out += sorted(held, key=marks.get) + [c]
        held = []
    return out + sorted(held, key=marks.get)


def check_nfc():
    from tokenizers import normalizers
    nfc, nfd, marks, pairs, wrong = normalizers.NFC(), normalizers.NFD(), combining(), decompositions(), []

    def decomposed(c):
        if 0xAC00 <= c < 0xAC00 + 11172:
            return list(map(ord, ucd.normalize("NFD", chr(c))))
        first, second, _ = pairs.get(c, (c, 0, False))
        return (decomposed(first) if first != c else [c]) + ([second] if second else [])

    for c in POINTS:
        want = reorder(decomposed(c), marks)
        good = list(map(ord, nfd.normalize_str(chr(c)))) == want
        for other in (0x0334, 0x0345):  # classes 1 and 240: what sorts against both has its own class
            good &= list(map(ord, nfd.normalize_str("q" + chr(other) + chr(c)))) == \
                reorder([ord("q"), other] + decomposed(c), marks)
            good &= list(map(ord, nfd.normalize_str("q" + chr(c) + chr(other)))) == \
                reorder([ord("q")] + decomposed(c) + [other], marks)
        if c in pairs and pairs[c][1]:
            joined = nfc.normalize_str(chr(pairs[c][0]) + chr(pairs[c][1]))
            good &= (joined == chr(c)) == pairs[c][2]
        if not good:
            wrong.append(hex(c))
    print(f"normalisation: {len(wrong)} code points differ", wrong[:8])
    return len(wrong)


def main():
    if ucd.unidata_version != "16.0.0":
        sys.exit(f"unicodedata2 {ucd.unidata_version}, want 16.0.0")
    if "--check" in sys.argv[1:]:
        import tokenizers
        print("tokenizers", tokenizers.__version__)
        sys.exit(1 if check_classes() + check_nfc() else 0)
    write_all()


if __name__ == "__main__":
    main()
