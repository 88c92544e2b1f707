/* SPDX-License-Identifier: Apache-2.0 */
/* train/config.c - see config.h. */
#include "train/config.h"

#include "base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(mz_train_config, member)

static const double BIG = 9007199254740992.0; /* 2^53: what a double counts exactly */
#define BIG_COUNT 9007199254740992.0

const mz_key mz_keys[] = {
    {"model.path", MZ_KEY_TEXT, AT(model_path), 0, 0, "", NULL, true,
     "start from the weights of this Hugging Face folder or GGUF file"},
    {"model.config", MZ_KEY_TEXT, AT(model_config), 0, 0, "", NULL, true,
     "start from random weights of the network that this config.json (or its folder) describes"},
    {"data.path", MZ_KEY_TEXT, AT(data_path), 0, 0, NULL, NULL, true,
     "folder of `mizan data build`, or JSONL with one sample a line: {\"ids\": [...]} or "
     "{\"messages\": [...]}"},
    {"data.tokenizer", MZ_KEY_TEXT, AT(data_tokenizer), 0, 0, "", NULL, true,
     "whose tokenizer and chat template read messages, and go along with checkpoints; \"\": the "
     "model's, else that of the shards"},
    {"data.chat", MZ_KEY_TEXT, AT(data_chat), 0, 0, "", NULL, true,
     "a built-in chat template for messages instead of the model's own"},
    {"data.validation", MZ_KEY_TEXT, AT(data_validation), 0, 0, "", NULL, false,
     "what to validate on; \"\": the validation part of the shards of data.path"},
    {"data.seq", MZ_KEY_INT, AT(data_seq), 1, 16777216, NULL, NULL, true,
     "positions of a row of shards, and of the longest JSONL sample; a longer one is refused"},
    {"data.shuffle", MZ_KEY_BOOL, AT(data_shuffle), 0, 0, "true", NULL, true,
     "another order in every epoch; false: samples in order"},
    {"data.pack", MZ_KEY_BOOL, AT(data_pack), 0, 0, "true", NULL, true,
     "cut token shards into full rows, else document by document; JSONL is taken as it is"},
    {"data.across", MZ_KEY_BOOL, AT(data_across), 0, 0, "false", NULL, true,
     "attend from a document of a row to those before it; else each is alone"},
    {"run.dir", MZ_KEY_TEXT, AT(run_dir), 0, 0, NULL, NULL, false, "folder of the run"},
    {"run.steps", MZ_KEY_INT, AT(run_steps), 1, BIG_COUNT, NULL, NULL, true, "steps in all"},
    {"run.seed", MZ_KEY_INT, AT(run_seed), 0, BIG_COUNT, "0", NULL, true,
     "of random weights and of the order of samples"},
    {"run.checkpoint_every", MZ_KEY_INT, AT(run_checkpoint_every), 0, BIG_COUNT, "500", NULL, false,
     "steps between checkpoints; 0: only at the end and when stopped"},
    {"run.checkpoint_async", MZ_KEY_BOOL, AT(run_checkpoint_async), 0, 0, "true", NULL, false,
     "write checkpoints while training goes on, from a copy in host memory"},
    {"run.tensorboard", MZ_KEY_BOOL, AT(run_tensorboard), 0, 0, "true", NULL, false,
     "write event files for TensorBoard into RUN/tensorboard"},
    {"run.keep", MZ_KEY_INT, AT(run_keep), 1, 1000000, "2", NULL, false,
     "checkpoints that are kept, the newest ones"},
    {"run.eval_every", MZ_KEY_INT, AT(run_eval_every), 0, BIG_COUNT, "0", NULL, false,
     "steps between validations; 0: never"},
    {"run.eval_samples", MZ_KEY_INT, AT(run_eval_samples), 0, BIG_COUNT, "256", NULL, false,
     "samples of a validation, always the first ones; 0: all there are"},
    {"run.keep_best", MZ_KEY_BOOL, AT(run_keep_best), 0, 0, "true", NULL, false,
     "save the state with the lowest validation loss, and keep it"},
    {"run.sample_every", MZ_KEY_INT, AT(run_sample_every), 0, BIG_COUNT, "0", NULL, false,
     "steps between texts that the model writes; 0: never"},
    {"run.sample_prompt", MZ_KEY_TEXT, AT(run_sample_prompt), 0, 0, "", NULL, false,
     "what such a text goes on from"},
    {"run.sample_tokens", MZ_KEY_INT, AT(run_sample_tokens), 1, 65536, "32", NULL, false,
     "tokens of it"},
    {"run.stop_after", MZ_KEY_REAL, AT(run_stop_after), 0, 1e12, "0", NULL, false,
     "seconds after which the run saves and ends with exit code 75; 0: never"},
    {"run.on_fault", MZ_KEY_CHOICE, AT(run_on_fault), 0, 0, "continue", "continue|restart|stop",
     false,
     "when one of several ranks dies, stalls or its chip fails: go on from the last checkpoint "
     "without it, start all again from there, or end with exit code 75"},
    {"run.retake_after", MZ_KEY_REAL, AT(run_retake_after), 0, 1e9, "60", NULL, false,
     "seconds after which a run that goes on without a rank looks whether its chip is there again, "
     "and takes it back from a saved state; longer with each time; 0: never"},
    {"run.stuck_after", MZ_KEY_REAL, AT(run_stuck_after), 0, 1e9, "600", NULL, false,
     "seconds after which one of several ranks that calls no operator is taken for stuck; 0: "
     "never"},
    {"run.collectives", MZ_KEY_CHOICE, AT(run_collectives), 0, 0, "auto", "auto|host|device", false,
     "who adds up the gradients of like chips on one machine: the devices themselves where they "
     "can, else the host, and every later start alike; the host; or the devices, and the run ends "
     "where they cannot"},
    {"batch.global", MZ_KEY_INT, AT(batch_global), 1, 1e9, NULL, NULL, true, "samples of a step"},
    {"batch.micro", MZ_KEY_INT, AT(batch_micro), 1, 1e9, "1", NULL, false,
     "samples of one forward and backward pass"},
    {"optim.lr", MZ_KEY_REAL, AT(lr), 0, 1e6, NULL, NULL, true, "largest learning rate"},
    {"optim.beta1", MZ_KEY_REAL, AT(beta1), 0, 1, "0.9", NULL, true, "of AdamW; below 1"},
    {"optim.beta2", MZ_KEY_REAL, AT(beta2), 0, 1, "0.95", NULL, true, "of AdamW; below 1"},
    {"optim.eps", MZ_KEY_REAL, AT(eps), 0, 1, "1e-8", NULL, true, "of AdamW; above 0"},
    {"optim.weight_decay", MZ_KEY_REAL, AT(weight_decay), 0, 1000, "0.1", NULL, true,
     "of matrices, embeddings included"},
    {"optim.clip", MZ_KEY_REAL, AT(clip), 0, 1e12, "1", NULL, true,
     "largest norm of all gradients together; 0: off"},
    {"schedule.kind", MZ_KEY_CHOICE, AT(schedule_kind), 0, 0, "constant",
     "constant|cosine|wsd|step", true, "how the learning rate goes after the warm-up"},
    {"schedule.warmup", MZ_KEY_INT, AT(schedule_warmup), 0, BIG_COUNT, "0", NULL, true,
     "steps in which it rises to optim.lr"},
    {"schedule.min_lr", MZ_KEY_REAL, AT(schedule_min_lr), 0, 1e6, "0", NULL, true,
     "where it ends; at most optim.lr"},
    {"schedule.decay", MZ_KEY_REAL, AT(schedule_decay), 0, 1, "0.1", NULL, true,
     "share of the steps at the end in which wsd falls"},
    {"dtype", MZ_KEY_CHOICE, AT(dtype), 0, 0, "f32", "f32|bf16", true,
     "of the computation; master weights are f32"},
    {"recompute", MZ_KEY_BOOL, AT(recompute), 0, 0, "false", NULL, false,
     "compute activations twice instead of keeping them"},
    {"moe.bias_rate", MZ_KEY_REAL, AT(moe_bias_rate), 0, 1, "0", NULL, true,
     "by which the selection bias of an expert moves after a step, against its load"},
    {"moe.balance", MZ_KEY_REAL, AT(moe_balance), 0, 1000, "0", NULL, true,
     "weight of the sequence-wise balance loss"},
    {"mtp.weight", MZ_KEY_REAL, AT(mtp_weight), 0, 1000, "0", NULL, true,
     "weight of the loss of the MTP layers"},
    {"lora.rank", MZ_KEY_INT, AT(lora_rank), 0, 65536, "0", NULL, true, "0: all weights train"},
    {"lora.alpha", MZ_KEY_REAL, AT(lora_alpha), 0, 1e6, "16", NULL, true, "scale is alpha / rank"},
    {"lora.targets", MZ_KEY_WORDS, AT(lora_targets), 0, 0, "", NULL, true,
     "names of the adapted linear maps: a list, or text with commas between; \"\" or all-linear: "
     "all of the blocks'"},
    {"lora.adapter", MZ_KEY_TEXT, AT(lora_adapter), 0, 0, "", NULL, false,
     "folder of the adapter to begin with; \"\": a new one"},
    {"guard.sigma", MZ_KEY_REAL, AT(guard_sigma), 0, 1e6, "6", NULL, true,
     "a step beyond mean + this many sigma is skipped; 0: only NaN and infinities"},
    {"guard.window", MZ_KEY_INT, AT(guard_window), 2, 4096, "128", NULL, true,
     "steps that mean and sigma are taken over"},
    {"guard.most", MZ_KEY_INT, AT(guard_most), 1, BIG_COUNT, "10", NULL, false,
     "skipped steps in a row after which the run ends with exit code 77"},
    {"ranks", MZ_KEY_RANKS, AT(ranks), 0, 0, "[]", NULL, false,
     "one process a chip: [{chip: cpu, share: 1}], share: of every step's samples, a "
     "number or auto (measured when the run begins); or a pipeline: "
     "[{chip: cpu, layers: 1}], layers: how many of the network's"},
};

