/* SPDX-License-Identifier: Apache-2.0 */
/* file/hub.h - a Hugging Face folder: config.json and the weights in one or several safetensors.
 *
 * Floor:  file. May use tensor, base.
 * Owner:  mz_hub owns the open files; tensors are borrowed until close.
 * Errors: MZ_EIO: no such folder, no config.json, no weights; MZ_ECORRUPT: a shard that the index
 *         names is missing, a tensor stands twice or in another file than the index says, a file
 *         name in the index leaves the folder. */
#ifndef MZ_FILE_HUB_H
#define MZ_FILE_HUB_H

#include "base/json.h"
#include "file/safetensors.h"

typedef struct mz_hub mz_hub;

mz_err mz_hub_open(mz_hub **hub, const char *folder);
void mz_hub_close(mz_hub *hub);          /* NULL is legal */
mz_err mz_hub_intact(const mz_hub *hub); /* mz_st_intact of every file */
const char *mz_hub_folder(const mz_hub *hub);
const char *mz_hub_config_path(const mz_hub *hub);
const json_t *mz_hub_config(const mz_hub *hub); /* borrowed */
int64_t mz_hub_count(const mz_hub *hub);        /* tensors of all files */
const mz_st_tensor *mz_hub_at(const mz_hub *hub, int64_t i, const char **file);
const mz_st_tensor *mz_hub_find(const mz_hub *hub, const char *name);
/* The path of the file that a tensor of this hub is in. */
const char *mz_hub_file_of(const mz_hub *hub, const mz_st_tensor *t);

#endif
