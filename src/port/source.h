/* SPDX-License-Identifier: Apache-2.0 */
/* port/source.h - a model wherever it comes from: a Hugging Face folder or a GGUF file.
 *
 * Floor:  port. May use model, file, chip, tensor, base.
 * Owner:  a source owns the open files; what comes out of it is borrowed until close.
 * Errors: those of port/hf.h and port/gguf.h; MZ_EIO where nothing is at the path. */
#ifndef MZ_PORT_SOURCE_H
#define MZ_PORT_SOURCE_H

#include "file/gguf.h"
#include "file/hub.h"
#include "model/model.h"

typedef struct mz_source mz_source;

/* Opens the files and reads the config; no weights are read. */
mz_err mz_source_open(mz_source **s, const char *path);
void mz_source_close(mz_source *s); /* NULL is legal */
const char *mz_source_path(const mz_source *s);
const mz_config *mz_source_config(const mz_source *s);
/* From now on load adds this adapter (port/adapter.h) to the weights; NULL or "": none. The name is
 * borrowed. */
void mz_source_adapt(mz_source *s, const char *folder);
/* Copies the weights to the chip, each rounded once to the parameter's dtype. Waits. */
mz_err mz_source_load(const mz_source *s, mz_params *p, mz_queue *q);

/* The weights alone, without MTP layers, for models that share them (mz_model_options.weights);
 * as_stored as below. The caller clears p before the source is closed. Waits. */
mz_err mz_source_weights(mz_params *p, const mz_source *s, mz_queue *q, mz_dtype dtype,
                         bool as_stored);
/* A model with the source's weights in it. as_stored: the weights are used as they lie in the
 * file, in their dtype or blocks and mapped, as far as the chip takes them (what it does not is
 * said in the log) and o->train is off; else only those of o->dtype are, and the others are copied
 * into it. The source must stay open for as long as the model lives. Waits. */
mz_err mz_source_model(mz_model **m, const mz_source *s, mz_queue *q, const mz_model_options *o,
                       bool as_stored);

/* The one that it is; the other is NULL. */
const mz_hub *mz_source_hub(const mz_source *s);
const mz_gguf *mz_source_gguf(const mz_source *s);

#endif
