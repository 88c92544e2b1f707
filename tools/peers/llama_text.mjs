// SPDX-License-Identifier: Apache-2.0
// What smollm2.py asks of llama.cpp: greedy tokens after chats, and the log-probability of texts. A request in the file that
// is named, an answer on stdout: {model, chats: [[id]], greedy, windows: [[id]], threads, cache} -> {greedy: [[id]], nll, counted, tokens_per_s}.
import fs from "fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const request = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const threads = request.threads ?? 1;
const llama = await getLlama({gpu: false, build: "never", maxThreads: threads, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: request.model});
const context = await model.createContext({
    contextSize: 512, batchSize: 512, sequences: 1, flashAttention: false, threads,
    experimentalKvCacheKeyType: request.cache ?? "F32", experimentalKvCacheValueType: request.cache ?? "F32",
});
const sequence = context.getSequence();
const options = {temperature: 1, topK: 0, topP: 1, minP: 0, seed: 1};
const best = {generateNext: {options, logits: {filter: {includeTop: 1}}}};
const of = (token) => ({generateNext: {options, totalLogitWeight: true, logits: {filter: {tokens: [token], includeTop: 1}}}});

const top = (out) => [...out[out.length - 1].next.logits].reduce((a, b) => (b[1] > a[1] ? b : a))[0];

const answer = {greedy: [], nll: 0, counted: 0, tokens_per_s: 0};
let steps = 0, seconds = 0;
for (const ids of request.chats ?? []) {
    await sequence.clearHistory();
    const prompt = ids.map((id, i) => (i + 1 === ids.length ? [id, best] : id));
    const greedy = [top((await sequence.controlledEvaluate(prompt)).filter((one) => one != null))];
    const start = process.hrtime.bigint();
    while (greedy.length < request.greedy) greedy.push(top(await sequence.controlledEvaluate([[greedy[greedy.length - 1], best]])));
    seconds += Number(process.hrtime.bigint() - start) * 1e-9;
    steps += greedy.length - 1;
    answer.greedy.push(greedy);
}
answer.tokens_per_s = steps / seconds;
for (const ids of request.windows ?? []) {
    await sequence.clearHistory();
    const asked = ids.map((id, i) => (i + 1 < ids.length ? [id, of(ids[i + 1])] : id));
    const out = await sequence.controlledEvaluate(asked);
    for (let i = 0; i + 1 < ids.length; i++) {
        const {logits, totalLogitWeight} = out[i].next;
        const max = Math.max(...logits.values());
        answer.nll -= logits.get(ids[i + 1]) - max - Math.log(totalLogitWeight);
        answer.counted++;
    }
}
process.stdout.write(JSON.stringify(answer) + "\n", () => process.exit(0));
