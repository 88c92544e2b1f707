# SPDX-License-Identifier: Apache-2.0
# Emulated drivers: libraries with a vendor's names, in a folder of their own (BUILD/emu/VENDOR), which
# no part of Mizan links. A client finds them through LD_LIBRARY_PATH. One library holds the code; the
# vendor's names are empty ones that need it, so that any split of names is the same code.

file(GLOB MIZAN_EMU_ASCEND_SOURCES CONFIGURE_DEPENDS emu/common/*.c emu/ascend/*.c)
set(MIZAN_EMU_ASCEND_FOLDER ${CMAKE_BINARY_DIR}/emu/ascend)
add_library(mizan_emu_ascend SHARED ${MIZAN_EMU_ASCEND_SOURCES})
target_include_directories(mizan_emu_ascend PUBLIC emu)
target_link_libraries(mizan_emu_ascend PRIVATE Threads::Threads m)
# Its own calls do not go by names, so that `mizan emu` can take a name away.
target_link_options(mizan_emu_ascend PRIVATE -Wl,-Bsymbolic-functions)
set_target_properties(mizan_emu_ascend PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${MIZAN_EMU_ASCEND_FOLDER})
install(TARGETS mizan_emu_ascend LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/mizan/emu/ascend COMPONENT program)
# The same sums on every host: no product is fused with one.
set_source_files_properties(emu/ascend/ops_matmul.c PROPERTIES COMPILE_OPTIONS "-O3;-ffp-contract=off")
# Integers wrap, as those of the device do.
set_source_files_properties(emu/ascend/ops_map.c PROPERTIES COMPILE_OPTIONS "-fwrapv")

file(WRITE ${CMAKE_BINARY_DIR}/emu/empty.c.new "typedef int emulated_driver_name;\n")
file(COPY_FILE ${CMAKE_BINARY_DIR}/emu/empty.c.new ${CMAKE_BINARY_DIR}/emu/empty.c ONLY_IF_DIFFERENT)
foreach(name ascendcl nnopbase opapi opapi_math opapi_nn opapi_transformer hccl hcomm acl_op_compiler ge_runner graph
    acl_tdt_channel)
  add_library(emu_${name} SHARED ${CMAKE_BINARY_DIR}/emu/empty.c)
  target_link_libraries(emu_${name} PRIVATE mizan_emu_ascend)
  target_link_options(emu_${name} PRIVATE -Wl,--no-as-needed)
  set_target_properties(emu_${name} PROPERTIES OUTPUT_NAME ${name} BUILD_RPATH "$ORIGIN"
    BUILD_RPATH_USE_ORIGIN ON INSTALL_RPATH "$ORIGIN" LIBRARY_OUTPUT_DIRECTORY ${MIZAN_EMU_ASCEND_FOLDER})
  install(TARGETS emu_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/mizan/emu/ascend COMPONENT program)
endforeach()

# The chips of emu/chips.yaml, as a list of macros that soc.c makes its table of.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/emu/chips.yaml)
file(STRINGS emu/chips.yaml MIZAN_EMU_CHIPS REGEX "^[^#]")
set(defines "")
set(rows "#define EMU_CHIP_LIST(X)")
set(keys "soc: ([A-Za-z0-9_]+)")
foreach(key bf16 infnan streams memory_mib cube vector mhz)
  string(APPEND keys ", ${key}: ([0-9]+)")
endforeach()
set(more "gb_per_s: ([0-9]+), f32_share: ([0-9]+)") # nine groups are all that CMake has
foreach(line ${MIZAN_EMU_CHIPS})
  if(line MATCHES "^(launch_ns|host_ns|host_gb_per_s|link_gb_per_s): ([0-9]+)$")
    string(TOUPPER ${CMAKE_MATCH_1} name)
    string(APPEND defines "#define EMU_${name} ${CMAKE_MATCH_2}\n")
  elseif(line MATCHES "^  - \\{${keys}, (.*)\\}$")
    string(APPEND rows " \\\n    X(\"${CMAKE_MATCH_1}\", ${CMAKE_MATCH_2}, ${CMAKE_MATCH_3}, ${CMAKE_MATCH_4}, "
      "${CMAKE_MATCH_5}, ${CMAKE_MATCH_6}, ${CMAKE_MATCH_7}, ${CMAKE_MATCH_8}, ")
    if(NOT CMAKE_MATCH_9 MATCHES "^${more}$")
      message(FATAL_ERROR "emu/chips.yaml: a chip with other keys: ${line}")
    endif()
    string(APPEND rows "${CMAKE_MATCH_1}, ${CMAKE_MATCH_2})")
  elseif(NOT line STREQUAL "chips:")
    message(FATAL_ERROR "emu/chips.yaml: not a line that the build reads: ${line}")
  endif()
endforeach()
file(WRITE ${CMAKE_BINARY_DIR}/emu/emu_chips.h.new "${defines}${rows}\n")
file(COPY_FILE ${CMAKE_BINARY_DIR}/emu/emu_chips.h.new ${CMAKE_BINARY_DIR}/emu/emu_chips.h ONLY_IF_DIFFERENT)
target_include_directories(mizan_emu_ascend PRIVATE ${CMAKE_BINARY_DIR}/emu)
