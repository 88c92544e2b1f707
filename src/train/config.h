/* SPDX-License-Identifier: Apache-2.0 */
/* train/config.h - what a training run is told: one table of keys makes parser, help and schema.
 *
 * Strength: KEY=VALUE on the command line, then the YAML 1.2 file, then the environment
 * (MIZAN_CHIP, where no `ranks` are given; the rest of the environment is the chip's), then the
 * defaults. In YAML a key may be nested (`optim: {lr: 1e-3}`) or dotted (`optim.lr: 1e-3`).
 *
 * Floor:  train. May use base; libfyaml reads the YAML.
 * Owner:  a mz_train_config is a plain value.
 * Errors: MZ_ECONFIG with file, line, column and the key, and the nearest key where one is unknown;
 *         MZ_ENOTSUP for what a key announces and this build does not have yet. */
#ifndef MZ_TRAIN_CONFIG_H
#define MZ_TRAIN_CONFIG_H

#include "base/str.h"

#include <stdint.h>

enum { MZ_CONFIG_TEXT = 1024, MZ_RANKS_MAX = 64 };

typedef enum mz_schedule_kind {
    MZ_SCHEDULE_CONSTANT,
    MZ_SCHEDULE_COSINE,
    MZ_SCHEDULE_WSD,
    MZ_SCHEDULE_STEP
} mz_schedule_kind;

typedef enum mz_on_fault { MZ_FAULT_CONTINUE, MZ_FAULT_RESTART, MZ_FAULT_STOP } mz_on_fault;

typedef enum mz_collectives {
    MZ_COLLECTIVES_AUTO,
    MZ_COLLECTIVES_HOST,
    MZ_COLLECTIVES_DEVICE
} mz_collectives;

typedef struct mz_rank_config {
    char chip[128];
    int64_t share;  /* of the samples of a step; 0: to be measured (train/shares.h) */
    int64_t layers; /* of the network, one after the other; 0: all of them, on every rank */
} mz_rank_config;

typedef struct mz_train_config {
    char model_path[MZ_CONFIG_TEXT], model_config[MZ_CONFIG_TEXT];
    char data_path[MZ_CONFIG_TEXT], data_tokenizer[MZ_CONFIG_TEXT], data_chat[MZ_CONFIG_TEXT];
    char data_validation[MZ_CONFIG_TEXT];
    int64_t data_seq;
    bool data_shuffle, data_pack, data_across;
    char run_dir[MZ_CONFIG_TEXT];
    int64_t run_steps, run_seed, run_checkpoint_every, run_keep, run_eval_every, run_eval_samples;
    bool run_keep_best, run_checkpoint_async, run_tensorboard;
    int64_t run_sample_every, run_sample_tokens;
    char run_sample_prompt[MZ_CONFIG_TEXT];
    double run_stop_after;                    /* seconds; 0 = never */
    int64_t run_on_fault;                     /* mz_on_fault */
    int64_t run_collectives;                  /* mz_collectives */
    double run_stuck_after, run_retake_after; /* seconds; 0 = never */
    int64_t batch_global, batch_micro;
    double lr, beta1, beta2, eps, weight_decay, clip;
    int64_t schedule_kind, schedule_warmup; /* mz_schedule_kind; steps */
    double schedule_min_lr, schedule_decay; /* decay: share of the steps, of wsd */
    int64_t dtype;                          /* 0 = f32, 1 = bf16 */
    bool recompute;
    double moe_bias_rate, moe_balance, mtp_weight;
    int64_t lora_rank;
    double lora_alpha;
    char lora_targets[MZ_CONFIG_TEXT], lora_adapter[MZ_CONFIG_TEXT];
    double guard_sigma; /* 0 = off */
    int64_t guard_window, guard_most;
    int64_t n_ranks; /* 0: not given */
    mz_rank_config ranks[MZ_RANKS_MAX];
} mz_train_config;

typedef enum mz_key_kind {
    MZ_KEY_INT,
    MZ_KEY_REAL,
    MZ_KEY_BOOL,
    MZ_KEY_TEXT,
    MZ_KEY_CHOICE,
    MZ_KEY_WORDS, /* kept as text with commas between; read from a list too */
    MZ_KEY_RANKS
} mz_key_kind;

typedef struct mz_key {
    const char *name; /* "optim.lr" */
    mz_key_kind kind;
    size_t offset;         /* in mz_train_config */
    double least, most;    /* of a number, both included */
    const char *otherwise; /* default, as one would write it; NULL: has to be given */
    const char *choices;   /* "constant|cosine": index in this list is what is kept */
    bool is_fixed;         /* another value makes another run: refused when a run goes on */
    const char *help;
} mz_key;

extern const mz_key mz_keys[];
int mz_key_count(void);
const mz_key *mz_key_find(const char *name);
/* Appends the value as YAML would have it. */
mz_err mz_key_write(const mz_key *key, const mz_train_config *c, mz_str *out);

/* Where a value stands, for messages. */
typedef struct mz_place {
    const char *file; /* "" for the command line */
    const char *word; /* the KEY=VALUE that it stands in, or NULL */
    int line, column; /* from 1; 0 = unknown */
    int64_t offset;   /* in bytes, -1 = unknown */
} mz_place;

/* Sets one key from its text; of a list only in config_yaml.c. */
mz_err mz_key_set(mz_train_config *c, const mz_key *key, const char *text, const mz_place *at);
/* The note of a wrong value: "FILE:LINE:COLUMN: message", or "KEY=VALUE:COLUMN: message". Its fix
 * is what the key is for; who knows better notes another. Returns MZ_ECONFIG. */
mz_err mz_config_bad(const mz_place *at, const char *key, const char *fmt, ...) MZ_PRINTF(3, 4);
/* The same for a key that does not exist, with the nearest that does. */
mz_err mz_config_unknown(const mz_place *at, const char *key);

/* path may be NULL (defaults and overrides alone). overrides: "key=value". What is read is also
 * checked for contradictions (mz_config_check). */
mz_err mz_config_load(mz_train_config *c, const char *path, const char *const *overrides, int n);
mz_err mz_config_check(const mz_train_config *c, const char *file);
/* The whole configuration as YAML that mz_config_load reads back to the same. */
mz_err mz_config_write(const mz_train_config *c, mz_str *out);
/* MZ_ECONFIG naming the first key that is fixed and differs: what a run that goes on may not
 * change. */
mz_err mz_config_same_run(const mz_train_config *before, const mz_train_config *now,
                          const char *run);

/* ---- config_yaml.c ---- */
/* Sets every key of the file; seen[i] says that key i of mz_keys was set, places[i] where. */
mz_err mz_config_read_yaml(mz_train_config *c, const char *path, bool *seen, mz_place *places);
/* The value of a list key, given as flow YAML on the command line. */
mz_err mz_config_parse_ranks(mz_train_config *c, const char *text, const mz_place *at);

#endif
