/* SPDX-License-Identifier: Apache-2.0 */
/* examples/tokenize.c - a text as token ids, each with its piece: tokenize SOURCE TEXT
 *
 * SOURCE is a model folder, a tokenizer.json or a GGUF file; no weights are read. */
#include <mizan.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    mz_lm_vocab *vocab = NULL;
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n = 0, bytes = 0;
    int status = 1;
    if (argc != 3) {
        fprintf(stderr, "usage: tokenize SOURCE TEXT\n");
        return 2;
    }
    if (mz_lm_vocab_open(&vocab, argv[1]) == MZ_LM_OK &&
        mz_lm_encode(vocab, argv[2], strlen(argv[2]), 0, &ids, &n) == MZ_LM_OK &&
        mz_lm_decode(vocab, ids, n, 0, &back, &bytes) == MZ_LM_OK) {
        for (size_t i = 0; i < n; i++) {
            size_t length = 0;
            const char *piece = mz_lm_vocab_token(vocab, ids[i], &length);
            printf("%d\t%.*s\n", (int)ids[i], (int)length, piece);
        }
        status = bytes != strlen(argv[2]) || memcmp(back, argv[2], bytes) != 0;
    } else {
        fprintf(stderr, "tokenize: %s\n", mz_lm_error_message());
    }
    mz_lm_free(back);
    mz_lm_free(ids);
    mz_lm_vocab_close(vocab);
    return status;
}
