/* SPDX-License-Identifier: Apache-2.0 */
/* app/completion.h - the pieces that the scripts of the three shells are made of. Inside app/. */
#ifndef MZ_APP_COMPLETION_H
#define MZ_APP_COMPLETION_H

#include "app/cli.h"
#include "app/sheet.h"

/* "a|b" with blanks in place of '|'. */
void mz_complete_choices(mz_sheet *s, const char *choices);
/* In single quotes, and with what _arguments and _describe take apart behind a backslash. */
void mz_complete_zsh_text(mz_sheet *s, const char *text);
void mz_complete_fish_text(mz_sheet *s, const char *text); /* with the quotes around it */

/* Whether it is a chip around another one, which is named behind its colon ("SPEC"). */
bool mz_complete_is_around(const mz_chip *chip);
/* Every chip and profile of one, also inside those around another, with blanks between; colon: what
 * stands for ':' in this script. */
void mz_complete_chips(mz_sheet *s, const char *colon);

/* Whether KEY=VALUE may follow the file. */
bool mz_complete_has_keys(const mz_command *command);
/* A function of that shell that completes KEY=VALUE: _mizan_key, __mizan_keys. */
void mz_complete_keys_bash(mz_sheet *s);
void mz_complete_keys_zsh(mz_sheet *s);
void mz_complete_keys_fish(mz_sheet *s);

#endif
