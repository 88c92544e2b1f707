/* SPDX-License-Identifier: Apache-2.0 */
/* app/topics.c - what is worth knowing beyond single commands, for `mizan help TOPIC`. Floor: app.
 */
#include "app/manual.h"

const mz_topic mz_topics[] = {
    {"chips", "what computes, how it is named and chosen",
     "A chip is a table of operators. --chip NAME chooses one, MIZAN_CHIP is the\n"
     "default, and cpu where neither is given. `mizan chips` lists what is usable\n"
     "here, with the reason where something is not; --all adds the test chips.\n"
     "\n"
     "  cpu            this machine's processor: --isa chooses instructions,\n"
     "                 --threads how many threads, on which no bit depends\n"
     "  ref            the reference in double precision: slow and obvious\n"
     "  far            a test chip: memory apart from the host's, late faults\n"
     "  hosted:CHIP    CHIP, and the host for the operators that it lacks\n"
     "\n"
     "No SDK is needed to build or start: a vendor's library is opened when a chip of\n"
     "that kind is asked for, from --driver-path first. `mizan chips check CHIP` holds\n"
     "every operator of a chip against ref on random shapes; `mizan chips coverage`\n"
     "says which operators it has in which type.\n"},
    {"placement", "one run on several chips",
     "A run may use several chips, one process (a rank) for each:\n"
     "\n"
     "  ranks: [{chip: cpu, share: 2}, {chip: \"far\", share: 1}]\n"
     "\n"
     "share cuts every batch into whole samples in that proportion; every rank holds\n"
     "the whole model. layers in place of share makes a pipeline: each rank holds so\n"
     "many layers. Sums across ranks are made in a defined order, so the same\n"
     "placement gives the same bits, whatever the timing.\n"
     "\n"
     "A rank that dies or hangs is named. run.on_fault says what happens then: the\n"
     "rest go on, all start again from the last checkpoint, or the run stops with 75.\n"
     "A checkpoint does not know how many ranks made it: any placement goes on from\n"
     "it. Under mpirun or srun the started processes are the ranks.\n"
     "`mizan train CONFIG.yaml --dry-run` says what it would take in memory.\n"},
    {"files", "formats that are read and written, and what a run leaves",
     "A MODEL is a Hugging Face folder (config.json, safetensors in one file or in\n"
     "shards, tokenizer.json) or a GGUF file. `mizan convert` goes from one to the\n"
     "other, tokenizer and chat template included; `mizan inspect` shows what is in\n"
     "one, `mizan verify` reads every number and checks every checksum.\n"
     "\n"
     "Texts are plain files, JSONL with a document a line, or either packed by zstd.\n"
     "`mizan data build` makes token shards of them, with checksums.\n"
     "\n"
     "A run is a folder (run.dir):\n"
     "\n"
     "  train.yaml     the configuration that it runs by\n"
     "  log.jsonl      one object a step: loss, lr, grad_norm, tokens_per_s\n"
     "  tensorboard    the same for TensorBoard (run.tensorboard)\n"
     "  checkpoints    the last ones and the best, each whole or absent\n"
     "  id             what `mizan runs list` calls it, wherever it is moved\n"
     "\n"
     "Whatever Mizan writes appears whole or not at all. `mizan train` on a folder\n"
     "that holds a run goes on with it, to the same bits as if it had not stopped.\n"},
    {"numbers", "types, limits, and when bits are the same",
     "--dtype is what is computed in: f32, bf16, f16 or f64, as far as a chip has it.\n"
     "Sums are kept in f32 or wider. Weights of a GGUF may stay in their blocks.\n"
     "\n"
     "Every operator of a chip is held to ref under limits that are written down once\n"
     "(docs/numerics.md); no chip has an exception. A comparison with NaN fails.\n"
     "\n"
     "The same build, instruction set and placement give the same bits: on every run,\n"
     "for any number of threads, and across a resume. `mizan runs hash RUN` prints\n"
     "SHA-256 of weights, optimizer, random numbers and cursor. Random numbers are\n"
     "counter-based and the same on every chip; --seed chooses them.\n"
     "\n"
     "Loss is in nats a token; bits a byte, which `mizan eval` prints too, can be\n"
     "compared between tokenizers. Exit code 77 means that numbers are wrong.\n"},
    {0}};
