# SPDX-License-Identifier: Apache-2.0
"""The four networks that training is timed on, and their data: fixed, so that figures of two days compare."""

import json
import pathlib
import random

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "tie_word_embeddings": True, "max_position_embeddings": 1024, "head_dim": 64,
         "bos_token_id": None, "eos_token_id": None}
DEEPSEEK = {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "tie_word_embeddings": False, "max_position_embeddings": 1024, "n_routed_experts": 32,
            "num_experts_per_tok": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
            "routed_scaling_factor": 1.0, "first_k_dense_replace": 1, "attention_bias": False, "qk_nope_head_dim": 64,
            "qk_rope_head_dim": 32, "v_head_dim": 64, "num_nextn_predict_layers": 0, "bos_token_id": None, "eos_token_id": None}
# name: config, samples of a step, positions of a sample, the peer's settings from best to worst as they were found
MODELS = {
    "llama 7.3M": ({**LLAMA, "hidden_size": 256, "num_hidden_layers": 8, "intermediate_size": 768, "vocab_size": 4096,
                    "num_attention_heads": 4, "num_key_value_heads": 4}, 8, 256, ["bf16", "bf16-compile", "f32"]),
    "llama 100M": ({**LLAMA, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 2048, "vocab_size": 32000,
                    "num_attention_heads": 12, "num_key_value_heads": 4}, 4, 512, ["bf16", "bf16-compile", "f32"]),
    "deepseek_v3 19M": ({**DEEPSEEK, "hidden_size": 256, "num_hidden_layers": 6, "intermediate_size": 768,
                         "moe_intermediate_size": 128, "vocab_size": 4096, "num_attention_heads": 4, "num_key_value_heads": 4,
                         "q_lora_rank": 128, "kv_lora_rank": 64}, 8, 256, ["f32-grouped", "bf16", "bf16-compile"]),
    "deepseek_v3 146M": ({**DEEPSEEK, "hidden_size": 640, "num_hidden_layers": 8, "intermediate_size": 1792,
                          "moe_intermediate_size": 256, "vocab_size": 32000, "num_attention_heads": 10,
                          "num_key_value_heads": 10, "q_lora_rank": 256, "kv_lora_rank": 128}, 4, 512, ["bf16", "f32-grouped"]),
}


def write(folder, name, samples=None, positions=None):
    """config.json, rows.jsonl and train.yaml of a model, with other samples of a step if so said; gives the folder."""
    config, usual, length, _ = MODELS[name]
    samples, positions = samples or usual, positions or length
    config = {**config, "max_position_embeddings": max(config["max_position_embeddings"], positions)}
    folder = pathlib.Path(folder) / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with open(folder / "rows.jsonl", "w", encoding="utf-8") as rows:
        for _ in range(16 * samples):
            rows.write(json.dumps({"ids": [rng.randrange(config["vocab_size"]) for _ in range(positions)]}) + "\n")
    (folder / "train.yaml").write_text(json.dumps({
        "model": {"config": str(folder)}, "data": {"path": str(folder / "rows.jsonl"), "seq": positions},
        "run": {"dir": str(folder / "run"), "steps": 1, "checkpoint_every": 0, "checkpoint_async": False},
        "batch": {"global": samples, "micro": samples}, "optim": {"lr": 1e-4}, "dtype": "bf16"}), encoding="utf-8")
    return folder
