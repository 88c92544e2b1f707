# SPDX-License-Identifier: Apache-2.0
# The blocks of C of a page (PAGE, in ROOT) as one file (OUT), whose errors point into the page:
#   cmake -D ROOT=SOURCES -D PAGE=docs/NAME.md -D OUT=FILE.c -P cmake/blocks.cmake
# String by string and not with lists: C is full of semicolons.
cmake_minimum_required(VERSION 3.21)
file(READ ${ROOT}/${PAGE} rest)
set(line 1)
set(code "")

# Cuts `rest` behind the first `mark`; what stood before it, mark included, becomes `before`.
macro(mizan_cut mark)
  string(FIND "${rest}" "${mark}" found)
  if(found EQUAL -1)
    message(FATAL_ERROR "${PAGE}: a block that begins at line ${line} does not end")
  endif()
  string(LENGTH "${mark}" length)
  math(EXPR found "${found} + ${length}")
  string(SUBSTRING "${rest}" 0 ${found} before)
  string(SUBSTRING "${rest}" ${found} -1 rest)
  string(REGEX REPLACE "[^\n]" "" newlines "${before}")
  string(LENGTH "${newlines}" newlines)
  math(EXPR line "${line} + ${newlines}")
endmacro()

while(rest MATCHES "\n```c\n")
  mizan_cut("\n```c\n")
  set(begun ${line})
  mizan_cut("\n```\n")
  string(REGEX REPLACE "```\n$" "" before "${before}")
  string(APPEND code "#line ${begun} \"${PAGE}\"\n${before}")
endwhile()
file(WRITE ${OUT} "${code}")
