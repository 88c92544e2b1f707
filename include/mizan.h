/* SPDX-License-Identifier: Apache-2.0 */
/* mizan.h - the public C interface of libmizan: models that write, count, and learn.
 *
 *   mz_lm_vocab     a tokenizer with its chat template; read-only, any number of threads
 *   mz_lm           a model with its weights, loaded once; any number of threads
 *   mz_lm_session   one text that grows, with its cache; on a model's weights, which are shared
 *   mz_lm_trainer   a model that learns: weights, gradients, optimizer
 *
 * Names.   Everything begins with mz_lm_, MZ_LM_ or MIZAN_. Nothing else leaves the library.
 * Errors.  A call that can fail returns an mz_lm_status; MZ_LM_OK is 0. Out-parameters are
 * untouched on failure. What happened is kept for the calling thread until its next failure:
 *          mz_lm_error_message and its kin. The library never prints, exits, aborts, reads the
 *          environment or touches signals. (A GGUF file that another process makes shorter while a
 *          model is open on it is a SIGBUS, as for any mapped file.)
 * Threads. Calls on one session or one trainer come from one thread at a time; everything else may
 *          be called from any number of threads at once. After fork() a child may not go on with
 *          handles of its parent.
 * Owner.   What an _open or _new gives is closed with its _close or _free, where NULL is legal. A
 *          session keeps its model, so they may be closed in any order. What a call gives by
 *          `char **` or `int32_t **` is freed with mz_lm_free. What is "borrowed" is not freed.
 * Structs. Options and results begin with `size`, set to sizeof of the struct (the *_INIT macros do
 *          it). A later version may append fields and still understands older, shorter structs;
 *          0 or NULL in a field is always its default.
 * Arrays.  Dense and row-major; [B,T] is B rows of T. Token ids are int32_t, 0 .. vocabulary - 1.
 *          Text is UTF-8; lengths are in bytes and do not count a final NUL, which is always there.
 *          Times are seconds. Losses are natural logarithms.
 * ABI.     The library's file name ends in MIZAN_ABI (libmizan.so.1). That number grows when a
 *          program would have to be compiled anew; functions and fields are only added below it. */
#ifndef MIZAN_H
#define MIZAN_H

#include <stddef.h>
#include <stdint.h>

#define MIZAN_VERSION_MAJOR 0
#define MIZAN_VERSION_MINOR 1
#define MIZAN_VERSION_PATCH 0
#define MIZAN_VERSION "0.1.0"
#define MIZAN_ABI 1

#if defined(__GNUC__)
#define MIZAN_API __attribute__((visibility("default")))
#else
#define MIZAN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the library ---- */

MIZAN_API const char *mz_lm_version(void); /* of the library that runs, "0.1.0" */
MIZAN_API int mz_lm_abi(void);             /* its MIZAN_ABI */
MIZAN_API void mz_lm_free(void *memory);   /* NULL is legal */

/* ---- errors ---- */

/* The numbers are those of this ABI for good; new ones may come. */
typedef enum mz_lm_status {
    MZ_LM_OK = 0,
    MZ_LM_EINVAL = 1,    /* an argument is wrong: NULL, a size, an order of calls */
    MZ_LM_ENOTSUP = 2,   /* this chip, build or format cannot; another may */
    MZ_LM_ENOMEM = 3,    /* not enough memory on the host or the chip */
    MZ_LM_EIO = 4,       /* a file failed */
    MZ_LM_ECHIP = 5,     /* the chip or its driver failed */
    MZ_LM_ETIMEOUT = 6,  /* something did not answer in time */
    MZ_LM_ECORRUPT = 7,  /* a damaged or hostile file, or a token id out of range */
    MZ_LM_EBUSY = 8,     /* in use, or in the way */
    MZ_LM_ENUMERIC = 9,  /* NaN or infinity where a number has to be */
    MZ_LM_ECONFIG = 10,  /* a model's configuration is unknown or contradicts itself */
    MZ_LM_EUSAGE = 11,   /* what was asked for cannot be: a name, a prompt, a message */
    MZ_LM_EINTERNAL = 12 /* a mistake in the library: please report it */
} mz_lm_status;

