#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of tests/fuzz/corpus: one small good file for each thing that a format can say.

What the fuzzer itself found stands beside them under the name of what was wrong.
"""

import hashlib
import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def safetensors(tensors, meta=None):
    header, data = {}, b""
    if meta is not None:
        header["__metadata__"] = meta
    for name, dtype, shape, size in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(range(size))
    text = compact(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def make_safetensors():
    put("safetensors", "empty", safetensors([]))
    put("safetensors", "one", safetensors([("a", "F32", [2, 3], 24)], {"format": "pt"}))
    put("safetensors", "kinds", safetensors([("w.0", "BF16", [2, 2], 8), ("none", "I64", [0, 7], 0),
                                             ("s", "F16", [], 2), ("b", "BOOL", [3], 3),
                                             ("f", "F4", [4], 2), ("e", "F8_E4M3", [1, 1], 1)]))


TYPES = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8,
         "arr": 9, "u64": 10, "i64": 11, "f64": 12}  # fmt: skip
PACK = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f",
        "bool": "B", "u64": "Q", "i64": "q", "f64": "d"}  # fmt: skip


def gguf_text(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    return gguf_text(value) if kind == "str" else struct.pack("<" + PACK[kind], value)


def gguf(keys, tensors, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for name, kind, value in keys:
        out += gguf_text(name)
        if kind.startswith("["):
            inner = kind[1:]
            out += struct.pack("<IIQ", TYPES["arr"], TYPES[inner], len(value))
            out += b"".join(gguf_value(inner, x) for x in value)
        else:
            out += struct.pack("<I", TYPES[kind]) + gguf_value(kind, value)
    data = b""
    for name, kind, shape, raw in tensors:
        out += gguf_text(name) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", d) for d in reversed(shape))
        out += struct.pack("<IQ", kind, len(data))
        data += raw + bytes(-len(raw) % alignment)
    return out + bytes(-len(out) % alignment) + data


def letters():
    """The byte-level alphabet, by byte."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    out, extra = {}, 0
    for b in range(256):
        if b in plain:
            out[b] = chr(b)
        else:
            out[b] = chr(256 + extra)
            extra += 1
    return out


VOCABULARY = [("tokenizer.ggml.model", "str", "gpt2"), ("tokenizer.ggml.pre", "str", "smollm"),
              ("tokenizer.ggml.tokens", "[str", ["a", "b", "ab", "<s>"]),
              ("tokenizer.ggml.token_type", "[i32", [1, 1, 1, 3]),
              ("tokenizer.ggml.merges", "[str", ["a b"]),
              ("tokenizer.ggml.bos_token_id", "u32", 3), ("tokenizer.ggml.eos_token_id", "u32", 3),
              ("tokenizer.ggml.add_bos_token", "bool", 1)]  # fmt: skip


def llama(extra=()):
    keys = [("general.architecture", "str", "llama"), ("llama.context_length", "u32", 8),
            ("llama.embedding_length", "u32", 4), ("llama.block_count", "u32", 1),
            ("llama.feed_forward_length", "u32", 4), ("llama.attention.head_count", "u32", 2),
            ("llama.attention.head_count_kv", "u32", 1), ("llama.rope.dimension_count", "u32", 2),
            ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5)]  # fmt: skip
    shapes = [("token_embd.weight", [4, 4]), ("output_norm.weight", [4]),
              ("blk.0.attn_norm.weight", [4]), ("blk.0.attn_q.weight", [4, 4]),
              ("blk.0.attn_k.weight", [2, 4]), ("blk.0.attn_v.weight", [2, 4]),
              ("blk.0.attn_output.weight", [4, 4]), ("blk.0.ffn_norm.weight", [4]),
              ("blk.0.ffn_gate.weight", [4, 4]), ("blk.0.ffn_up.weight", [4, 4]),
              ("blk.0.ffn_down.weight", [4, 4])]  # fmt: skip
    tensors = []
    for name, shape in shapes:
        n = 1
        for d in shape:
            n *= d
        tensors.append((name, 1, shape, bytes(2 * n)))
    return gguf(keys + list(extra), tensors)


def make_gguf():
    put("gguf", "plain", gguf([("general.architecture", "str", "llama")], [("a", 0, [32], bytes(128))]))
    put("gguf", "values", gguf([("k." + kind, kind, 1) for kind in PACK] +
                               [("t", "str", "caf\u00e9"), ("l", "[i16", [-1, 2]), ("n", "[str", ["", "x"]),
                                ("general.alignment", "u32", 8)],
                               [("q", 8, [2, 32], bytes(68)), ("k4", 12, [256], bytes(144))], 8))
    put("gguf", "vocabulary", gguf(VOCABULARY, []))
    put("gguf", "llama", llama(VOCABULARY))
    put("gguf", "scaled", llama([("llama.rope.scaling.type", "str", "yarn"),
                                 ("llama.rope.scaling.factor", "f32", 4.0),
                                 ("llama.rope.scaling.original_context_length", "u32", 4),
                                 ("tokenizer.chat_template", "str", "<|im_start|><|im_end|>\n")]))


LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
         "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "vocab_size": 32, "rms_norm_eps": 1e-6,
         "tie_word_embeddings": True, "hidden_act": "silu", "max_position_embeddings": 64}  # fmt: skip
