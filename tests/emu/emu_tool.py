# SPDX-License-Identifier: Apache-2.0
"""What the tests of `mizan emu` share: starting it, a small run, and what a trace says was called."""

import json
import os
import subprocess

CONFIG = """
model: {config: config.json}
data: {path: shards, tokenizer: tokenizer.json, seq: 16, across: true}
run: {dir: RUN, steps: 6, checkpoint_every: 2}
batch: {global: 2, micro: 2}
optim: {lr: 3e-3}
"""
NETWORK = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300,
           "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
           "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
           "rope_theta": 10000.0, "tie_word_embeddings": True, "eos_token_id": 0}
EXPERTS = {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 32,
           "intermediate_size": 64, "vocab_size": 300, "num_hidden_layers": 2, "num_attention_heads": 4,
           "num_key_value_heads": 4, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000,
           "tie_word_embeddings": False, "hidden_act": "silu", "eos_token_id": 0, "kv_lora_rank": 16,
           "q_lora_rank": None, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
           "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "n_shared_experts": 1,
           "moe_intermediate_size": 16, "first_k_dense_replace": 1, "scoring_func": "sigmoid",
           "topk_method": "noaux_tc", "norm_topk_prob": True, "routed_scaling_factor": 1.0}


def write(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return name


class Tool:
    """The program at this path."""

    def __init__(self, program):
        self.program = program

    def emu(self, *words, command=(), code=0, **environment):
        done = subprocess.run([self.program, "emu", "ascend", *words, "--", *command], capture_output=True,
                              text=True, timeout=120, env=dict(os.environ, **environment))
        assert done.returncode == code, (words, command, done.returncode, done.stdout, done.stderr)
        return done

    def mizan(self, *words):
        return subprocess.run([self.program, *words], capture_output=True, text=True, check=True).stdout

    def make_run(self):
        text = "".join(f"The scales weigh {i} stones.\nNo house is small when {i} friends are in it.\n"
                       for i in range(60))
        self.mizan("tokenizer", "train", write("book.txt", text), "--vocab", "300", "--special", "<|endoftext|>",
                   "--out", "tokenizer.json")
        self.mizan("data", "build", "book.txt", "--tokenizer", "tokenizer.json", "--out", "shards")
        write("config.json", json.dumps(NETWORK))

    def train(self, run, *words, code=0, steps=6, chip="hosted:ascend", keys=()):
        text = CONFIG.replace("RUN", run).replace("steps: 6", f"steps: {steps}")
        return self.emu(*words, command=[self.program, "train", write(f"{run}.yaml", text), "--chip", chip, *keys],
                        code=code, MIZAN_DEVICE_WAIT="2")


def losses(run):
    with open(os.path.join(run, "log.jsonl"), encoding="utf-8") as file:
        return [json.loads(line)["loss"] for line in file]


def host_calls(trace):
    """Names of the calls that a traced program made, in their order."""
    with open(trace, encoding="utf-8") as file:
        return [e["name"] for e in json.load(file)["traceEvents"] if e["ph"] == "X" and e["cat"] == "host"]
