/* SPDX-License-Identifier: Apache-2.0 */
/* examples/chat.c - a conversation, a message a line: chat MODEL
 *
 * The whole conversation is given anew for every answer; what the session's cache still holds of it
 * is not computed again (reuse). */
#include <mizan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 64, LINE = 4096 };

static int show(void *user, int32_t id, const char *text, size_t bytes)
{
    (void)user;
    (void)id;
    fwrite(text, 1, bytes, stdout);
    return fflush(stdout) != 0;
}

/* A copy that lives as long as the conversation; NULL when out of memory. */
static char *copy(const char *text, size_t bytes)
{
    char *out = malloc(bytes + 1);
    if (!out) return NULL;
    memcpy(out, text, bytes);
    out[bytes] = '\0';
    return out;
}

/* The answer to the last message; NULL with an error message. */
static char *answer_to(mz_lm *lm, mz_lm_session *session, const mz_lm_message *messages, size_t n)
{
    int32_t *ids = NULL;
    size_t count = 0;
    char *text = NULL;
    mz_lm_answer answer = MZ_LM_ANSWER_INIT;
    mz_lm_generate_options options = MZ_LM_GENERATE_INIT;
    options.as_model = 1; /* sampled as the model's own settings say */
    options.reuse = 1;
    options.on_token = show;
    if (mz_lm_chat_encode(mz_lm_vocab_of(lm), messages, n, NULL, &ids, &count) == MZ_LM_OK &&
        mz_lm_generate(session, ids, count, &options, &answer) == MZ_LM_OK)
        text = copy(answer.text, answer.text_bytes);
    else
        fprintf(stderr, "chat: %s\n", mz_lm_error_message());
    mz_lm_free(ids);
    return text;
}

int main(int argc, char **argv)
{
    mz_lm *lm = NULL;
    mz_lm_session *session = NULL;
    mz_lm_message messages[TURNS];
    char *texts[TURNS], line[LINE];
    size_t n = 0;
    int status = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: chat MODEL\n");
        return 2;
    }
    if (mz_lm_open(&lm, argv[1], NULL) != MZ_LM_OK ||
        mz_lm_session_new(&session, lm, NULL) != MZ_LM_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], mz_lm_error_message());
        mz_lm_close(lm);
        return 1;
    }
    while (n + 2 <= TURNS && fgets(line, sizeof line, stdin)) {
        texts[n] = copy(line, strcspn(line, "\n"));
        if (!texts[n]) break;
        messages[n] = (mz_lm_message){"user", texts[n], NULL};
        n++;
        texts[n] = answer_to(lm, session, messages, n);
        status = texts[n] == NULL;
        if (status) break;
        messages[n] = (mz_lm_message){"assistant", texts[n], NULL};
        n++;
        putchar('\n');
    }
    while (n > 0) free(texts[--n]);
    mz_lm_session_free(session);
    mz_lm_close(lm);
    return status;
}