DEEPSEEK = {"model_type": "deepseek_v3", "hidden_size": 8, "intermediate_size": 16,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
            "vocab_size": 32, "q_lora_rank": 4, "kv_lora_rank": 4, "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 2, "v_head_dim": 4, "n_routed_experts": 8, "n_shared_experts": 1,
            "num_experts_per_tok": 2, "moe_intermediate_size": 4, "first_k_dense_replace": 1,
            "n_group": 2, "topk_group": 1, "num_nextn_predict_layers": 1,
            "rope_scaling": {"type": "yarn", "factor": 4, "mscale": 1.0, "mscale_all_dim": 1.0,
                             "original_max_position_embeddings": 16}}  # fmt: skip


def make_config():
    put("config", "llama", compact(LLAMA))
    put("config", "deepseek_v3", compact(DEEPSEEK))
    put("config", "llama3", compact({**LLAMA, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}}))
    put("config", "qwen3", compact({**LLAMA, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"],
                                    "head_dim": 4, "eos_token_id": [1, 2], "rope_parameters": {
                                        "rope_type": "default", "rope_theta": 1e6}}))
    put("config", "fp8", compact({**DEEPSEEK, "quantization_config": {
        "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [2, 2]}}))
    put("config", "json", '[0,-1.5e3,1000000000000000000000,"\\ud83d\\ude00\\n",{"a":[],"b":{}},null,true]')
    put("hub", "index", compact({"metadata": {"total_size": 16}, "weight_map": {"a": "a", "b": "b"}}))
    put("hub", "away", compact({"weight_map": {"a": "../a", "b": "/b"}}))


def tokenizer(pre, **more):
    alphabet = letters()
    vocab = {alphabet[b]: i for i, b in enumerate([32, 97, 98, 99, 195, 169, 49])}
    vocab.update({"ab": 7, "\u0120ab": 8})
    return {"version": "1.0", "added_tokens": [
        {"id": 9, "content": "<s>", "special": True, "normalized": False, "lstrip": False}],
        "normalizer": None, "pre_tokenizer": pre, "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": ["a b", ["\u0120", "ab"]]}, **more}  # fmt: skip


def make_tokenizer():
    gpt2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    put("tokenizer", "gpt2", compact(tokenizer(gpt2)))
    put("tokenizer", "smollm", compact(tokenizer({"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, gpt2]}, normalizer={"type": "NFC"})))
    put("tokenizer", "bos", compact(tokenizer(gpt2, post_processor={
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                 {"Sequence": {"id": "A", "type_id": 0}}]})))


def make_text():
    text = "the <s> fox 12345 caf\u00e9 \u4e2d\u6587\r\n  it's <|x|> \U0001f600 e\u0301\n\n".encode()
    for i in range(7):
        put("text", f"split{i}", bytes([i]) + text)
    put("text", "broken", b"\x00\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xe4\xb8\x00\xe4")
    put("text", "long", b"\x02" + b"a" * 300 + b" " * 40)


def make_chat():
    for i in range(9):
        put("chat", f"template{i}", bytes([i | 0x20]) + b"\x02be brief\xff\x00hello <|im_end|>\xff"
            b"\x41<think>\nno\n</think>\n\nyes\xff\x00and?\xff")
    put("chat", "chatml", "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{{ '<|im_start|>assistant\\n' }}")
    put("chat", "llama3", "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + "
        "m['content'] | trim + '<|eot_id|>' }}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}")


def make_yaml():
    put("yaml", "nested", "model:\n  path: m\ndata: {path: d, seq: 8}\nrun:\n  dir: r\n  steps: 3\n"
        "optim:\n  lr: 1e-3\nranks: [{chip: cpu, share: 2}]\n")
    put("yaml", "dotted", 'model.config: "c.json"\ndata.path: d\ndata.seq: 16\nrun.dir: \'r\'\n'
        "run.steps: 10\nschedule.kind: cosine\ndtype: bf16\nbatch.global: 4\n")
    put("yaml", "odd", "? [a, b]\n: &x {c: *x}\n--- |\n text\n...\n")


def make_checkpoint():
    files = [("config.json", b"x"), ("model.safetensors", b"x"), ("optimizer.safetensors", b"x"),
             ("state.json", b'{"step":1}'), ("train.yaml", b"x")]
    put("checkpoint", "whole", compact({"schema": 1, "step": 1, "files": [
        {"name": n, "bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in files]}))
    put("checkpoint", "none", compact({"schema": 1, "files": []}))


def shard(documents, id_bytes):
    ids = [i for d in documents for i in d]
    ends, at = [], 0
    for d in documents:
        at += len(d)
        ends.append(at)
    body = b"MZTOKENS" + struct.pack("<II", 1, id_bytes) + bytes(48)
    body += b"".join(struct.pack("<H" if id_bytes == 2 else "<I", i) for i in ids)
    body += bytes(-len(body) % 8) + b"".join(struct.pack("<Q", e) for e in ends)
    tail = hashlib.sha256(body).digest()[7::-1]
    tail += struct.pack("<7Q", len(documents), len(ids), max(ids, default=-1) + 1, 1, len(body), 0, 0)
    return body + tail + hashlib.sha256(tail).digest()[7::-1]


def make_shards():
    put("shards", "two", shard([[1, 2, 3], [4, 5, 6, 7, 8]], 2))
    put("shards", "wide", shard([[70000], [9, 8]], 4))
    put("shards", "none", shard([], 2))


def main():
    for make in (make_safetensors, make_gguf, make_config, make_tokenizer, make_text, make_chat,
                 make_yaml, make_checkpoint, make_shards):
        make()


if __name__ == "__main__":
    main()
