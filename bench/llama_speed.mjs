// SPDX-License-Identifier: Apache-2.0
// llama.cpp on a GGUF file: llama_speed.mjs MODEL THREADS PREFILL DECODE -> {prefill_ns, decode_ns}: of PREFILL tokens in
// one batch, after one that is not counted, and of DECODE more, one after the other, without choosing among them.
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [path, threads, prefill, decode] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const llama = await getLlama({gpu: false, build: "never", maxThreads: threads, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: path});
const context = await model.createContext({
    contextSize: prefill + decode + 8, batchSize: prefill, sequences: 1, threads,
});
const sequence = context.getSequence();
const ids = Array.from({length: prefill}, (_, i) => 1000 + (i * 7919) % 20000);
let prefill_ns = 0;
for (let i = 0; i < 2; i++) {
    await sequence.clearHistory();
    const start = process.hrtime.bigint();
    await sequence.evaluateWithoutGeneratingNewTokens(ids);
    prefill_ns = Number(process.hrtime.bigint() - start);
}
const start = process.hrtime.bigint();
for (let i = 0; i < decode; i++) await sequence.evaluateWithoutGeneratingNewTokens([ids[i]]);
const decode_ns = Number(process.hrtime.bigint() - start);
process.stdout.write(JSON.stringify({prefill_ns, decode_ns}) + "\n", () => process.exit(0));