MIZAN_API const char *mz_lm_status_name(mz_lm_status status); /* "ECORRUPT"; "?" for no such one */
/* Of the calling thread's last failure, "" or -1 where unknown; borrowed until its next one. */
MIZAN_API mz_lm_status mz_lm_error_status(void);
MIZAN_API const char *mz_lm_error_message(void);
MIZAN_API const char *mz_lm_error_file(void);   /* the file that it is about */
MIZAN_API const char *mz_lm_error_field(void);  /* the key, tensor or field in it */
MIZAN_API int64_t mz_lm_error_offset(void);     /* the byte in it */
MIZAN_API const char *mz_lm_error_advice(void); /* what to do */

/* What the library has to say besides (a fallback that was taken, a file with something odd in it)
 * goes to fn, one call at a time, on the thread it happens on; NULL, as at first: nowhere.
 * level: 0 debug, 1 info, 2 warning, 3 loud. One for the process. */
typedef void mz_lm_log_fn(void *user, int level, const char *line);
MIZAN_API void mz_lm_log_to(mz_lm_log_fn *fn, void *user);

/* ---- chips ---- */

typedef struct mz_lm_chip {
    size_t size;
    char name[64];   /* what options.chip takes: "cpu" */
    char vendor[64]; /* as the driver says */
    char model[96];
    char driver[64]; /* versions, "" if none */
    char isa[32];    /* instruction set chosen, "" where there is none to choose */
    int32_t is_emulated, threads;
    int64_t memory_bytes, memory_free_bytes; /* 0: unknown */
} mz_lm_chip;
#define MZ_LM_CHIP_INIT                                                                            \
    {                                                                                              \
        sizeof(mz_lm_chip), {0}, {0}, {0}, {0}, {0}, 0, 0, 0, 0                                    \
    }

MIZAN_API int32_t mz_lm_chip_count(void);
MIZAN_API const char *mz_lm_chip_name(int32_t i); /* static; NULL past the last */
/* Opens the chip to ask it. MZ_LM_ENOTSUP with the reason where it is not usable here. */
MIZAN_API mz_lm_status mz_lm_chip_ask(const char *name, mz_lm_chip *out);

/* ---- text and tokens ---- */

typedef struct mz_lm_vocab mz_lm_vocab;

/* source: a model folder, a tokenizer.json or a GGUF file. */
MIZAN_API mz_lm_status mz_lm_vocab_open(mz_lm_vocab **v, const char *source);
MIZAN_API void mz_lm_vocab_close(mz_lm_vocab *v);
MIZAN_API int64_t mz_lm_vocab_size(const mz_lm_vocab *v); /* ids are below; not each is a token */
/* The bytes that an id stands for, borrowed (special tokens: their name); NULL if it is none. */
MIZAN_API const char *mz_lm_vocab_token(const mz_lm_vocab *v, int32_t id, size_t *bytes);
MIZAN_API int32_t mz_lm_vocab_find(const mz_lm_vocab *v, const char *token, size_t bytes); /* -1 */
MIZAN_API int32_t mz_lm_vocab_bos(const mz_lm_vocab *v); /* -1: none */
MIZAN_API int32_t mz_lm_vocab_is_special(const mz_lm_vocab *v, int32_t id);
MIZAN_API int32_t mz_lm_vocab_is_end(const mz_lm_vocab *v, int32_t id); /* ends a text */

enum {
    MZ_LM_SPECIAL = 1,     /* special tokens in the text are special; else text is only text */
    MZ_LM_BOS = 2,         /* the begin token first; MZ_LM_ENOTSUP if there is none */
    MZ_LM_BOS_WANTED = 4,  /* the begin token first where the model wants one: a prompt */
    MZ_LM_SKIP_SPECIAL = 8 /* of decoding: special tokens are left out */
};
/* flags: of MZ_LM_SPECIAL, MZ_LM_BOS, MZ_LM_BOS_WANTED. Any bytes are text. */
MIZAN_API mz_lm_status mz_lm_encode(const mz_lm_vocab *v, const char *text, size_t bytes,
                                    uint32_t flags, int32_t **ids, size_t *count);
