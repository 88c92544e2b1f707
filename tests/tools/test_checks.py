# SPDX-License-Identifier: Apache-2.0
"""Shows every check under tools/ a good tree and bad ones: it passes the first and names the exact
file and line of the others."""

import contextlib
import importlib.machinery
import io
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
sys.dont_write_bytecode = True
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"


def run_check(tool, *arguments):
    """(exit code, what it printed) of a program under tools/, run in this process: starting Python
    for each of some 150 trees would take most of the test's time."""
    path = os.path.join(ROOT, "tools", tool)
    loader = importlib.machinery.SourceFileLoader(tool, path)
    module = type(sys)(tool)
    loader.exec_module(module)
    out, argv = io.StringIO(), sys.argv
    try:
        sys.argv = [path, *arguments]
        with contextlib.redirect_stdout(out):
            module.main()
        raise AssertionError(tool + " returned instead of ending")
    except SystemExit as end:
        return end.code, out.getvalue()
    finally:
        sys.argv = argv


class Tree(unittest.TestCase):
    """A tree made of {path: text}, and a check run on it."""

    tool = ""

    def run_on(self, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as stream:
                    stream.write(text)
            return run_check(self.tool, "--root", root)

    def passes(self, files):
        code, out = self.run_on(files)
        self.assertEqual(code, 0, out)

    def fails(self, files, *expected):
        """Fails with just the problems that begin with `expected`."""
        code, out = self.run_on(files)
        self.assertEqual(code, 1, out)
        lines = out.splitlines()[:-1]  # the last one is the sum
        self.assertEqual(len(lines), len(expected), out)
        for line, want in zip(sorted(lines), sorted(expected)):
            self.assertTrue(line.startswith(want), f"{line!r} does not begin with {want!r}")


class Floors(Tree):
    tool = "check_floors"

    def test_own_folder_and_lower_floors_pass(self):
        self.passes({
            "src/base/err.h": '#include "base/str.h"\n#include <stdint.h>\n',
            "src/base/str.h": "",
            "src/chip/chip.h": '#include "base/err.h"\n#include "tensor/tensor.h"\n',
            "src/chips/cpu/cpu.c": '#include "chips/cpu/cpu.h"\n#include "chip/chip.h"\n',
            "src/chips/one/gpu.c": '#include "chips/kernels/text.h"\n',
            "src/lib/lib.c": '#include "mizan.h"\n#include "serve/api.h"\n',
            "emu/common/memory.c": '#include "common/memory.h"\n',
            "emu/one/driver.c": '#include "common/memory.h"\n#include "one/abi.h"\n',
            "tests/op/test_a.c": '#include "tests/near.h"\n#include "app/main.h"\n',
        })

    def test_upward(self):
        self.fails({"src/base/err.c": '\n#include "tensor/tensor.h"\n'}, "src/base/err.c:2: base (floor 0)")
        self.fails({"src/op/a.c": '#include "model/config.h"\n'}, "src/op/a.c:1: op (floor 3)")
        self.fails({"src/chips/cpu/a.c": '#include "plan/cost.h"\n'}, "src/chips/cpu/a.c:1: chips/cpu")

    def test_neighbours_on_one_floor(self):
        self.fails({"src/file/a.c": '#include "chip/chip.h"\n'}, "src/file/a.c:1: file and chip")
        self.fails({"src/chips/cpu/a.c": '#include "chips/ref/ref.h"\n'}, "src/chips/cpu/a.c:1: chips/cpu and")
        self.fails({"src/chips/cpu/a.c": '#include "op/op.h"\n'}, "src/chips/cpu/a.c:1: chips/cpu and op")
        self.fails({"src/op/a.c": '#include "chips/cpu/cpu.h"\n'}, "src/op/a.c:1: op and chips/cpu")
        self.fails({"src/chips/kernels/a.c": '#include "chips/cpu/cpu.h"\n'}, "src/chips/kernels/a.c:1:")
        self.fails({"src/comms/mpi/a.c": '#include "comms/local/l.h"\n'}, "src/comms/mpi/a.c:1: comms/mpi")

    def test_rooms_that_do_not_exist(self):
        self.fails({"src/misc/a.c": ""}, "src/misc/a.c:1: in no folder")
        self.fails({"src/a.c": ""}, "src/a.c:1: in no folder")
        self.fails({"src/chips/a.c": ""}, "src/chips/a.c:1: in no folder")
        self.fails({"src/op/a.c": '#include "op.h"\n'}, 'src/op/a.c:1: "op.h" is in no folder')
        self.fails({"src/op/a.c": '#include "../base/err.h"\n'}, "src/op/a.c:1: not a plain path")
        self.fails({"src/op/a.c": '#include "op/../base/err.h"\n'}, "src/op/a.c:1: not a plain path")

    def test_src_and_emu_never_meet(self):
        self.fails({"src/op/a.c": '#include "emu/common/a.h"\n'}, "src/op/a.c:1:")
        self.fails({"emu/one/a.c": '#include "base/err.h"\n'}, "emu/one/a.c:1: emu/one/a.c may include")
        self.fails({"emu/one/a.c": '#include "two/a.h"\n'}, "emu/one/a.c:1: emu/one/a.c may include")
        self.fails({"emu/common/a.c": '#include "one/a.h"\n'}, "emu/common/a.c:1: emu/common/a.c may")

    def test_public_header_and_sources(self):
        self.fails({"include/mizan.h": '#include "base/err.h"\n'}, "include/mizan.h:1: a public header")
        self.fails({"src/serve/a.c": '#include "mizan.h"\n'}, "src/serve/a.c:1: include/mizan.h belongs")
        self.fails({"tests/op/test_a.c": '#include "op/a.c"\n'}, "tests/op/test_a.c:1: includes a .c file")

    def test_cycles(self):
        self.fails({
            "src/base/a.h": '#include "base/b.h"\n',
            "src/base/b.h": '#include "base/c.h"\n',
            "src/base/c.h": '#include "base/a.h"\n',
            "src/base/d.h": '#include "base/a.h"\n',
        }, "src/base/a.h:1: include cycle: src/base/a.h -> src/base/b.h -> src/base/c.h -> src/base/a.h")

    def test_comments_and_spacing(self):
        self.passes({"src/base/a.c": '/* #include "op/op.h" */\n// #include "op/op.h"\n/*\n#include "op/op.h"\n*/\n'})
        self.fails({"src/base/a.c": '  #  include   "op/op.h"\n'}, "src/base/a.c:1: base")

    def test_nothing_to_check_is_no_pass(self):
        code, out = self.run_on({})
        self.assertEqual(code, 1, out)


def body(lines, signature="int f(void)"):
    """A function of that many lines in all."""
    return signature + "\n{\n" + "    g();\n" * (lines - 3) + "}\n"


class Size(Tree):
    tool = "check_size"

    def test_limits_are_inclusive(self):
        self.passes({"src/base/a.c": body(80)})
        self.passes({"src/base/a.c": "\n" * 1000})
        self.passes({"src/base/a.c": "int f(int a, int b, int c, int d, int e, int g, int h)\n{\n}\n"})

    def test_one_more_fails(self):
        self.fails({"src/base/a.c": body(81)}, "src/base/a.c:1: f has 81 lines")
        self.fails({"src/base/a.c": "\n" * 1001}, "src/base/a.c:1000: 1001 lines")
        self.fails({"tools/check_x": "\n" * 1001}, "tools/check_x:1000: 1001 lines")
        self.fails({"src/base/a.c": "int f(int a, int b, int c, int d, int e, int g, int h, int i)\n{\n}\n"},
                   "src/base/a.c:1: f has 8 parameters")

    def test_a_kernel_has_its_pointers_as_parameters(self):
        many = ", ".join(f"GLOBAL int *p{i}" for i in range(12))
        self.passes({"src/chips/kernels/a.cl": f"KERNEL void f({many})\n{{\n}}\n"})
        self.fails({"src/chips/kernels/a.cl": f"KERNEL void f({many}, int i)\n{{\n}}\n"},
                   "src/chips/kernels/a.cl:1: f has 13 parameters")
        self.fails({"src/chips/kernels/a.cl": f"HELPER void f({many})\n{{\n}}\n"},
                   "src/chips/kernels/a.cl:1: f has 12 parameters")

    def test_signature_counts_from_its_first_line(self):
        text = "\n/* c */\n\nstatic int\nf(int a,\n  int b)\n{\n" + "    g();\n" * 76 + "}\n"
        self.passes({"src/base/a.c": text.replace("    g();\n", "", 1)})
        self.fails({"src/base/a.c": text + body(10)}, "src/base/a.c:4: f has 81 lines")

    def test_text_that_looks_like_code(self):
        tricks = ('    s = "{ \\" (";\n    c = \'{\'; /* } } { */ // }\n'
                  "    d = '\\'';\n    x = (struct p){.a = {1, 2}};\n")
        self.passes({"src/base/a.c": "int f(void)\n{\n" + tricks + "}\n" + body(80, "int g(void)")})
        self.fails({"src/base/a.c": "int f(void)\n{\n" + tricks + "}\n" + body(81, "int g(void)")},
                   "src/base/a.c:8: g has 81 lines")

    def test_data_and_types_are_no_functions(self):
        table = "static const int t[] = {\n" + "    1,\n" * 100 + "};\n"
        kind = "typedef struct s {\n" + "    int a;\n" * 100 + "} s;\n"
        entry = "static const struct v x = V(1, 2, 3, 4, 5, 6, 7, 8);\n"
        macro = "#define LIST(X) \\\n" + "    X(1) \\\n" * 100 + "    X(2)\n"
        self.passes({"src/base/a.c": table + kind + entry + macro + body(80)})

    def test_both_sides_of_a_condition(self):
        text = ("#ifdef A\nint f(int a)\n{\n#else\nint f(long a)\n{\n#endif\n" + "    g();\n" * 80 +
                "}\n" + body(80, "int h(void)"))
        self.fails({"src/base/a.c": text}, "src/base/a.c:5: f has 84 lines")
        late = "#ifdef A\n" + body(10) + "#else\n" + body(81) + "#endif\n"
        self.fails({"src/base/a.c": late}, "src/base/a.c:13: f has 81 lines")

    def test_attributes_pointers_and_linkage(self):
        many = "int a, int b, int c, int d, int e, int g, int h, int i"
        self.fails({"src/base/a.c": "__attribute__((format(printf, 1, 2))) int f(" + many + ")\n{\n}\n"},
                   "src/base/a.c:1: f has 8")
        self.fails({"src/base/a.c": "int f(" + many + ") __attribute__((noinline))\n{\n}\n"},
                   "src/base/a.c:1: f has 8")
        self.fails({"src/base/a.c": "void (*f(" + many + "))(int)\n{\n}\n"}, "src/base/a.c:1: f has 8")
        self.fails({"src/base/a.h": 'extern "C" {\nstatic int f(' + many + ")\n{\n}\n}\n"},
                   "src/base/a.h:2: f has 8")
        self.passes({"src/base/a.c": "int f(int (*cb)(int, int, int, int, int, int, int, int))\n{\n}\n"})

    def test_a_vendors_own_signatures(self):
        eight = "int f(int a, int b, int c, int d, int e, int g, int h, int i)\n{\n}\n"
        self.passes({"emu/one/a.c": eight})
        self.fails({"emu/common/a.c": eight}, "emu/common/a.c:1: f has 8")

    def test_nesting(self):
        def nested(depth, opener="if (a) {"):
            return ("int f(void)\n{\n" + opener + "\n") + "for (;;) {\n" * (depth - 1) + "}\n" * depth + "}\n"

        self.passes({"src/base/a.c": nested(4)})
        self.fails({"src/base/a.c": nested(5)}, "src/base/a.c:1: f nests 5 deep")
        self.fails({"src/base/a.c": nested(5, "do {")}, "src/base/a.c:1: f nests 5 deep")
        self.fails({"src/base/a.c": nested(5, "x: {")}, "src/base/a.c:1: f nests 5 deep")
        literal = "x = (struct p){{1}};\n"
        self.passes({"src/base/a.c": nested(4).replace("for (;;) {\n}", "for (;;) {\n" + literal + "}")})


class Words(Tree):
    tool = "check_words"

    def test_at_home(self):
        self.passes({
            "src/chips/nvidia/abi.h": "int cuInit; /* CUDA, NVIDIA, cublasLt */\n",
            "src/chips/ascend/abi.h": "aclnnAdd HUAWEI\n",
            "src/chips/kernels/matmul.cl": "/* OpenCL C and CUDA C */\n",
            "src/lib/chips.c": "mz_nvidia, mz_ascend\n",
            "emu/cambricon/a.c": "cnrtMalloc MLU\n",
            "tests/abi/test_a.c": "nvidia\n",
        })

    def test_away(self):
        self.fails({"src/chip/a.c": "\n/* as CUDA does */\n"}, 'src/chip/a.c:2: a vendor\'s name outside its folder: "cuda"')
        self.fails({"src/op/a.c": 'x = "libcuda.so";\n'}, "src/op/a.c:1: a vendor's name")
        self.fails({"src/op/a.c": "mz_nvidia_init();\n"}, "src/op/a.c:1: a vendor's name")
        self.fails({"src/op/a.c": "MZ_ASCEND\n"}, "src/op/a.c:1: a vendor's name")
        self.fails({"src/op/a.c": "isAscend2\n"}, "src/op/a.c:1: a vendor's name")
        self.fails({"src/op/a.c": "mlu_get\n"}, "src/op/a.c:1: a vendor's name")
        self.fails({"emu/common/a.c": "Baidu\n"}, "emu/common/a.c:1: a vendor's name")
        self.fails({"tests/op/test_a.c": "Huawei\n"}, "tests/op/test_a.c:1: a vendor's name")

    def test_at_anothers_home(self):
        self.fails({"src/chips/ascend/a.c": "/* cuda */\n"}, "src/chips/ascend/a.c:1: a vendor's name")
        self.fails({"emu/nvidia/a.c": "hcclSend\n"}, "emu/nvidia/a.c:1: a vendor's library")

    def test_ordinary_words(self):
        self.passes({"src/op/a.c": "/* ids ASCENDING, in ascending order; descend */ emluate xmlu mlux x_mlux\n"})

    def test_library_names_only_in_comments(self):
        self.passes({"src/chip/a.h": "/* cuBLASLt names its workspace, aclnn runs twice, CNNL too */\n"})
        self.fails({"src/chip/a.h": "int aclnn_x;\n"}, "src/chip/a.h:1: a vendor's library in code")
        self.fails({"src/chip/a.h": 'char *s = "cublasLtCreate";\n'}, "src/chip/a.h:1: a vendor's library")

    def test_comparing_names(self):
        self.fails({"src/model/a.c": "if (!strcmp(q->chip->name, s)) x();\n"}, "src/model/a.c:1: compares")
        self.fails({"src/train/a.c": '\nif (strncmp(\n    spec, "far:f16", 3) == 0) x();\n'}, "src/train/a.c:2:")
        self.passes({
            "src/chip/registry.c": "strcmp(chips[i]->chip->name, name);\n",
            "src/model/a.c": 'strcmp(a, "farther"); f(q->chip->name); /* strcmp(chip->name) */\n',
        })


class Calls(Tree):
    tool = "check_calls"

    def test_in_their_place(self):
        self.passes({
            "src/app/main.c": 'printf("x"); exit(1);\n',
            "src/base/mem.c": "p = aligned_alloc(64, n); free(p);\n",
            "src/base/options.c": 'getenv("MIZAN_ISA");\n',
            "src/comms/local/a.c": "_exit(1);\n",
        })

    def test_out_of_place(self):
        for call, start in (("printf", "only app/ talks"), ("fprintf", "only app/ talks"),
                            ("exit", "only app/ may end"), ("abort", "only app/ may end"),
                            ("malloc", "host memory"), ("free", "host memory"), ("strdup", "host memory"),
                            ("getenv", "base/options.c"), ("strcpy", "unbounded"), ("atoi", "unbounded")):
            self.fails({"src/model/a.c": f"\n    x = {call} (y);\n"}, f"src/model/a.c:2: {call}: {start}")
        self.fails({"src/base/mem.c": "abort();\n"}, "src/base/mem.c:1: abort")
        self.fails({"src/app/a.c": "malloc(1);\n"}, "src/app/a.c:1: malloc")
        self.fails({"src/train/a.c": "_exit(1);\n"}, "src/train/a.c:1: _exit")

    def test_what_is_no_such_call(self):
        self.passes({"src/op/a.c": "chip->free(d, b); s.exit(1); void (*free)(void *p); mz_mem_free(p);\n"
                                   '/* malloc(1) */ x = "exit(1)"; snprintf(b, n, "x"); assert(x); .free = f,\n'})


class Headers(Tree):
    tool = "check_headers"

    GOOD = SPDX + "/* op/a.h - says what. */\n#ifndef MZ_OP_A_H\n#define MZ_OP_A_H\n#endif\n"

    def test_good(self):
        self.passes({
            "src/op/a.h": self.GOOD,
            "tests/near.h": SPDX + "/* tests/near.h - says what. */\n#ifndef MZ_TESTS_NEAR_H\n#endif\n",
            "include/mizan.h": SPDX + "/* mizan.h - says what. */\n#ifndef MIZAN_H\n#endif\n",
            "tools/check_x": "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n",
            "Makefile": "# SPDX-License-Identifier: Apache-2.0\nx:\n\ty\n",
        })

    def test_bad(self):
        self.fails({"src/op/a.c": "/* op/a.c - x. */\n"}, "src/op/a.c:1: no 'SPDX", "src/op/a.c:2: want")
        self.fails({"src/op/a.c": SPDX + "int x;\n"}, 'src/op/a.c:2: want "/* op/a.c - ')
        self.fails({"src/op/b.h": self.GOOD}, "src/op/b.h:2: says it is op/a.h",
                   "src/op/b.h:1: include guard MZ_OP_A_H, want MZ_OP_B_H")
        self.fails({"tools/x.py": "x = 1\n"}, "tools/x.py:1: no 'SPDX")
        self.fails({"scripts/x": "#!/bin/sh\n\n"}, "scripts/x:2: no 'SPDX", "scripts/x:2: not exactly one")
        cited = self.GOOD + "/* arXiv:1910.07467, arXiv:2405.04434 */\n"
        self.passes({"src/op/a.h": cited, "docs/papers.md": "arXiv:1910.07467; arXiv:2405.04434\n"})
        self.fails({"src/op/a.h": cited, "docs/papers.md": "arXiv:1910.07467\n"},
                   "src/op/a.h:6: arXiv:2405.04434 is not")
        self.fails({"src/op/a.h": self.GOOD + "int x; \n"}, "src/op/a.h:6: blanks")
        self.fails({"src/op/a.h": self.GOOD + "\tint x;\n"}, "src/op/a.h:6: a tab")
        self.fails({"src/op/a.h": self.GOOD + "int x;"}, "src/op/a.h:5: not exactly one newline")


@unittest.skipUnless(shutil.which("clang-format") or shutil.which("clang-format-14"), "no clang-format")
class Format(Tree):
    tool = "check_format"

    def test_both(self):
        with open(os.path.join(ROOT, ".clang-format"), encoding="utf-8") as stream:
            style = stream.read()
        code, out = self.run_on({".clang-format": style, "src/base/a.c": "int f(void);\n"})
        if code == 77:
            self.skipTest(out)
        self.assertEqual(code, 0, out)
        self.fails({".clang-format": style, "src/base/a.c": "int x;\nint  f( void );\n"}, "src/base/a.c:2: not as")
        code, out = self.run_on({".clang-format": "NoSuchKey: 1\n", "src/base/a.c": "int x;\n"})
        self.assertEqual(code, 1, out)


class Hostile(Tree):
    tool = "check_hostile"
    TEST = ("static void good(void **state)\n{\n}\nstatic const bad ROWS[] = {\n" + '    {"x"},\n' * 120 +
            "};\nint t = cmocka_unit_test(good);\n")

    def tree(self, change=lambda page: page, test=TEST):
        names = [f"{kind}{i}" for kind, n in (("G", 18), ("S", 6), ("T", 5), ("P", 3), ("ST", 10), ("HF", 4),
                                              ("GG", 11), ("Q", 1), ("EB", 2), ("L", 2)) for i in range(1, n + 1)]
        page = "".join(f'| {name} | x | `tests/fault/test_a.c` good "ROWS" |\n' for name in names)
        return {"docs/hostile.md": change(page), "tests/fault/test_a.c": test}

    def test_every_case_has_its_test(self):
        self.passes(self.tree())
        self.fails(self.tree(lambda page: page.replace("| G1 |", "| G0 |")), "docs/hostile.md:1: G1 has no line")
        self.fails(self.tree(lambda page: page.replace("good", "gone", 1)),
                   "docs/hostile.md:1: tests/fault/test_a.c runs no test gone")
        self.fails(self.tree(lambda page: page.replace("ROWS", "LINES", 1)), "docs/hostile.md:1: tests/fault/test_a.c has")
        self.fails(self.tree(lambda page: page.replace("test_a", "test_b", 1)), "docs/hostile.md:1: there is no tests")

    def test_a_test_must_run_and_inputs_are_counted(self):
        code, out = self.run_on(self.tree(test=self.TEST.replace("cmocka_unit_test(good)", "0")))
        self.assertEqual(code, 1, out)
        self.fails(self.tree(test=self.TEST.replace('    {"x"},\n', "", 1)), "docs/hostile.md:1: 119 bad inputs")


@unittest.skipUnless(shutil.which("cc") and shutil.which("nm"), "no compiler")
class Symbols(unittest.TestCase):
    def check(self, source):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("a.c", source), ("b.c", "int mz_other(void) { return 0; }\n")):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
                    stream.write(text)
                subprocess.run(["cc", "-c", name], cwd=folder, check=True)
            subprocess.run(["ar", "rc", "l.a", "a.o", "b.o"], cwd=folder, check=True)
            return run_check("check_symbols", folder + "/l.a")

    def test_ours(self):
        code, out = self.check("static int x(void) { return 0; }\nint mz_f(void) { return x(); }\n")
        self.assertEqual(code, 0, out)

    def test_foreign(self):
        for source in ("int f(void) { return 0; }\n", "int mizanx;\n"):
            code, out = self.check(source)
            self.assertEqual(code, 1, out)
            self.assertIn("a.o: global", out)


if __name__ == "__main__":
    unittest.main()
