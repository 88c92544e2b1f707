/* SPDX-License-Identifier: Apache-2.0 */
/* examples/train_step.c - teaches a model one text and saves it: train_step MODEL TEXT OUT [STEPS]
 *
 * OUT is then a model folder that `mizan generate` and transformers read. */
#include <mizan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int learn(mz_lm_trainer *t, const int32_t *ids, size_t n, int steps)
{
    mz_lm_optim optim = MZ_LM_OPTIM_INIT;
    mz_lm_step step = MZ_LM_STEP_INIT;
    optim.lr = 3e-3;
    for (int i = 0; i < steps; i++) {
        /* without labels each position is to say the id that follows it */
        if (mz_lm_trainer_step(t, ids, NULL, 1, (int64_t)n, &optim, &step) != MZ_LM_OK) return 1;
        printf("step %lld  loss %.4f  gradient norm %.4f\n", (long long)step.step, step.loss,
               step.grad_norm);
    }
    return 0;
}

int main(int argc, char **argv)
{
    mz_lm_vocab *vocab = NULL;
    mz_lm_trainer *trainer = NULL;
    mz_lm_trainer_options options = MZ_LM_TRAINER_INIT;
    int32_t *ids = NULL;
    size_t n = 0;
    if (argc < 4) {
        fprintf(stderr, "usage: train_step MODEL TEXT OUT [STEPS]\n");
        return 2;
    }
    const int steps = argc > 4 ? atoi(argv[4]) : 10;
    int status = mz_lm_vocab_open(&vocab, argv[1]) != MZ_LM_OK ||
                 mz_lm_encode(vocab, argv[2], strlen(argv[2]), 0, &ids, &n) != MZ_LM_OK;
    if (status == 0) {
        options.rows = 1;
        options.seq = (int64_t)n;
        status = mz_lm_trainer_open(&trainer, argv[1], &options) != MZ_LM_OK ||
                 learn(trainer, ids, n, steps) != 0 ||
                 mz_lm_trainer_save(trainer, argv[3]) != MZ_LM_OK;
    }
    if (status != 0) fprintf(stderr, "train_step: %s\n", mz_lm_error_message());
    mz_lm_trainer_close(trainer);
    mz_lm_free(ids);
    mz_lm_vocab_close(vocab);
    return status;
}
