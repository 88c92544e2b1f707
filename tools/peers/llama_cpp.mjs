// SPDX-License-Identifier: Apache-2.0
// Probabilities and greedy tokens, or ids of texts, out of llama.cpp: a request on stdin, an answer on stdout.
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const parts = [];
for await (const part of process.stdin) parts.push(part);
const request = JSON.parse(Buffer.concat(parts).toString("utf8"));
const llama = await getLlama({gpu: false, build: "never", maxThreads: 1, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: request.model});
if (request.texts) {
    const ids = request.texts.map((text) => model.tokenize(text, request.special));
    process.stdout.write(JSON.stringify({ids}) + "\n", () => process.exit(0));
    await new Promise(() => {});
}
const context = await model.createContext({
    contextSize: 128, sequences: 1, flashAttention: false, threads: 1,
    experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
});
const sequence = context.getSequence();
const options = {temperature: 1, topK: 0, topP: 1, minP: 0, seed: 1};
const ask = {generateNext: {probabilities: true, options}};

const top = (pairs) => [...pairs].reduce((a, b) => (b[1] > a[1] ? b : a))[0];

const answer = {probabilities: [], greedy: []};
for (const ids of request.ids) {
    await sequence.clearHistory();
    const out = await sequence.controlledEvaluate(ids.map((id) => [id, ask]));
    answer.probabilities.push(out.map((one) => [...one.next.probabilities]));
    let best = top(out[out.length - 1].next.probabilities);
    const greedy = [best];
    while (greedy.length < request.greedy) {
        const [one] = await sequence.controlledEvaluate([[best, ask]]);
        best = top(one.next.probabilities);
        greedy.push(best);
    }
    answer.greedy.push(greedy);
}
process.stdout.write(JSON.stringify(answer) + "\n", () => process.exit(0));
