#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Device kernels are CUDA C: NVRTC, NVIDIA's run-time compiler, makes a CUBIN of every
src/chips/kernels/*.cl for sm_80, sm_90 and sm_100, in every pair of dtypes that is asked for.

No card and no driver is wanted, and no folder of headers is given: the texts stand on their own. Prints
kernels x architectures, and of each file the most registers a kernel takes and the bytes it spills.
Ends with 1 if one does not compile, spills more than ptxas gives up for more warps at a time, or takes more
shared memory than a block may have; with 77 where there is no libnvrtc (it comes with PyTorch, or as the
PyPI package nvidia-cuda-nvrtc-cu12). What an NVRTC does not know of the architectures it says, and compiles
for the others.
"""

import argparse
import concurrent.futures
import ctypes
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARCHITECTURES = (80, 90, 100)
MORE = 90
OPTIONS = ("--std=c++17", "-fmad=false", "--ptxas-options=-v")
PAIRS = ((1, 1), (2, 2), (2, 1))  # DTYPE and OUT_DTYPE that chips ask for: 1 f32, 2 bf16
SHARED_BYTES = 48 * 1024
SPILLED_BYTES = 256  # of one kernel


def find_library():
    """libnvrtc.so.N of a Python package, else of the system; None if there is none."""
    found = []
    for folder in sys.path:
        found += glob.glob(os.path.join(folder, "nvidia", "*", "lib", "libnvrtc.so.*[0-9]"))
    for name in found + ["libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL), name
        except OSError:
            continue
    return None, None


class Nvrtc:
    def __init__(self, library):
        self.lib = library
        self.lib.nvrtcGetErrorString.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        return getattr(self.lib, name)(*arguments)

    def version(self):
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def architectures(self):
        count = ctypes.c_int()
        self.call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        values = (ctypes.c_int * count.value)()
        self.call("nvrtcGetSupportedArchs", values)
        return set(values)

    def compile(self, name, text, options):
        """(0 or the error's text, log, size of the CUBIN)."""
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        self.call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
        values = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        status = self.call("nvrtcCompileProgram", program, len(options), values)
        self.call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value + 1)
        self.call("nvrtcGetProgramLog", program, log)
        bytes_made = 0
        if status == 0:
            self.call("nvrtcGetCUBINSize", program, ctypes.byref(size))
            bytes_made = size.value
        self.call("nvrtcDestroyProgram", ctypes.byref(program))
        error = self.lib.nvrtcGetErrorString(status).decode() if status else 0
        return error, log.value.decode(), bytes_made


def text_of(path, seen):
    """The file with what it includes in place, once each, as cmake/kernels.cmake does it."""
    with open(path, encoding="utf-8") as stream:
        text = stream.read()

    def inside(match):
        if match.group(1) in seen:
            return ""
        seen.add(match.group(1))
        return text_of(os.path.join(ROOT, "src", match.group(1)), seen)

    return re.sub(r'#include "([^"\n]*)"\n', inside, text)


def variants(text, more):
    """Options to compile with, in turn; what "Tried with:" lines say in one pair of dtypes, and where
    `more`, for it takes longest."""
    plain = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    has_out = re.search(r"\b(?:out_store|LOAD_OUT|STORE_OUT)\b", plain)
    for dtype, out in PAIRS if has_out else PAIRS[:2]:
        yield [f"-DDTYPE={dtype}", f"-DOUT_DTYPE={out}"]
    for line in re.findall(r"Tried with: (.*?)(?: \*/)?$", text, re.M) if more else ():
        yield ["-DDTYPE=2", "-DOUT_DTYPE=1", *line.split()]


def numbers(log):
    """(registers, spilled bytes, shared bytes) of each kernel, from ptxas's notes."""
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part.split("'")[0]
        registers = re.search(r"Used (\d+) registers", part)
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        shared = re.search(r"(\d+) bytes smem", part)
        yield (name, int(registers.group(1)) if registers else -1,
               int(spills.group(1)) + int(spills.group(2)) if spills else -1,
               int(shared.group(1)) if shared else 0)


def compile_file(path, architecture):
    """One file for one architecture: ([(kernel, defines, registers, spilled, shared)], [error])."""
    nvrtc = Nvrtc(find_library()[0])
    file, made, errors = os.path.basename(path), [], []
    own = text_of(path, {"chips/kernels/lang.h", "chips/kernels/args.h"})
    text = text_of(path, set())
    for defines in variants(own, architecture == MORE):
        options = [f"-arch=sm_{architecture}", *OPTIONS, *defines]
        error, log, size = nvrtc.compile(file, text, options)
        if error or not size:
            errors.append(f"{file} {' '.join(defines)} sm_{architecture}: {error or 'no CUBIN'}\n{log}")
            continue
        made += [(kernel, " ".join(defines), *rest) for kernel, *rest in numbers(log)]
    return made, errors


def report(file, made, each):
    """Prints what the architectures' kernels take; True if it is too much."""
    registers, spills, shared = {}, [0], [0]
    for architecture, kernels in made.items():
        for kernel, defines, used, spilled, smem in kernels:
            registers[architecture] = max(registers.get(architecture, 0), used)
            spills.append(spilled)
            shared.append(smem)
            if each:
                print(f"  {kernel} {defines} sm_{architecture}: {used} registers, {spilled} bytes spilled, "
                      f"{smem} bytes shared")
    print(f"{file:16} registers " + " ".join(f"sm_{a} {n}" for a, n in registers.items())
          + f"   spilled {sum(spills)} bytes, at most {max(spills)} in one   shared at most {max(shared)}")
    return max(spills) > SPILLED_BYTES or max(shared) > SHARED_BYTES


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", action="store_true", help="a line for each kernel")
    options = parser.parse_args()
    library, name = find_library()
    if not library:
        print("nvrtc_kernels: skipped, there is no libnvrtc here")
        sys.exit(77)
    known = [a for a in ARCHITECTURES if a in Nvrtc(library).architectures()]
    print(f"NVRTC {Nvrtc(library).version()} ({os.path.basename(name)}): " + ", ".join(f"sm_{a}" for a in known))
    for missing in sorted(set(ARCHITECTURES) - set(known)):
        print(f"sm_{missing} is not known to this NVRTC")
    paths = sorted(glob.glob(os.path.join(ROOT, "src", "chips", "kernels", "*.cl")))
    jobs = [(path, architecture) for path in paths for architecture in known]
    with concurrent.futures.ProcessPoolExecutor() as pool:
        results = list(pool.map(compile_file, *zip(*jobs)))
    kernels, compiled, bad = set(), 0, 0
    for path in paths:
        made = {a: made for (p, a), (made, errors) in zip(jobs, results) if p == path}
        kernels |= {(path, row[0]) for rows in made.values() for row in rows}
        compiled += sum(len(rows) for rows in made.values())
        bad += report(os.path.basename(path), made, options.each)
    for _, errors in results:
        bad += len(errors)
        print("".join(f"{error}\n" for error in errors), end="")
    print(f"{len(kernels)} kernels x {len(known)} architectures: {compiled} compiled with their dtypes and "
          f"widths, {bad} problem(s)")
    sys.exit(1 if bad or not compiled else 0)


if __name__ == "__main__":
    main()