int mz_key_count(void)
{
    return MZ_COUNT(mz_keys);
}

const mz_key *mz_key_find(const char *name)
{
    for (int i = 0; i < MZ_COUNT(mz_keys); i++)
        if (strcmp(mz_keys[i].name, name) == 0) return &mz_keys[i];
    return NULL;
}

/* ---- messages ---- */

mz_err mz_config_bad(const mz_place *at, const char *key, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (at->line > 0)
        mz_note(MZ_ECONFIG, __FILE__, __LINE__, "%s:%d:%d: %s", at->file, at->line, at->column,
                text);
    else if (at->word)
        mz_note(MZ_ECONFIG, __FILE__, __LINE__, "%.200s:%d: %s", at->word, at->column, text);
    else
        mz_note(MZ_ECONFIG, __FILE__, __LINE__, "%s%s%s", at->file, at->file[0] ? ": " : "", text);
    mz_note_where(at->file, key, at->offset);
    const mz_key *known = mz_key_find(key);
    if (known)
        mz_note_fix("%s: %s%s%s%s", key, known->help, known->otherwise ? " (default: " : "",
                    known->otherwise ? known->otherwise : "", known->otherwise ? ")" : "");
    else
        mz_note_fix("lines are `NAME: VALUE`, those of a section indented by spaces; `mizan config "
                    "schema` lists every key");
    return MZ_ECONFIG;
}

