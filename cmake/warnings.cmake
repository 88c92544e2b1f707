# SPDX-License-Identifier: Apache-2.0
# The warnings that every file of Mizan compiles without. They are errors for us (MIZAN_WERROR), but
# not in the release preset, because a newer compiler must not break a user's build, nor under gcc's
# sanitizers, whose checks in the code make it warn of what cannot happen.

set(MIZAN_WARNINGS
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wfloat-equal
  -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wswitch-enum -Wformat=2 -Wcast-qual
  -Wimplicit-fallthrough -Wpointer-arith
  # errors in every build: code that gets these wrong does not work
  -Werror=implicit-function-declaration -Werror=incompatible-pointer-types
  -Werror=int-conversion -Werror=return-type)
# Before 12 gcc forgets that an initialiser names its fields once it has met a compound literal in it.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 12)
  list(APPEND MIZAN_WARNINGS -Wno-missing-field-initializers)
endif()
if(MIZAN_WERROR)
  list(APPEND MIZAN_WARNINGS -Werror)
endif()
