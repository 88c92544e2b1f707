/* SPDX-License-Identifier: Apache-2.0 */
/* train/yaml.h - one YAML document of a short file or of a value on the command line, with places
 * for messages. Only its callers see libfyaml. JSON is YAML too.
 *
 * Floor:  train.
 * Errors: MZ_ECONFIG with the place: no YAML, no text, a directive, a second document, too many
 *         keys; MZ_ENOMEM.
 * Owner:  the caller closes the document. */
#ifndef MZ_TRAIN_YAML_H
#define MZ_TRAIN_YAML_H

#include "train/config.h"

#include <libfyaml.h>

/* where: of the text, for messages; key: that it is the value of, or "". */
mz_err mz_yaml_open(struct fy_document **doc, const char *text, size_t bytes, const mz_place *where,
                    const char *key);
void mz_yaml_close(struct fy_document *doc); /* NULL is legal */

/* Where a scalar begins; line 0 where that is unknown. */
mz_place mz_yaml_place(const char *file, struct fy_node *node);
/* A scalar as text; false for anything else, for an alias and for text with NUL in it. */
bool mz_yaml_scalar(struct fy_node *node, char *out, size_t out_bytes);

#endif
