# SPDX-License-Identifier: Apache-2.0
# Texts of the device kernels into the program: every src/chips/kernels/*.cl, with what it includes put
# in its place once, becomes an array of bytes, and all of them a table by name
# (src/chips/kernels/texts.h). Written while building, by this file run as a script
# (cmake -D OUT=FILE -D ROOT=SOURCES -P kernels.cmake), so that only CMake is needed. An array and not a
# string: C promises no literals longer than 4,095 characters.
if(CMAKE_SCRIPT_MODE_FILE)
  cmake_minimum_required(VERSION 3.21)
  function(mizan_kernel_text path text_of)
    file(READ ${path} text)
    set(seen)
    while(text MATCHES "#include \"([^\"\n]*)\"\n")
      set(line ${CMAKE_MATCH_0})
      set(header ${CMAKE_MATCH_1})
      set(inside "")
      if(NOT header IN_LIST seen)
        list(APPEND seen ${header})
        file(READ ${ROOT}/src/${header} inside)
      endif()
      string(REPLACE "${line}" "${inside}" text "${text}")
    endwhile()
    set(${text_of} "${text}" PARENT_SCOPE)
  endfunction()

  file(GLOB sources ${ROOT}/src/chips/kernels/*.cl) # sorted by name
  set(arrays "")
  set(table "")
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    mizan_kernel_text(${source} text)
    file(WRITE ${OUT}.cl "${text}")
    file(READ ${OUT}.cl bytes HEX)
    string(LENGTH "${bytes}" digits)
    math(EXPR count "${digits} / 2")
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(APPEND arrays "static const char text_${name}[] = {${bytes}0};\n")
    string(APPEND table "    {\"${name}\", text_${name}, ${count}},\n")
  endforeach()
  file(REMOVE ${OUT}.cl)
  list(LENGTH sources count)
  file(WRITE ${OUT} "#include \"chips/kernels/texts.h\"\n\n${arrays}
const mz_kernel_text mz_kernel_texts[] = {\n${table}};\nconst int mz_kernel_texts_count = ${count};\n")
  return()
endif()

file(GLOB MIZAN_KERNELS CONFIGURE_DEPENDS src/chips/kernels/*.cl)
file(GLOB MIZAN_KERNEL_HEADERS CONFIGURE_DEPENDS src/chips/kernels/*.h)
set(MIZAN_KERNEL_TEXTS ${CMAKE_BINARY_DIR}/kernel_texts.c)
add_custom_command(OUTPUT ${MIZAN_KERNEL_TEXTS}
  COMMAND ${CMAKE_COMMAND} -D OUT=${MIZAN_KERNEL_TEXTS} -D ROOT=${CMAKE_SOURCE_DIR}
          -P ${CMAKE_SOURCE_DIR}/cmake/kernels.cmake
  DEPENDS ${MIZAN_KERNELS} ${MIZAN_KERNEL_HEADERS} cmake/kernels.cmake
  COMMENT "texts of the device kernels" VERBATIM)
target_sources(mizan_core PRIVATE ${MIZAN_KERNEL_TEXTS})