mz_err mz_config_unknown(const mz_place *at, const char *key)
{
    const char *names[MZ_COUNT(mz_keys)];
    for (int i = 0; i < MZ_COUNT(mz_keys); i++) names[i] = mz_keys[i].name;
    const char *near = mz_str_nearest(key, names, MZ_COUNT(names));
    for (int i = 0; !near && i < MZ_COUNT(mz_keys); i++) { /* "lr" for "optim.lr" */
        const char *dot = strrchr(names[i], '.');
        const char *last = strrchr(key, '.');
        if (dot && strcmp(dot + 1, last ? last + 1 : key) == 0) near = names[i];
    }
    const mz_err err =
        near ? mz_config_bad(at, key, "there is no key %s; did you mean %s?", key, near)
             : mz_config_bad(at, key, "there is no key %s", key);
    mz_note_fix("`mizan config schema` lists every key");
    return err;
}

/* ---- values ---- */

static int choice_index(const char *choices, const char *text)
{
    const size_t len = strlen(text);
    int i = 0;
    for (const char *c = choices; *c; i++) {
        const size_t n = strcspn(c, "|");
        if (n == len && strncmp(c, text, n) == 0) return i;
        c += n + (c[n] == '|');
    }
    return -1;
}

static const char *choice_at(const char *choices, int64_t i, int *len)
{
    while (i-- > 0) choices += strcspn(choices, "|") + 1;
    *len = (int)strcspn(choices, "|");
    return choices;
}

