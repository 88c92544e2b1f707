# SPDX-License-Identifier: Apache-2.0
# libmizan.so: the objects of src/lib, which alone carry public symbols, and what of mizan_core they
# need. Everything is compiled once, position-independent and hidden, for the program and for this.
# The system's libraries stay shared here, also where the program has them inside (MIZAN_STATIC).

file(STRINGS include/mizan.h MIZAN_HEADER REGEX "^#define MIZAN_(VERSION|ABI) ")
string(REGEX REPLACE ".*MIZAN_VERSION \"([0-9.]+)\".*" "\\1" MIZAN_HEADER_VERSION "${MIZAN_HEADER}")
string(REGEX REPLACE ".*MIZAN_ABI ([0-9]+).*" "\\1" MIZAN_ABI "${MIZAN_HEADER}")
if(NOT MIZAN_HEADER_VERSION STREQUAL PROJECT_VERSION)
  message(FATAL_ERROR "include/mizan.h says ${MIZAN_HEADER_VERSION}, this is ${PROJECT_VERSION}")
endif()

set(MIZAN_EXPORTS ${CMAKE_SOURCE_DIR}/src/lib/mizan.map)
add_library(mizan_shared SHARED $<TARGET_OBJECTS:mizan_lib>)
add_dependencies(mizan_shared mizan_core)
set_target_properties(mizan_shared PROPERTIES OUTPUT_NAME mizan SOVERSION ${MIZAN_ABI}
  VERSION ${MIZAN_ABI}.0.0 LINKER_LANGUAGE C LINK_DEPENDS "${MIZAN_EXPORTS};$<TARGET_FILE:mizan_core>")
target_include_directories(mizan_shared INTERFACE include)
target_link_options(mizan_shared PRIVATE -Wl,--version-script=${MIZAN_EXPORTS} -Wl,--as-needed)
if(NOT MIZAN_SANITIZE) # whose runtime is the program's
  target_link_options(mizan_shared PRIVATE -Wl,--no-undefined)
endif()
target_link_libraries(mizan_shared PRIVATE $<TARGET_FILE:mizan_core> ${MIZAN_SHARED_LIBRARIES}
  Threads::Threads ${CMAKE_DL_LIBS} m)

# mizan.pc finds its prefix from where it lies, so an installed tree may be moved.
file(RELATIVE_PATH MIZAN_PC_UP "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" MIZAN_PC_UP "${MIZAN_PC_UP}")
configure_file(cmake/mizan.pc.in mizan.pc @ONLY)