/* The bytes of the ids, which need not be whole characters. */
MIZAN_API mz_lm_status mz_lm_decode(const mz_lm_vocab *v, const int32_t *ids, size_t count,
                                    uint32_t flags, char **text, size_t *bytes);

typedef struct mz_lm_message { /* fixed in this ABI */
    const char *role;          /* "system", "user", "assistant" */
    const char *content;
    const char *thoughts; /* of an answer, or NULL */
} mz_lm_message;

typedef struct mz_lm_chat_options {
    size_t size;
    const char *chat_template; /* name of one that is built in; NULL: the model's own */
    int32_t thinking;          /* 0 as usual, 1 the answer begins with thoughts, 2 without */
    int32_t no_answer;         /* 1: do not end with the beginning of an answer */
} mz_lm_chat_options;
#define MZ_LM_CHAT_INIT                                                                            \
    {                                                                                              \
        sizeof(mz_lm_chat_options), NULL, 0, 0                                                     \
    }

/* The ids that a model is fed of a conversation; what people wrote never becomes a special token.
 * options may be NULL. */
MIZAN_API mz_lm_status mz_lm_chat_encode(const mz_lm_vocab *v, const mz_lm_message *messages,
                                         size_t n, const mz_lm_chat_options *options, int32_t **ids,
                                         size_t *count);
/* The same as text, to look at. */
MIZAN_API mz_lm_status mz_lm_chat_text(const mz_lm_vocab *v, const mz_lm_message *messages,
                                       size_t n, const mz_lm_chat_options *options, char **text,
                                       size_t *bytes);

/* ---- models ---- */

typedef struct mz_lm mz_lm;

typedef struct mz_lm_options {
    size_t size;
    const char *chip;        /* NULL: "cpu" */
    const char *isa;         /* of the cpu chip: "avx512", "avx2", "neon" ...; NULL: the best */
    const char *driver_path; /* where to look for a vendor's libraries first */
    const char *dtype;       /* "f32", "bf16", "f16" or "f64". NULL: computes in f32, and a GGUF's
                                weights are used as they lie in the file */
    const char *adapter;     /* folder of a LoRA adapter that is added to the weights */
    int32_t threads;         /* of the cpu chip, shared by all sessions; 0: one a processor */
    int32_t reserved;        /* 0 */
} mz_lm_options;
#define MZ_LM_OPTIONS_INIT                                                                         \
    {                                                                                              \
        sizeof(mz_lm_options), NULL, NULL, NULL, NULL, NULL, 0, 0                                  \
    }

/* path: a Hugging Face folder or a GGUF file. options may be NULL. Blocks while loading. */
MIZAN_API mz_lm_status mz_lm_open(mz_lm **lm, const char *path, const mz_lm_options *options);
MIZAN_API void mz_lm_close(mz_lm *lm);
/* Its tokenizer, borrowed while the model is open; NULL (and an error to read) if it has none. */
MIZAN_API const mz_lm_vocab *mz_lm_vocab_of(const mz_lm *lm);

typedef struct mz_lm_info {
    size_t size;
    char family[32]; /* config.json's model_type */
    int64_t vocab, width, layers, positions, parameters;
    int64_t weight_bytes; /* on the chip; what is used out of a mapped file is not counted */
} mz_lm_info;
#define MZ_LM_INFO_INIT                                                                            \
    {                                                                                              \
        sizeof(mz_lm_info), {0}, 0, 0, 0, 0, 0, 0                                                  \
    }
MIZAN_API mz_lm_status mz_lm_ask(const mz_lm *lm, mz_lm_info *out);