/* Whole numbers may be written as 2e3. */
static bool to_int(const char *text, int64_t *out)
{
    double x;
    if (mz_str_to_i64(text, out)) return true;
    if (!mz_str_to_f64(text, &x) || !(fabs(x) <= BIG) || floor(x) < x) return false;
    *out = (int64_t)x;
    return true;
}

static mz_err set_number(mz_train_config *c, const mz_key *key, const char *text,
                         const mz_place *at)
{
    char *field = (char *)c + key->offset;
    int64_t n = 0;
    double x = 0.0;
    const bool is_int = key->kind == MZ_KEY_INT;
    if (is_int ? !to_int(text, &n) : !mz_str_to_f64(text, &x))
        return mz_config_bad(at, key->name, "%s is \"%.64s\", want %s", key->name, text,
                             is_int ? "a whole number" : "a number");
    if (is_int) x = (double)n;
    if (!(x >= key->least && x <= key->most))
        return mz_config_bad(at, key->name, "%s is %s, want %.17g to %.17g", key->name, text,
                             key->least, key->most);
    if (is_int)
        memcpy(field, &n, sizeof n);
    else
        memcpy(field, &x, sizeof x);
    return MZ_OK;
}

static mz_err too_long(const mz_key *key, const mz_place *at)
{
    return mz_config_bad(at, key->name, "%s is longer than %d bytes", key->name,
                         MZ_CONFIG_TEXT - 1);
}

static mz_err set_text(mz_train_config *c, const mz_key *key, const char *text, const mz_place *at)
{
    if (strlen(text) >= MZ_CONFIG_TEXT) return too_long(key, at);
    memcpy((char *)c + key->offset, text, strlen(text) + 1);
    return MZ_OK;
}

/* "q_proj, v_proj" and "[q_proj, v_proj]" (as KEY=VALUE has lists) are kept as "q_proj,v_proj".
 * PEFT's word for every linear map is kept as no word. */
static mz_err set_words(mz_train_config *c, const mz_key *key, const char *text, const mz_place *at)
{
    char kept[MZ_CONFIG_TEXT] = "";
    const char *end = text + strlen(text);
    if (*text == '[' && end[-1] == ']') {
        text++;
        end--;
    }
    for (size_t len = 0; text < end;) {
        static const char AROUND[] = " \t\"'";
        const char *stop = text + strcspn(text, ",");
        if (stop > end) stop = end;
        const char *next = stop + (stop < end);
        text += strspn(text, AROUND);
        while (stop > text && strchr(AROUND, stop[-1])) stop--;
        const size_t n = stop > text ? (size_t)(stop - text) : 0;
        if (n == 0 || memchr(text, '[', n) || memchr(text, ']', n) || memchr(text, '{', n))
            return mz_config_bad(at, key->name, "%s is not a list of names: [q_proj, v_proj]",
                                 key->name);
        if (len + n + 2 > sizeof kept) return too_long(key, at);
        if (len > 0) kept[len++] = ',';
        memcpy(kept + len, text, n);
        len += n;
        kept[len] = '\0';
        text = next;
    }
    return set_text(c, key, strcmp(kept, "all-linear") == 0 ? "" : kept, at);
}

