/* SPDX-License-Identifier: Apache-2.0 */
/* examples/probe.c - how likely a model finds a text, and what it would say next: probe MODEL TEXT
 *
 * Logits are [rows, tokens, vocabulary]; here one row. */
#include <math.h>
#include <mizan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int say(mz_lm *lm, const char *text)
{
    mz_lm_info info = MZ_LM_INFO_INIT;
    int32_t *ids = NULL;
    float *logits = NULL;
    size_t n = 0;
    double loss = 0.0;
    int status = 1;
    if (mz_lm_ask(lm, &info) != MZ_LM_OK || mz_lm_encode(mz_lm_vocab_of(lm), text, strlen(text),
                                                         MZ_LM_BOS_WANTED, &ids, &n) != MZ_LM_OK)
        return 1;
    logits = malloc(n * (size_t)info.vocab * sizeof *logits);
    if (logits && mz_lm_probe(lm, ids, NULL, 1, (int64_t)n, logits, &loss) == MZ_LM_OK) {
        const float *last = logits + (n - 1) * (size_t)info.vocab;
        int64_t best = 0;
        for (int64_t v = 1; v < info.vocab; v++)
            if (last[v] > last[best]) best = v;
        printf("%zu tokens, loss %.6f, perplexity %.3f, next id %lld\n", n, loss, exp(loss),
               (long long)best);
        status = 0;
    }
    free(logits);
    mz_lm_free(ids);
    return status;
}

int main(int argc, char **argv)
{
    mz_lm *lm = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: probe MODEL TEXT\n");
        return 2;
    }
    int status = mz_lm_open(&lm, argv[1], NULL) != MZ_LM_OK;
    if (status == 0) status = say(lm, argv[2]);
    if (status != 0) fprintf(stderr, "probe: %s\n", mz_lm_error_message());
    mz_lm_close(lm);
    return status;
}
