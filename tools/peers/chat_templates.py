# SPDX-License-Identifier: Apache-2.0
"""`mizan template` against the models' own templates, run by jinja2 as transformers runs them.

The template texts come with the tokenizers that tokenizer_ids.py fetches. MIZAN_SEED repeats a run.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

import tokenizer_ids

SEED = int(os.environ.get("MIZAN_SEED") or random.randrange(1 << 31))
CONVERSATIONS = 100
WORDS = ["hi", "\n", "\n\n", " ", "<think>", "</think>", "because", "\u3000", "<|im_end|>",
         "<tool_response>", "</tool_response>", "ok\n", "\x1f", "سلام", "{{ x }}"]


def conversation(rng):
    roles, turn = ["system"] * rng.choice([0, 0, 1, 1, 2]), "user"
    for _ in range(rng.randint(1, 6)):
        roles.append(rng.choice(["user", "assistant"]) if rng.random() < 0.2 else turn)
        turn = "assistant" if roles[-1] == "user" else "user"
    out = []
    for role in roles:
        message = {"role": role, "content": "".join(rng.choices(WORDS, k=rng.randint(0, 6)))}
        if role == "assistant" and rng.random() < 0.2:
            message["reasoning_content"] = "\nso\n"
        out.append(message)
    return out


def token_text(value):
    return value.get("content", "") if isinstance(value, dict) else value or ""


def compare(name, folder, rng, workspace):
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(config["chat_template"])
    path, differ = pathlib.Path(workspace) / "messages.json", 0
    for _ in range(CONVERSATIONS):
        messages, prompt = conversation(rng), rng.random() < 0.7
        thinking = rng.choice([None, True, False]) if name == "qwen3" else None
        extra = {} if thinking is None else {"enable_thinking": thinking}
        want = template.render(messages=messages, add_generation_prompt=prompt,
                               bos_token=token_text(config.get("bos_token")), **extra)
        path.write_text(json.dumps(messages), encoding="utf-8")
        command = [tokenizer_ids.MIZAN, "template", folder, "--messages", path]
        command += [] if prompt else ["--no-generation-prompt"]
        command += [] if thinking is None else ["--thinking", "on" if thinking else "off"]
        got = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        if got != want:
            differ += 1
            print("    got ", ascii(got), "\n    want", ascii(want))
    print(f"  {name}: {differ} of {CONVERSATIONS} conversations differ", flush=True)
    return differ


def main():
    print(f"jinja2 {jinja2.__version__}, seed {SEED}", flush=True)
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as workspace:
        differ = [compare(name, folder, rng, workspace)
                  for name, folder in tokenizer_ids.folders().items()]
    sys.exit(1 if any(differ) else 0)


if __name__ == "__main__":
    main()
