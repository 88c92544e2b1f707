/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/lacks.c - operators that a chip does not have, by the product tables of the operators'
 * documents; what a document does not list, a chip lacks. */
#include "ascend/state.h"

#include <string.h>

enum { ON_950 = 1, ON_910A = 2, ON_310P = 4 };

static const struct {
    const char *name;
    unsigned lacking;
} LACKS[] = {
    {"Add", ON_310P},
    {"InplaceAdd", ON_310P},
    {"Div", ON_310P},
    {"SiluBackward", ON_310P},
    {"IndexPutImpl", ON_310P},
    {"IsFinite", ON_310P},
    {"RmsNorm", ON_910A},
    {"RmsNormGrad", ON_910A},
    {"CrossEntropyLoss", ON_910A | ON_310P},
    {"CrossEntropyLossGrad", ON_910A | ON_310P},
    {"ScatterAdd", ON_910A | ON_310P},
    {"IndexAdd", ON_910A | ON_310P},
    {"ApplyAdamWV2", ON_910A | ON_310P},
    {"RotaryPositionEmbedding", ON_910A | ON_310P},
    {"RotaryPositionEmbeddingGrad", ON_910A | ON_310P},
    {"SwiGlu", ON_910A},
    {"SwiGluGrad", ON_910A},
    {"Scatter", ON_910A | ON_310P},
    {"Gather", ON_950 | ON_910A | ON_310P},
    {"GroupedMatmulV4", ON_910A | ON_310P},
    {"FlashAttentionScore", ON_950 | ON_910A | ON_310P},
    {"FlashAttentionScoreGrad", ON_950 | ON_910A | ON_310P},
    {"FlashAttentionScoreV2", ON_910A | ON_310P},
    {"FlashAttentionScoreGradV2", ON_910A | ON_310P},
};

static unsigned bit_of(const char *soc)
{
    if (strncmp(soc, "Ascend950", 9) == 0) return ON_950;
    if (strncmp(soc, "Ascend910A", 10) == 0) return ON_910A;
    return strncmp(soc, "Ascend310P", 10) == 0 ? ON_310P : 0;
}

bool emu_soc_lacks(const char *op)
{
    const unsigned here = bit_of(emu_soc_here()->name);
    for (size_t i = 0; here && i < sizeof LACKS / sizeof *LACKS; i++)
        if (strcmp(LACKS[i].name, op) == 0) return LACKS[i].lacking & here;
    return false;
}