mz_err mz_key_set(mz_train_config *c, const mz_key *key, const char *text, const mz_place *at)
{
    char *field = (char *)c + key->offset;
    switch (key->kind) {
    case MZ_KEY_INT:
    case MZ_KEY_REAL:
        return set_number(c, key, text, at);
    case MZ_KEY_BOOL: {
        const bool yes = strcmp(text, "true") == 0;
        if (!yes && strcmp(text, "false") != 0)
            return mz_config_bad(at, key->name, "%s is \"%.64s\", want true or false", key->name,
                                 text);
        memcpy(field, &yes, sizeof yes);
        return MZ_OK;
    }
    case MZ_KEY_CHOICE: {
        const int64_t i = choice_index(key->choices, text);
        if (i < 0)
            return mz_config_bad(at, key->name, "%s is \"%.64s\", want one of %s", key->name, text,
                                 key->choices);
        memcpy(field, &i, sizeof i);
        return MZ_OK;
    }
    case MZ_KEY_TEXT:
        return set_text(c, key, text, at);
    case MZ_KEY_WORDS:
        return set_words(c, key, text, at);
    case MZ_KEY_RANKS:
        return mz_config_parse_ranks(c, text, at);
    }
    return MZ_FAIL(MZ_EINVAL, "a key of no kind");
}

static mz_err write_ranks(mz_str *out, const mz_train_config *c)
{
    MZ_TRY(mz_str_add(out, "[", 1));
    for (int64_t i = 0; i < c->n_ranks; i++) {
        MZ_TRY(mz_str_addf(out, "%s{chip: ", i ? ", " : ""));
        MZ_TRY(mz_str_add_quoted(out, c->ranks[i].chip));
        if (c->ranks[i].layers > 0)
            MZ_TRY(mz_str_addf(out, ", layers: %lld}", (long long)c->ranks[i].layers));
        else if (c->ranks[i].share == 0)
            MZ_TRY(mz_str_addf(out, ", share: auto}"));
        else
            MZ_TRY(mz_str_addf(out, ", share: %lld}", (long long)c->ranks[i].share));
    }
    return mz_str_add(out, "]", 1);
}

/* The shortest text that reads back to the same number. */
static mz_err write_real(mz_str *out, double x)
{
    char text[40];
    double back = 0.0;
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, x);
        if (mz_str_to_f64(text, &back) && back >= x && back <= x) break;
    }
    return mz_str_addf(out, "%s", text);
}

mz_err mz_key_write(const mz_key *key, const mz_train_config *c, mz_str *out)
{
    const char *field = (const char *)c + key->offset;
    int64_t n;
    double x;
    bool yes;
    int len;
    switch (key->kind) {
    case MZ_KEY_INT:
        memcpy(&n, field, sizeof n);
        return mz_str_addf(out, "%lld", (long long)n);
    case MZ_KEY_REAL:
        memcpy(&x, field, sizeof x);
        return write_real(out, x);
    case MZ_KEY_BOOL:
        memcpy(&yes, field, sizeof yes);
        return mz_str_addf(out, "%s", yes ? "true" : "false");
    case MZ_KEY_CHOICE: {
        memcpy(&n, field, sizeof n);
        const char *text = choice_at(key->choices, n, &len);
        return mz_str_add(out, text, (size_t)len);
    }
    case MZ_KEY_TEXT:
    case MZ_KEY_WORDS:
        return mz_str_add_quoted(out, field);
    case MZ_KEY_RANKS:
        return write_ranks(out, c);
    }
    return MZ_FAIL(MZ_EINVAL, "a key of no kind");
}

/* ---- the whole ---- */

static mz_err set_default(mz_train_config *c, const mz_key *key)
{
    const mz_place at = {.file = "", .offset = -1};
    if (key->kind == MZ_KEY_RANKS || !key->otherwise) return MZ_OK;
    return mz_key_set(c, key, key->otherwise, &at);
}

static mz_err set_override(mz_train_config *c, const char *text, bool *seen, mz_place *places)
{
    char name[64];
    mz_place at = {.file = "", .word = text, .column = 1, .offset = -1};
    const char *equals = strchr(text, '=');
    const size_t len = equals ? (size_t)(equals - text) : 0;
    if (len == 0 || len >= sizeof name) {
        const mz_err err = mz_config_bad(&at, "", "\"%.100s\" is not KEY=VALUE", text);
        mz_note_fix("write it like optim.lr=1e-3; `mizan config schema` lists every key");
        return err;
    }
    memcpy(name, text, len);
    name[len] = '\0';
    const mz_key *key = mz_key_find(name);
    if (!key) return mz_config_unknown(&at, name);
    at.column = (int)len + 2;
    seen[key - mz_keys] = true;
    places[key - mz_keys] = at;
    return mz_key_set(c, key, equals + 1, &at);
}

