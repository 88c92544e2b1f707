/* SPDX-License-Identifier: Apache-2.0 */
/* chip/registry.c - which chips this program knows. Tables are registered once at start, before any
 * other thread runs; afterwards the list is only read, so it needs no lock.
 *
 * Floor:  chip. May use tensor, base. */
#include "chip/chip.h"

#include <string.h>

enum { CHIPS_MAX = 32 };

static const mz_chip *chips[CHIPS_MAX];
static int n_chips;

/* A table without these cannot be opened, filled with data or waited for. */
static bool is_whole(const mz_chip *c)
{
    return c->open && c->alloc && c->free && c->queue_sync && c->upload && c->download && c->copy &&
           c->zero;
}

static mz_err check_slots(const mz_chip *chip)
{
    for (int kind = 0; kind < MZ_OP_COUNT; kind++) {
        const mz_slot *s = &chip->op[kind];
        MZ_NEED(!s->query == !s->forward, "chip %s, %s: query without forward or the reverse",
                chip->name, mz_op_name((mz_op_kind)kind));
    }
    return MZ_OK;
}

mz_err mz_chip_register(const mz_chip *chip)
{
    MZ_NEED(chip && chip->name && chip->name[0] && !strchr(chip->name, ':'),
            "a chip needs a name without a colon");
    MZ_NEED(chip->abi == MZ_CHIP_ABI && chip->bytes == sizeof(mz_chip),
            "chip %s was built for table version %d of %zu bytes, this is %d of %zu", chip->name,
            chip->abi, chip->bytes, (int)MZ_CHIP_ABI, sizeof(mz_chip));
    MZ_NEED(is_whole(chip), "chip %s lacks a function that every chip has", chip->name);
    MZ_NEED(!chip->pack_bytes == !chip->pack && !chip->pack == !chip->unpack,
            "chip %s fills only some of pack_bytes, pack and unpack", chip->name);
    MZ_TRY(check_slots(chip));
    MZ_NEED(!mz_chip_find(chip->name), "a chip named %s is registered already", chip->name);
    MZ_NEED(n_chips < CHIPS_MAX, "more than %d chips", (int)CHIPS_MAX);
    chips[n_chips++] = chip;
    return MZ_OK;
}

int mz_chip_count(void)
{
    return n_chips;
}

const mz_chip *mz_chip_get(int i)
{
    return i >= 0 && i < n_chips ? chips[i] : NULL;
}

const mz_chip *mz_chip_find(const char *name)
{
    for (int i = 0; i < n_chips; i++)
        if (strcmp(chips[i]->name, name) == 0) return chips[i];
    return NULL;
}
