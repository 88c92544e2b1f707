/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/bad.h - tables of named bad inputs: a good file with one thing wrong, and what the
 * error must say. In all texts ' stands for ". */
#ifndef MZ_TESTS_FAULT_BAD_H
#define MZ_TESTS_FAULT_BAD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bad {
    const char *name;
    const char *find, *with; /* the first `find` of the good text becomes `with`; NULL: all of it */
    mz_err code;
    const char *field, *says; /* the note's field; words in its message */
    const char *at; /* the note's offset is where this stands (last) in the bad text; "" any offset,
                       NULL: there is none to name */
} bad;

typedef struct bad_table {
    const char *file; /* the name of the file that is bad, in the folder */
    const char *good; /* its good text */
    mz_err (*open)(const char *folder);
    bool safetensors; /* good is a header: its length is put before it, `data_bytes` behind */
    size_t data_bytes;
} bad_table;

/* cmocka set-up and tear-down: a folder */
int bad_make_folder(void **state);
int bad_drop_folder(void **state);
const char *bad_folder(void);
void bad_put(const char *name, const char *text); /* ' becomes " */
void bad_put_bytes(const char *name, const void *bytes, size_t n);
void bad_put_safetensors(const char *name, const char *header, size_t data_bytes);
void bad_remove(const char *name);

/* Opens the good one, then every bad one; prints all that fall short, then fails. The good file is
 * there again at the end. */
void bad_run(const bad_table *t, const bad *rows, int n);

#endif
