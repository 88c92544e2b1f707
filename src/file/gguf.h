/* SPDX-License-Identifier: Apache-2.0 */
/* file/gguf.h - one GGUF file: read mapped, written streamed and crash-safe.
 *
 * Source: ggml, docs/gguf.md (the format, versions 2 and 3, little-endian).
 * Shapes: dims are outermost first here, as everywhere in Mizan; the file has them the other way.
 * Floor:  file. May use tensor, base.
 * Owner:  a file owns its map and its lists; names, keys, texts and data are borrowed until close.
 * Errors: MZ_ECORRUPT with file, key or tensor, and byte offset for every broken rule; MZ_EIO;
 *         MZ_ENOMEM.
 * Cost:   time and memory follow the metadata; nothing of the data is read by open. */
#ifndef MZ_FILE_GGUF_H
#define MZ_FILE_GGUF_H

#include "tensor/dtype.h"
#include "tensor/quant.h"

/* ---- element types ---- */

/* X(name, number in the file, elements in a block, bytes of a block). A type that is here has a
 * size; whether its numbers can be read is mz_gguf_can_read's answer. */
#define MZ_GGML_LIST(X)                                                                            \
    X(F32, 0, 1, 4)                                                                                \
    X(F16, 1, 1, 2)                                                                                \
    X(Q4_0, 2, 32, 18)                                                                             \
    X(Q4_1, 3, 32, 20)                                                                             \
    X(Q5_0, 6, 32, 22)                                                                             \
    X(Q5_1, 7, 32, 24)                                                                             \
    X(Q8_0, 8, 32, 34)                                                                             \
    X(Q8_1, 9, 32, 36)                                                                             \
    X(Q2_K, 10, 256, 84)                                                                           \
    X(Q3_K, 11, 256, 110)                                                                          \
    X(Q4_K, 12, 256, 144)                                                                          \
    X(Q5_K, 13, 256, 176)                                                                          \
    X(Q6_K, 14, 256, 210)                                                                          \
    X(Q8_K, 15, 256, 292)                                                                          \
    X(IQ2_XXS, 16, 256, 66)                                                                        \
    X(IQ2_XS, 17, 256, 74)                                                                         \
    X(IQ3_XXS, 18, 256, 98)                                                                        \
    X(IQ1_S, 19, 256, 50)                                                                          \
    X(IQ4_NL, 20, 32, 18)                                                                          \
    X(IQ3_S, 21, 256, 110)                                                                         \
    X(IQ2_S, 22, 256, 82)                                                                          \
    X(IQ4_XS, 23, 256, 136)                                                                        \
    X(I8, 24, 1, 1)                                                                                \
    X(I16, 25, 1, 2)                                                                               \
    X(I32, 26, 1, 4)                                                                               \
    X(I64, 27, 1, 8)                                                                               \
    X(F64, 28, 1, 8)                                                                               \
    X(IQ1_M, 29, 256, 56)                                                                          \
    X(BF16, 30, 1, 2)                                                                              \
    X(TQ1_0, 34, 256, 54)                                                                          \
    X(TQ2_0, 35, 256, 66)                                                                          \
    X(MXFP4, 39, 32, 17)

typedef enum mz_ggml { /* in the order of the list, not the file's numbers */
#define MZ_GGML_ENUM(name, number, elements, bytes) MZ_GGML_##name,
                       MZ_GGML_LIST(MZ_GGML_ENUM)
#undef MZ_GGML_ENUM
                           MZ_GGML_COUNT
} mz_ggml;

const char *mz_ggml_name(mz_ggml t);   /* "Q4_K" */
int64_t mz_ggml_block(mz_ggml t);      /* elements; 1 for plain numbers */
size_t mz_ggml_block_bytes(mz_ggml t); /* of one block */
/* Plain numbers are a dtype, some blocks a mz_quant; false if it is neither kind. */
bool mz_ggml_dtype(mz_ggml t, mz_dtype *out);
bool mz_ggml_quant(mz_ggml t, mz_quant *out);
/* n numbers (whole blocks) at `from`, unaligned, as f32; F64 rounds. MZ_ENOTSUP for a type whose
 * numbers Mizan does not read. */
mz_err mz_ggml_expand(mz_ggml t, float *out, const void *from, int64_t n);
bool mz_ggml_can_expand(mz_ggml t);

/* ---- reading ---- */

typedef enum mz_gguf_type { /* of a value; the file's numbers */
                            MZ_GGUF_U8,
                            MZ_GGUF_I8,
                            MZ_GGUF_U16,
                            MZ_GGUF_I16,
                            MZ_GGUF_U32,
                            MZ_GGUF_I32,
                            MZ_GGUF_F32,
                            MZ_GGUF_BOOL,
                            MZ_GGUF_TEXT,
                            MZ_GGUF_ARRAY,
                            MZ_GGUF_U64,
                            MZ_GGUF_I64,
                            MZ_GGUF_F64,
                            MZ_GGUF_TYPE_COUNT
} mz_gguf_type;
const char *mz_gguf_type_name(mz_gguf_type t);

