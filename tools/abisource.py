# SPDX-License-Identifier: Apache-2.0
"""What the backend and the emulated driver declare of the vendor's interface, read from the preprocessed sources.

Only the standard library and a C compiler. A signature is written without the names of parameters and without what does not
change a function's type: `aclError (void**, size_t, aclrtMemMallocPolicy)`."""

import os
import re
import subprocess

# folder of what is included from, files, mark of a declaration
SIDES = {
    "emu": ("emu", ("emu/ascend/*.h", "emu/ascend/*.c"), "EMU_API"),
    "backend": ("src", ("src/chips/ascend/acl.h", "src/chips/ascend/aclnn.h", "src/chips/ascend/hccl.h"), None),
}
EXPORTED = re.compile(r'__attribute__\s*\(\(visibility\("default"\)\)\)(\s*__attribute__\s*\(\(used\)\))?')
FUNCTION = re.compile(r"^([\w\s\*]+?[\s\*])((?:acl|Hccl|Msprof|rt)\w+)\s*\((.*)\)$", re.S)
NOT_TYPES = {"const", "unsigned", "signed"}


INTERFACE = ("acl.h", "aclnn.h", "hccl.h")


def preprocess(root, include, path, compiler):
    """What the file itself and the headers of the interface say."""
    command = [*compiler, "-E", "-std=c11", "-D_GNU_SOURCE", f"-I{os.path.join(root, include)}", os.path.join(root, path)]
    done = subprocess.run(command, capture_output=True, text=True)
    kept, is_ours = [], False
    for line in done.stdout.splitlines():
        mark = re.match(r'# \d+ "([^"]*)"', line)
        if mark:
            is_ours = mark[1].startswith(os.path.join(root, include) + os.sep) and (
                mark[1] == command[-1] or os.path.basename(mark[1]) in INTERFACE)  # fmt: skip
        elif is_ours:
            kept.append(line)
    if done.returncode != 0 and "emu_chips.h" not in done.stderr:
        raise SystemExit(f"{path}: {done.stderr}")
    return "\n".join(kept)


def canonical(text, has_name, tags=("struct", "union", "enum")):
    """`const aclTensor *const *list` -> `const aclTensor*const*`; a value's own const is dropped, and tags."""
    words = [w for w in re.findall(r"\w+|\*", text.replace("[]", "*")) if w not in tags]
    if has_name and len([w for w in words if w not in NOT_TYPES and w != "*"]) > 1 and words[-1] not in ("*", "const"):
        words.pop()
    if "*" not in words:
        words = [w for w in words if w != "const"]
    joined = " ".join(words)
    return re.sub(r"\s*\*\s*", "*", joined)


def split(parameters):
    return [p.strip() for p in parameters.replace("\n", " ").split(",")] if parameters.strip() else []


def statements(text):
    """At the top level, without bodies of functions."""
    text = re.sub(r"^#.*$", "", text, flags=re.M)
    depth, start, found = 0, 0, []
    for i, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if c == ";" and depth == 0:
            found.append(text[start:i].strip())
            start = i + 1
        elif c == "}" and depth == 0 and re.search(r"\)\s*\{", text[start:i]) and not re.match(r"\s*(typedef|struct|enum|union)\b", text[start:i]):
            start = i + 1
    return found


def structure(body, constants):
    """[(type, name, count)] of a struct's members."""
    members = []
    for line in filter(None, (part.strip() for part in body.split(";"))):
        first, *more = [p.strip() for p in line.split(",")]
        kind, name = re.match(r"(.*?)(\w+(?:\[\w+\])?)$", first, re.S).groups()
        for one in [name, *more]:
            n = re.match(r"(\w+)(?:\[(\w+)\])?$", one)
            count = 1 if n[2] is None else int(n[2]) if n[2].isdigit() else constants[n[2]]
            members.append((" ".join(kind.split()), n[1], count))
    return members


def constants_of(body, known):
    """{name: value} of an enum's list."""
    found, following = {}, 0
    for part in filter(None, (p.strip() for p in body.split(","))):
        name, _, value = (x.strip() for x in part.partition("="))
        if value:
            following = known[value] if value in known else eval(value, {"__builtins__": {}}, {**known, **found})  # numbers of our own
        found[name] = following
        following += 1
    return found


class Side:
    """functions {name: signature}, unread (declared by name alone), typedefs {name: type}, structs, constants."""

    def __init__(self):
        self.functions, self.unread, self.typedefs, self.structs, self.constants = {}, set(), {}, {}, {}

    def typedef(self, text):
        body = re.match(r"typedef\s+(struct|union)\s*(\w*)\s*\{(.*)\}\s*(\w+)$", text, re.S)
        if body:
            self.structs[body[4]] = (body[1], structure(body[3], self.constants))
        elif "{" not in text and "(" not in text:
            first, *names = [part.split() for part in text.replace("*", " * ").split(",")]
            kind = canonical(" ".join(first[1:-1]), False, tags=())
            for name in [first[-1], *(n[-1] for n in names)]:
                self.typedefs[name] = kind

    def take(self, text, marked):
        if text.startswith("typedef"):
            self.typedef(text)
            return
        enum = re.match(r"enum\s*\w*\s*\{(.*)\}$", text, re.S)
        if enum:
            self.constants.update(constants_of(enum[1], self.constants))
            return
        tag = re.match(r"(struct|union)\s+(\w+)\s*\{(.*)\}$", text, re.S)
        if tag:
            self.structs[tag[2]] = (tag[1], structure(tag[3], self.constants))
            return
        export = EXPORTED.search(text)
        if marked and not export:
            return
        match = FUNCTION.match(EXPORTED.sub("", text).strip())
        if match and "=" not in text:
            if export and export[1]:
                self.unread.add(match[2])
            parameters = [canonical(p, True) for p in split(match[3])]
            kinds = [self.typedefs.get(p, p) if p.startswith("emu_kind_") else p for p in parameters]
            self.functions[match[2]] = f"{canonical(match[1], False)} ({', '.join(kinds)})"


def declared(root, compiler):
    """{side: Side}"""
    import glob

    sides = {}
    for name, (include, patterns, mark) in SIDES.items():
        side = sides[name] = Side()
        for path in sorted(p for pattern in patterns for p in glob.glob(os.path.join(root, pattern))):
            with open(path, encoding="utf-8") as file:
                if path.endswith(".c") and (not mark or f"{mark} " not in file.read()):
                    continue
            if path.endswith(".h") and os.path.basename(path) not in INTERFACE:
                continue
            text = preprocess(root, include, os.path.relpath(path, root), compiler)
            text = re.sub(r'extern "C" \{', "", text)
            for statement in statements(text):
                if path.endswith(".h") or EXPORTED.search(statement):
                    side.take(statement, mark is not None)
    return sides
