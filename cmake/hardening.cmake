# SPDX-License-Identifier: Apache-2.0
# Flags of a release build that make a memory error harder to abuse. Each is probed: compilers and
# machines differ, and a flag that is not known is left out, never an error. Off in Debug and
# sanitizer builds, where FORTIFY gives false results.

include(CheckCCompilerFlag)
include(CheckLinkerFlag)

set(MIZAN_HARDENING)
set(MIZAN_HARDENING_LINK)

# Adds flag to a list if a program can be built with it.
function(mizan_probe list kind flag)
  string(MAKE_C_IDENTIFIER "MIZAN_HAS_${flag}" known)
  # Without -Werror clang only warns about a flag that it ignores.
  set(CMAKE_REQUIRED_FLAGS "-Werror")
  if(kind STREQUAL "link")
    check_linker_flag(C "${flag}" ${known})
  else()
    check_c_compiler_flag("${flag}" ${known})
  endif()
  if(${known})
    set(${list} ${${list}} "${flag}" PARENT_SCOPE)
  endif()
endfunction()

if(MIZAN_HARDEN)
  mizan_probe(MIZAN_HARDENING compile -fstack-protector-strong)
  mizan_probe(MIZAN_HARDENING compile -fstack-clash-protection)
  mizan_probe(MIZAN_HARDENING compile -fcf-protection=full)
  mizan_probe(MIZAN_HARDENING compile -mbranch-protection=standard)
  mizan_probe(MIZAN_HARDENING compile -ftrivial-auto-var-init=zero)
  mizan_probe(MIZAN_HARDENING compile -fstrict-flex-arrays=3)
  mizan_probe(MIZAN_HARDENING compile -fno-delete-null-pointer-checks)
  mizan_probe(MIZAN_HARDENING compile -fno-strict-overflow)
  # FORTIFY wants optimisation; level 3 wants gcc 12 or clang 9 and is 2 before.
  list(APPEND MIZAN_HARDENING -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  foreach(flag -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
    mizan_probe(MIZAN_HARDENING_LINK link ${flag})
  endforeach()
endif()
