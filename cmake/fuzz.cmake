# SPDX-License-Identifier: Apache-2.0
# Fuzz targets: tests/fuzz/fuzz_NAME.c is the program and the test fuzz_NAME, its corpus
# tests/fuzz/corpus/NAME. With MIZAN_FUZZ (preset fuzz, clang) libFuzzer drives it for
# MIZAN_FUZZ_SECONDS; in every other build replay.c runs the corpus and damages each file of it.

option(MIZAN_FUZZ "build the fuzz targets with libFuzzer, and no other test" OFF)
set(MIZAN_FUZZ_SECONDS 10 CACHE STRING "seconds that each fuzz target runs")

file(GLOB MIZAN_FUZZ_SOURCES CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)

# The parsers without the chips, whose kernels take long to compile and parse nothing.
if(MIZAN_FUZZ)
  set(parsers ${MIZAN_SOURCES})
  list(FILTER parsers INCLUDE REGEX "src/(base|tensor|chip|file|text|op|model|port|train)/")
  add_library(mizan_parsers STATIC EXCLUDE_FROM_ALL ${parsers} tests/fuzz/fuzz.c)
  target_include_directories(mizan_parsers PUBLIC src ${CMAKE_SOURCE_DIR})
  target_compile_options(mizan_parsers PUBLIC -fsanitize=fuzzer-no-link)
  target_link_libraries(mizan_parsers PUBLIC ${MIZAN_LIBRARIES} Threads::Threads ${CMAKE_DL_LIBS} m)
  set(MIZAN_FUZZ_TIMEOUT 120)
  math(EXPR MIZAN_FUZZ_TIMEOUT "${MIZAN_FUZZ_SECONDS} + 120")
else()
  add_library(mizan_parsers STATIC tests/fuzz/fuzz.c tests/fuzz/replay.c)
  target_include_directories(mizan_parsers PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(mizan_parsers PUBLIC mizan_core)
endif()

set(MIZAN_FUZZ_TARGETS)
foreach(source ${MIZAN_FUZZ_SOURCES})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE fuzz_ "" corpus ${name})
  list(APPEND MIZAN_FUZZ_TARGETS ${name})
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE mizan_parsers)
  if(MIZAN_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set(found ${CMAKE_BINARY_DIR}/corpus/${corpus}) # what it finds, kept between runs
    file(MAKE_DIRECTORY ${found})
    set(words)
    if(EXISTS ${CMAKE_SOURCE_DIR}/tests/fuzz/${corpus}.dict)
      set(words -dict=${CMAKE_SOURCE_DIR}/tests/fuzz/${corpus}.dict)
    endif()
    add_test(NAME ${name} COMMAND ${name} -max_total_time=${MIZAN_FUZZ_SECONDS} -timeout=20
      -rss_limit_mb=1024 -malloc_limit_mb=512 -max_len=4096 -print_final_stats=1 -verbosity=1 ${words}
      -artifact_prefix=${CMAKE_BINARY_DIR}/${name}- ${found} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${corpus})
    # A small quarantine: encoders are large, and giving their pages back would be half of the time.
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT ${MIZAN_FUZZ_TIMEOUT}
      ENVIRONMENT "ASAN_OPTIONS=quarantine_size_mb=8")
  else()
    add_test(NAME ${name} COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${corpus}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT ${MIZAN_TEST_TIMEOUT}
      ENVIRONMENT "${MIZAN_TEST_ENVIRONMENT}")
  endif()
endforeach()
add_custom_target(fuzz DEPENDS ${MIZAN_FUZZ_TARGETS})