/* Where a key was set. */
static const mz_place *place(const mz_place *places, const char *key)
{
    return &places[mz_key_find(key) - mz_keys];
}

static mz_err check_adapters(const mz_train_config *c, const mz_place *places)
{
    if (c->lora_rank == 0 && c->lora_adapter[0])
        return mz_config_bad(place(places, "lora.adapter"), "lora.adapter",
                             "lora.adapter is given, and lora.rank is 0");
    if (c->lora_rank == 0) return MZ_OK;
    if (!c->model_path[0])
        return mz_config_bad(place(places, "lora.rank"), "lora.rank",
                             "lora.rank is %lld: adapters stand beside a trained "
                             "model, and model.path is not given",
                             (long long)c->lora_rank);
    if (!(c->lora_alpha > 0.0))
        return mz_config_bad(place(places, "lora.alpha"), "lora.alpha",
                             "lora.alpha has to be above 0");
    return MZ_OK;
}

static mz_err check_ranks(const mz_train_config *c, const mz_place *places)
{
    const bool is_auto = c->n_ranks > 0 && c->ranks[0].share == 0;
    for (int64_t i = 1; i < c->n_ranks; i++) {
        if (!c->ranks[i].layers != !c->ranks[0].layers)
            return mz_config_bad(place(places, "ranks"), "ranks",
                                 "some ranks have layers and some have none");
        if ((c->ranks[i].share == 0) != is_auto)
            return mz_config_bad(place(places, "ranks"), "ranks",
                                 "some shares are auto and some are not: let all be, or none");
    }
    if (is_auto && c->n_ranks > c->batch_global)
        return mz_config_bad(
            place(places, "ranks"), "ranks",
            "shares of %lld ranks are auto, and a step has %lld samples: each rank "
            "makes one at least",
            (long long)c->n_ranks, (long long)c->batch_global);
    return MZ_OK;
}

static mz_err check(const mz_train_config *c, const mz_place *places)
{
    if (c->model_path[0] && c->model_config[0])
        return mz_config_bad(place(places, "model.config"), "model.config",
                             "model.path and model.config are both given: the weights come from "
                             "one of them");
    if (!c->model_path[0] && !c->model_config[0])
        return mz_config_bad(place(places, "model.path"), "model.path",
                             "neither model.path nor model.config is given");
    if (!c->data_path[0])
        return mz_config_bad(place(places, "data.path"), "data.path", "data.path is empty");
    if (!c->run_dir[0])
        return mz_config_bad(place(places, "run.dir"), "run.dir", "run.dir is empty");
    if (c->batch_micro > c->batch_global)
        return mz_config_bad(place(places, "batch.micro"), "batch.micro",
                             "batch.micro is %lld, more than batch.global %lld",
                             (long long)c->batch_micro, (long long)c->batch_global);
    if (!(c->schedule_min_lr <= c->lr))
        return mz_config_bad(place(places, "schedule.min_lr"), "schedule.min_lr",
                             "schedule.min_lr is %g, more than optim.lr %g", c->schedule_min_lr,
                             c->lr);
    if (c->schedule_warmup > c->run_steps)
        return mz_config_bad(place(places, "schedule.warmup"), "schedule.warmup",
                             "schedule.warmup is %lld, more than run.steps %lld",
                             (long long)c->schedule_warmup, (long long)c->run_steps);
    if (!(c->beta1 < 1.0))
        return mz_config_bad(place(places, "optim.beta1"), "optim.beta1",
                             "optim.beta1 has to be below 1");
    if (!(c->beta2 < 1.0))
        return mz_config_bad(place(places, "optim.beta2"), "optim.beta2",
                             "optim.beta2 has to be below 1");
    MZ_TRY(check_ranks(c, places));
    if (!(c->eps > 0.0))
        return mz_config_bad(place(places, "optim.eps"), "optim.eps",
                             "optim.eps has to be above 0");
    return check_adapters(c, places);
}