/* ids [B,T]; labels [B,T]: the id that should follow each, -100 where it does not count; NULL: ids
 * shifted by one, the last of a row not counted. logits, where not NULL: B*T*vocab floats of the
 * caller's, [B,T,vocab]. loss, where not NULL: mean over the counted positions, NaN if there are
 * none. Books its memory for the call. */
MIZAN_API mz_lm_status mz_lm_probe(mz_lm *lm, const int32_t *ids, const int32_t *labels, int64_t B,
                                   int64_t T, float *logits, double *loss);

/* ---- sessions ---- */

typedef struct mz_lm_session mz_lm_session;

typedef struct mz_lm_session_options {
    size_t size;
    int64_t context; /* tokens; 0: what the model has positions for, at most 4096 */
    int64_t chunk;   /* tokens of a prompt computed at a time; 0: 512 */
} mz_lm_session_options;
#define MZ_LM_SESSION_INIT                                                                         \
    {                                                                                              \
        sizeof(mz_lm_session_options), 0, 0                                                        \
    }

/* options may be NULL. */
MIZAN_API mz_lm_status mz_lm_session_new(mz_lm_session **s, mz_lm *lm,
                                         const mz_lm_session_options *options);
MIZAN_API void mz_lm_session_free(mz_lm_session *s);

/* Called for each token that the text goes on with, and what can be shown since the one before
 * (whole characters, perhaps none; borrowed for the call, not NUL-terminated); at the end once more
 * with id -1 where something is left. Not 0: stop. It may call the library, but not on this
 * session. */
typedef int mz_lm_token_fn(void *user, int32_t id, const char *text, size_t bytes);

typedef struct mz_lm_generate_options {
    size_t size;
    int64_t max_tokens;                               /* 0: 128 */
    double temperature, top_p, min_p, repeat_penalty; /* 0: the likeliest, off, off, off */
    int64_t top_k;                                    /* 0: off */
    uint64_t seed;
    const char *const *stops; /* the text ends before the first of these */
    mz_lm_token_fn *on_token;
    void *user;
    int32_t n_stops;
    int32_t as_model; /* 1: the five above are what generation_config.json says */
    int32_t reuse; /* 1: what the session's text and ids have in common from the first token on is
                      not computed again. Faster in a conversation; without it the same call
                      always gives the same text, with it rounding may fall elsewhere */
    int32_t reserved; /* 0 */
} mz_lm_generate_options;
#define MZ_LM_GENERATE_INIT                                                                        \
    {                                                                                              \
        sizeof(mz_lm_generate_options), 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, 0, 0, 0, 0          \
    }

enum { MZ_LM_BY_LENGTH, MZ_LM_BY_END, MZ_LM_BY_STOP, MZ_LM_BY_CALLER }; /* why a text ended */

typedef struct mz_lm_answer {
    size_t size;
    const int32_t *ids; /* what was added, without the end token; borrowed until the next call */
    const char *text;   /* the same as text, on this session; "" without a tokenizer */
    size_t n_ids, text_bytes;
    int32_t ended, reserved;             /* MZ_LM_BY_... */
    int64_t prompt_tokens, kept_tokens;  /* kept: not computed again (reuse) */
    double prompt_seconds, text_seconds; /* computing the prompt, and what follows */
} mz_lm_answer;
#define MZ_LM_ANSWER_INIT                                                                          \
    {                                                                                              \
        sizeof(mz_lm_answer), NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0                                   \
    }

/* Goes on with the text of these ids (count >= 1). MZ_LM_EUSAGE where they leave no room in the
 * context; a text that fills it ends by length. options and answer may be NULL. */
MIZAN_API mz_lm_status mz_lm_generate(mz_lm_session *s, const int32_t *ids, size_t count,
                                      const mz_lm_generate_options *options, mz_lm_answer *answer);

/* ---- training ---- */

typedef struct mz_lm_trainer mz_lm_trainer;

