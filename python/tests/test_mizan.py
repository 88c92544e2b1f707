# SPDX-License-Identifier: Apache-2.0
"""The package against a small model (MIZAN_TEST_MODEL) and the program (MIZAN_PROGRAM); standard
library only. tools/check_package makes the model and runs this."""

import ctypes
import json
import math
import os
import re
import subprocess
import tempfile
import threading
import unittest

import mizan
from mizan import _abi

MODEL = os.environ["MIZAN_TEST_MODEL"]
PROGRAM = os.environ["MIZAN_PROGRAM"]
PROMPT = "the library is"


def program(*words):
    result = subprocess.run([PROGRAM, "generate", MODEL, "--json", *words], stdout=subprocess.PIPE,
                            check=True)
    return json.loads(result.stdout)


class Generate(unittest.TestCase):
    def test_the_same_text_as_the_program(self):
        with mizan.Model(MODEL) as model:
            for seed in (0, 1, 2):
                want = program("--prompt", PROMPT, "--max-tokens", "20", "--temperature", "0.9",
                               "--top-p", "0.95", "--seed", str(seed))
                got = model.generate(PROMPT, max_tokens=20, temperature=0.9, top_p=0.95, seed=seed)
                self.assertEqual((got.ids, got.text, got.ended), (want["ids"], want["text"],
                                                                  want["stop"]))
            self.assertEqual(model.generate(PROMPT, max_tokens=20).text,
                             program("--prompt", PROMPT, "--max-tokens", "20")["text"])

    def test_a_callback_hears_all_and_may_stop_or_raise(self):
        heard = []
        with mizan.Model(MODEL) as model, model.session() as session:
            all_of = session.generate(PROMPT, max_tokens=12,
                                      on_token=lambda i, text: heard.append((i, text)))
            self.assertEqual("".join(text for _, text in heard), all_of.text)
            self.assertEqual([i for i, _ in heard if i >= 0], all_of.ids)
            cut = session.generate(PROMPT, max_tokens=12, on_token=lambda i, text: True)
            self.assertEqual((len(cut.ids), cut.ended), (1, "caller"))
            with self.assertRaises(ZeroDivisionError):
                session.generate(PROMPT, on_token=lambda i, text: 1 // 0)

    def test_threads_with_a_session_each(self):
        with mizan.Model(MODEL, threads=2) as model:
            want = [model.generate(PROMPT, max_tokens=10, temperature=1.0, seed=i).text
                    for i in range(8)]
            got = [""] * 8

            def work(i):
                got[i] = model.generate(PROMPT, max_tokens=10, temperature=1.0, seed=i).text

            threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(got, want)

    def test_a_session_keeps_its_model(self):
        session = mizan.Model(MODEL).session()
        self.assertEqual(session.generate([1, 2, 3], max_tokens=2).prompt_tokens, 3)


class Text(unittest.TestCase):
    def test_there_and_back(self):
        vocab = mizan.Vocab(MODEL)
        for text in ("", "the library", "ميزان 天平\n", "a\x00b"):
            self.assertEqual(vocab.decode(vocab.encode(text)), text)
        self.assertEqual(vocab.decode_bytes(vocab.encode(b"\xff\xfe")), b"\xff\xfe")

    def test_conversation(self):
        vocab = mizan.Vocab(MODEL)
        messages = [{"role": "user", "content": "hi"}]
        text = vocab.chat_text(messages)
        self.assertEqual(text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
        self.assertEqual(vocab.chat_ids(messages), vocab.encode(text, special=True))


class Learn(unittest.TestCase):
    def test_adapters(self):
        rows = [[1, 5, 9, 13, 17, 21], [2, 4, 8, 16, 32, 64]]
        with tempfile.TemporaryDirectory() as folder:
            trainer = mizan.Trainer(MODEL, rows=2, seq=6, lora_rank=2, lora_targets="q_proj,v_proj")
            for _ in range(20):
                trainer.step(rows, lr=1e-2)
            trainer.save(os.path.join(folder, "adapter"))
            with mizan.Model(MODEL) as base, mizan.Model(
                    MODEL, adapter=os.path.join(folder, "adapter")) as adapted:
                self.assertLess(adapted.loss(rows), base.loss(rows))
            with self.assertRaises(mizan.MizanError):
                mizan.Trainer(MODEL, mtp=0.1)

    def test_steps_checkpoint_and_loss(self):
        rows = [[1, 5, 9, 13, 17, 21], [2, 4, 8, 16, 32, 64]]
        with mizan.Model(MODEL) as model:
            before = model.loss(rows)
            logits = model.logits(rows)
            self.assertEqual(len(logits), 12 * model.info["vocab"])
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "out")
            trainer = mizan.Trainer(MODEL, rows=1, seq=6)
            first = trainer.step(rows)
            self.assertLess(abs(first.loss - before), 1e-4)
            for _ in range(10):
                last = trainer.step(rows, lr=3e-3)
            self.assertLess(last.loss, first.loss)
            trainer.save(out)
            want = trainer.step(rows)
            other = mizan.Trainer(MODEL, rows=1, seq=6)
            other.load(out)
            self.assertEqual(other.step(rows), want)
            with mizan.Model(out) as model:
                self.assertTrue(math.isclose(model.loss(rows), want.loss, rel_tol=1e-5))


class Errors(unittest.TestCase):
    def test_they_say_what(self):
        with self.assertRaises(mizan.MizanError) as caught:
            mizan.Model("/nowhere/at/all")
        self.assertEqual(caught.exception.code, "EIO")
        self.assertIn("/nowhere/at/all", str(caught.exception))
        with mizan.Model(MODEL) as model:
            with self.assertRaises(mizan.MizanError):
                model.generate([10**6])
        with self.assertRaises(ValueError):
            model.session()
        with self.assertRaises(ValueError):
            mizan.Trainer(MODEL).step([[1, 2], [3]])

    def test_versions(self):
        with open(os.path.join(os.path.dirname(__file__), "..", "pyproject.toml")) as stream:
            self.assertEqual(re.search(r'^version = "(.*)"', stream.read(), re.M)[1], mizan.version())
        self.assertIn("cpu", mizan.chips())


class Structs(unittest.TestCase):
    def test_sizes_are_those_of_the_header(self):
        """Each struct of _abi.py beside the header's, by the C compiler."""
        names = {"Options": "mz_lm_options", "Info": "mz_lm_info",
                 "SessionOptions": "mz_lm_session_options",
                 "GenerateOptions": "mz_lm_generate_options", "Answer": "mz_lm_answer",
                 "Message": "mz_lm_message", "ChatOptions": "mz_lm_chat_options",
                 "TrainerOptions": "mz_lm_trainer_options", "Optim": "mz_lm_optim",
                 "StepResult": "mz_lm_step"}
        lines = ['#include "mizan.h"']
        for ours, theirs in names.items():
            struct = getattr(_abi, ours)
            lines.append(f'_Static_assert(sizeof({theirs}) == {ctypes.sizeof(struct)}, "{ours}");')
            for name, *_ in struct._fields_:
                lines.append(f"_Static_assert(__builtin_offsetof({theirs}, {name}) == "
                             f'{getattr(struct, name).offset}, "{ours}.{name}");')
        include = os.path.join(os.path.dirname(__file__), "..", "..", "include")
        subprocess.run(["cc", "-fsyntax-only", "-I", include, "-x", "c", "-"], check=True,
                       input="\n".join(lines).encode() + b"\n")


if __name__ == "__main__":
    unittest.main()