mz_err mz_config_check(const mz_train_config *c, const char *file)
{
    mz_place places[MZ_COUNT(mz_keys)];
    for (int i = 0; i < MZ_COUNT(mz_keys); i++) places[i] = (mz_place){.file = file, .offset = -1};
    return check(c, places);
}

mz_err mz_config_load(mz_train_config *out, const char *path, const char *const *overrides, int n)
{
    MZ_NEED(out && (n == 0 || overrides), "no place for a configuration");
    bool seen[MZ_COUNT(mz_keys)] = {false};
    mz_place places[MZ_COUNT(mz_keys)];
    mz_train_config *c = NULL;
    mz_err err = MZ_OK;
    MZ_TRY(mz_mem_new(&c, 1, sizeof *c));
    for (int i = 0; i < MZ_COUNT(mz_keys) && err == MZ_OK; i++) {
        places[i] = (mz_place){.file = path ? path : "", .offset = -1};
        err = set_default(c, &mz_keys[i]);
    }
    if (err == MZ_OK && path) err = mz_config_read_yaml(c, path, seen, places);
    for (int i = 0; i < n && err == MZ_OK; i++) err = set_override(c, overrides[i], seen, places);
    for (int i = 0; i < MZ_COUNT(mz_keys) && err == MZ_OK; i++) {
        if (mz_keys[i].otherwise || seen[i]) continue;
        err = mz_config_bad(&places[i], mz_keys[i].name, "%s is not given: %s", mz_keys[i].name,
                            mz_keys[i].help);
        mz_note_fix("add it to the file, or %s=VALUE to the command", mz_keys[i].name);
    }
    if (err == MZ_OK) err = check(c, places);
    if (err == MZ_OK) *out = *c;
    mz_mem_free(c);
    return err;
}

mz_err mz_config_write(const mz_train_config *c, mz_str *out)
{
    for (int i = 0; i < MZ_COUNT(mz_keys); i++) {
        MZ_TRY(mz_str_addf(out, "%s: ", mz_keys[i].name));
        MZ_TRY(mz_key_write(&mz_keys[i], c, out));
        MZ_TRY(mz_str_add(out, "\n", 1));
    }
    return MZ_OK;
}

/* Whether this key decides what the steps do under this configuration. */
static bool decides(const mz_key *key, const mz_train_config *c)
{
    const bool constant = c->schedule_kind == MZ_SCHEDULE_CONSTANT;
    if (key->offset == AT(run_steps)) return !constant; /* a constant run may be made longer */
    if (key->offset == AT(schedule_decay)) return c->schedule_kind == MZ_SCHEDULE_WSD;
    if (key->offset == AT(data_path)) return false; /* its content is compared, not its name */
    if (key->offset == AT(data_tokenizer) || key->offset == AT(data_chat)) return false;
    if (key->offset == AT(model_path) || key->offset == AT(model_config)) return false;
    return key->is_fixed;
}

mz_err mz_config_same_run(const mz_train_config *before, const mz_train_config *now,
                          const char *run)
{
    mz_str a = {0}, b = {0};
    mz_err err = MZ_OK;
    for (int i = 0; i < MZ_COUNT(mz_keys) && err == MZ_OK; i++) {
        const mz_key *key = &mz_keys[i];
        if (!decides(key, now)) continue;
        a.len = b.len = 0;
        err = mz_key_write(key, before, &a);
        if (err == MZ_OK) err = mz_key_write(key, now, &b);
        if (err == MZ_OK && strcmp(a.text, b.text) != 0) {
            err = MZ_FAIL(MZ_ECONFIG, "the run in %s has %s %s, this configuration %s", run,
                          key->name, a.text, b.text);
            mz_note_where(run, key->name, -1);
            mz_note_fix("put it back, or give the new run another run.dir");
        }
    }
    mz_str_clear(&a);
    mz_str_clear(&b);
    return err;
}