typedef struct mz_lm_trainer_options {
    size_t size;
    const char *chip, *isa, *driver_path; /* as in mz_lm_options */
    const char *dtype;                    /* "f32" or "bf16" with f32 masters; NULL: f32 */
    int64_t rows, seq;                    /* computed at a time: so many rows of at most so many
                                             tokens; 0: 8 and 256 */
    uint64_t seed;                        /* of random weights */
    double balance;                       /* weight of the experts' balance loss */
    int32_t threads;
    int32_t recompute; /* 1: blocks run forward twice to save memory; the same numbers */
    double mtp;        /* weight of the MTP layers' losses beside the main one; 0: they are left
                          out, and not saved */
    double bias_rate;  /* step of the routers' selection biases after each update; 0: they stay */
    int64_t lora_rank; /* of adapters, which alone are trained and saved; 0: all weights */
    double lora_alpha; /* their scale is alpha / rank; 0: 16 */
    const char *lora_targets; /* "q_proj,v_proj"; NULL: every linear map of a block */
    const char *adapter;      /* a folder of adapters to go on from; NULL: new ones */
} mz_lm_trainer_options;
#define MZ_LM_TRAINER_INIT                                                                         \
    {                                                                                              \
        sizeof(mz_lm_trainer_options), NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, \
            NULL                                                                                   \
    }

/* source: a Hugging Face folder or a GGUF file, whose weights are the start; or a config.json alone
 * (a file whose name ends in .json): random weights. Adapters want a source with weights.
 * MZ_LM_ECONFIG where this network has no MTP layers, no selection biases, or no linear map of a
 * target's name. options may be NULL. */
MIZAN_API mz_lm_status mz_lm_trainer_open(mz_lm_trainer **t, const char *source,
                                          const mz_lm_trainer_options *options);
MIZAN_API void mz_lm_trainer_close(mz_lm_trainer *t);

/* AdamW. MZ_LM_OPTIM_INIT has the defaults; here a 0 is a 0. */
typedef struct mz_lm_optim {
    size_t size;
    double lr, beta1, beta2, eps;
    double weight_decay; /* of matrices, embeddings included */
    double clip;         /* largest norm of the gradient; 0: any */
} mz_lm_optim;
#define MZ_LM_OPTIM_INIT                                                                           \
    {                                                                                              \
        sizeof(mz_lm_optim), 1e-3, 0.9, 0.95, 1e-8, 0.1, 1.0                                       \
    }

typedef struct mz_lm_step {
    size_t size;
    int64_t step;     /* updates made so far */
    int64_t counted;  /* positions whose loss counts */
    double loss;      /* mean over them, before the update; without the MTP layers' */
    double grad_norm; /* before clipping */
} mz_lm_step;
#define MZ_LM_STEP_INIT                                                                            \
    {                                                                                              \
        sizeof(mz_lm_step), 0, 0, 0, 0                                                             \
    }

/* One update on ids [B,T] and labels [B,T] (as for mz_lm_probe; NULL: shifted). T is at most
 * options.seq; B may be any number, options.rows are computed at a time. optim NULL: the defaults.
 * MZ_LM_ENUMERIC where loss or gradient is not finite: no weight was changed. step may be NULL. */
MIZAN_API mz_lm_status mz_lm_trainer_step(mz_lm_trainer *t, const int32_t *ids,
                                          const int32_t *labels, int64_t B, int64_t T,
                                          const mz_lm_optim *optim, mz_lm_step *step);

/* A folder that mz_lm_open and `mizan generate` take as a model and transformers reads, with the
 * optimizer's state beside the weights; whole or not at all. Of adapters alone: a folder that peft
 * reads, for mz_lm_options.adapter beside the model that they were trained on. A checkpoint of that
 * name is replaced, anything else is in the way (MZ_LM_EBUSY). */
MIZAN_API mz_lm_status mz_lm_trainer_save(mz_lm_trainer *t, const char *folder);
/* Goes on from such a folder, to the same bits; of the same network. */
MIZAN_API mz_lm_status mz_lm_trainer_load(mz_lm_trainer *t, const char *folder);

#ifdef __cplusplus
}
#endif

#endif
