/* SPDX-License-Identifier: Apache-2.0 */
/* examples/generate.c - goes on with a text, shown as it comes: generate MODEL PROMPT [SEED]
 *
 *   cc generate.c $(pkg-config --cflags --libs mizan) -o generate
 *
 * Without a seed the likeliest tokens, as `mizan generate MODEL --prompt PROMPT` takes them. */
#include <mizan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, mz_lm_error_message());
    return 1;
}

/* Whole characters, as soon as they are sure. Anything but 0 would stop the text. */
static int show(void *user, int32_t id, const char *text, size_t bytes)
{
    (void)user;
    (void)id;
    fwrite(text, 1, bytes, stdout);
    return fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
    mz_lm *lm = NULL;
    mz_lm_session *session = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    int status = 1;
    mz_lm_generate_options options = MZ_LM_GENERATE_INIT;
    if (argc < 3) {
        fprintf(stderr, "usage: generate MODEL PROMPT [SEED]\n");
        return 2;
    }
    options.on_token = show;
    if (argc > 3) {
        options.temperature = 0.8;
        options.seed = strtoull(argv[3], NULL, 10);
    }
    if (mz_lm_open(&lm, argv[1], NULL) != MZ_LM_OK) return failed(argv[1]);
    if (mz_lm_session_new(&session, lm, NULL) != MZ_LM_OK ||
        mz_lm_encode(mz_lm_vocab_of(lm), argv[2], strlen(argv[2]), MZ_LM_BOS_WANTED, &ids, &n) !=
            MZ_LM_OK ||
        mz_lm_generate(session, ids, n, &options, NULL) != MZ_LM_OK)
        failed("generate");
    else
        status = putchar('\n') == EOF;
    mz_lm_free(ids);
    mz_lm_session_free(session);
    mz_lm_close(lm);
    return status;
}
