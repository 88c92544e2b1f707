/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_checkpoint.c - manifest.json and state.json of a checkpoint. What the manifest
 * says of the state is made true where it can be, so that the state is read too. */
#include "tests/fuzz/fuzz.h"

#include "base/file.h"
#include "train/checkpoint.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    char path[MZ_CHECKPOINT_PATH];
    json_t *state = NULL;
    if (!ready) {
        (void)snprintf(path, sizeof path, "%s/checkpoints/step-00000001", mzf_folder());
        MZF_CHECK(mz_file_mkdirs(path) == MZ_OK);
        static const char *const names[] = {"config.json", "model.safetensors",
                                            "optimizer.safetensors", "train.yaml"};
        for (int i = 0; i < MZ_COUNT(names); i++) {
            (void)snprintf(path, sizeof path, "checkpoints/step-00000001/%s", names[i]);
            mzf_put(path, "x", 1);
        }
        mzf_put("checkpoints/step-00000001/state.json", "{\"step\":1}", 10);
        ready = true;
    }
    mzf_begin();
    mzf_put("checkpoints/step-00000001/manifest.json", data, size);
    const mz_err err = mz_checkpoint_newest(mzf_folder(), path, &state);
    mzf_answer(err, MZ_EIO);
    json_decref(state);
    mzf_end();
    return 0;
}