typedef struct mz_gguf_key {
    const char *name;
    mz_gguf_type type; /* of the value, or of each element of the array */
    bool is_array;
    uint64_t count;  /* elements; 1 if it is no array */
    uint64_t offset; /* of the first element, from the start of the file */
    uint64_t bytes;  /* of all elements */
    const unsigned char *data;
} mz_gguf_key;

typedef struct mz_gguf_tensor {
    const char *name;
    mz_ggml type;
    int rank;       /* 1 .. 4 */
    int64_t dim[4]; /* outermost first */
    int64_t count;
    uint64_t offset; /* of the first byte, from the start of the FILE */
    uint64_t bytes;
    const void *data;
} mz_gguf_tensor;

typedef struct mz_gguf mz_gguf;
mz_err mz_gguf_open(mz_gguf **file, const char *path);
void mz_gguf_close(mz_gguf *file); /* NULL is legal */
/* MZ_EIO if the file was made shorter or written to since it was opened: to be asked when its data
 * have been read. */
mz_err mz_gguf_intact(const mz_gguf *file);
/* Whether the file begins as a GGUF does; false if it cannot be read. */
bool mz_gguf_is(const char *path);
const char *mz_gguf_path(const mz_gguf *file);
int mz_gguf_version(const mz_gguf *file);
const void *mz_gguf_bytes(const mz_gguf *file, size_t *bytes); /* all of the file, mapped */

int64_t mz_gguf_key_count(const mz_gguf *file); /* in the file's order */
const mz_gguf_key *mz_gguf_key_at(const mz_gguf *file, int64_t i);
const mz_gguf_key *mz_gguf_key_find(const mz_gguf *file, const char *name); /* NULL if none */
int64_t mz_gguf_count(const mz_gguf *file); /* tensors, in the file's order */
const mz_gguf_tensor *mz_gguf_at(const mz_gguf *file, int64_t i);
const mz_gguf_tensor *mz_gguf_find(const mz_gguf *file, const char *name); /* NULL if none */

/* Element i of a key; false if it is not of that kind or does not fit. */
bool mz_gguf_int(const mz_gguf_key *key, uint64_t i, int64_t *out); /* any integer type */
bool mz_gguf_real(const mz_gguf_key *key, uint64_t i, double *out); /* any number */
bool mz_gguf_bool(const mz_gguf_key *key, bool *out);
/* Texts have lengths of their own, so they are walked: at = 0 at first. UTF-8 without NUL in it,
 * and no NUL at its end. False at the end, or if the elements are no texts. */
bool mz_gguf_text_next(const mz_gguf_key *key, uint64_t *at, const char **text, size_t *bytes);
/* Notes `what` about a key or a tensor of this file. Returns code. */
mz_err mz_gguf_bad_key(const mz_gguf *file, const mz_gguf_key *key, mz_err code, const char *what);
mz_err mz_gguf_bad_tensor(const mz_gguf *file, const mz_gguf_tensor *t, mz_err code,
                          const char *what);

/* ---- writing ---- */

/* Set every key and declare every tensor, begin, then put the tensors' bytes in the order in which
 * they were declared; commit makes the file durable. Version 3, alignment 32. */
typedef struct mz_gguf_writer mz_gguf_writer;
mz_err mz_gguf_writer_new(mz_gguf_writer **w, const char *path);
mz_err mz_gguf_writer_u32(mz_gguf_writer *w, const char *key, int64_t value);
mz_err mz_gguf_writer_f32(mz_gguf_writer *w, const char *key, double value);
mz_err mz_gguf_writer_bool(mz_gguf_writer *w, const char *key, bool value);
mz_err mz_gguf_writer_text(mz_gguf_writer *w, const char *key, const char *value);
/* An array of numbers; values: as the type has them. */
mz_err mz_gguf_writer_array(mz_gguf_writer *w, const char *key, mz_gguf_type type, int64_t n,
                            const void *values);
mz_err mz_gguf_writer_texts(mz_gguf_writer *w, const char *key, int64_t n, const char *const *texts,
                            const size_t *bytes); /* bytes NULL: each ends with NUL */
mz_err mz_gguf_writer_copy(mz_gguf_writer *w, const mz_gguf_key *key); /* as another file has it */
/* dim: outermost first; the last one a multiple of the type's block */
mz_err mz_gguf_writer_declare(mz_gguf_writer *w, const char *name, mz_ggml type, int rank,
                              const int64_t *dim);
mz_err mz_gguf_writer_begin(mz_gguf_writer *w);
/* bytes must be exactly those of the next tensor, in one or several puts */
mz_err mz_gguf_writer_put(mz_gguf_writer *w, const void *bytes, size_t n);
mz_err mz_gguf_writer_commit(mz_gguf_writer *w); /* frees w either way */
void mz_gguf_writer_abort(mz_gguf_writer *w);    /* NULL is legal */

#endif
