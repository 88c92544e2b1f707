# SPDX-License-Identifier: Apache-2.0
# Every tests/AREA/test_*.c is one program and one test of that name, with AREA as its label
# (`ctest -L op`). What is beside them without the prefix test_ is linked into each program of the area,
# tests/*.c into all. tests/tools holds the checks of the tree itself.

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_package(Python3 COMPONENTS Interpreter)

set(MIZAN_TEST_TIMEOUT 120 CACHE STRING "seconds that one test program may take")
set(MIZAN_TEST_SHARE 100 CACHE STRING "percentage of the random cases that tests run (mzt_cases)")
# What tests do is not to stand in the registry of whoever runs them.
set(MIZAN_TEST_STATE "XDG_STATE_HOME=${CMAKE_BINARY_DIR}/state")
# Where PoCL keeps the kernels that it has compiled: not in anybody's home.
set(MIZAN_TEST_POCL "POCL_CACHE_DIR=${CMAKE_BINARY_DIR}/pocl")
set(MIZAN_TEST_ENVIRONMENT
  "${MIZAN_TEST_POCL}"
  "${MIZAN_TEST_STATE}"
  "MIZAN_TEST_SHARE=${MIZAN_TEST_SHARE}"
  "ASAN_OPTIONS=allocator_may_return_null=1:detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=0"
  "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/leaks.supp:print_suppressions=0"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "TSAN_OPTIONS=die_after_fork=0:allocator_may_return_null=1:halt_on_error=1:second_deadlock_stack=1")

file(GLOB MIZAN_TEST_SUPPORT CONFIGURE_DEPENDS tests/*.c)
if(MIZAN_TEST_SUPPORT)
  add_library(mizan_test_support STATIC ${MIZAN_TEST_SUPPORT})
  target_include_directories(mizan_test_support PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(mizan_test_support PUBLIC mizan_core PkgConfig::CMOCKA)
endif()

file(GLOB_RECURSE MIZAN_TEST_SOURCES CONFIGURE_DEPENDS tests/*/test_*.c)
foreach(source ${MIZAN_TEST_SOURCES})
  get_filename_component(name ${source} NAME_WE)
  get_filename_component(folder ${source} DIRECTORY)
  get_filename_component(area ${folder} NAME)
  file(GLOB support CONFIGURE_DEPENDS ${folder}/*.c)
  if(area STREQUAL "lib") # sees the program and its small models too
    file(GLOB support CONFIGURE_DEPENDS ${folder}/*.c tests/e2e/*.c)
  endif()
  if(name STREQUAL "test_conform_ascend")
    file(GLOB support CONFIGURE_DEPENDS tests/weigh/*.c)
  endif()
  if(name MATCHES "^test_(train|hccl)_ascend$")
    file(GLOB support CONFIGURE_DEPENDS tests/e2e/program.c)
  endif()
  if(name STREQUAL "test_parity_ascend")
    file(GLOB support CONFIGURE_DEPENDS tests/golden/parity.c)
  endif()
  list(FILTER support EXCLUDE REGEX "/test_[^/]*\\.c$")
  add_executable(${name} ${source} ${support})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  if(area STREQUAL "lib") # first, so that mz_lm_ is the shared library's
    target_link_libraries(${name} PRIVATE mizan_shared)
  endif()
  if(area MATCHES "^(emu|abi)$") # clients of the emulated drivers, and what holds their declarations
    target_link_libraries(${name} PRIVATE mizan_emu_ascend)
  endif()
  target_link_libraries(${name} PRIVATE
    $<$<TARGET_EXISTS:mizan_test_support>:mizan_test_support> mizan_core PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${area} TIMEOUT ${MIZAN_TEST_TIMEOUT}
    SKIP_RETURN_CODE 77 ENVIRONMENT "${MIZAN_TEST_ENVIRONMENT};MIZAN_PROGRAM=$<$<TARGET_EXISTS:mizan>:$<TARGET_FILE:mizan>>")
endforeach()

# A clock that goes back, a driver that crashes; without sanitizers, whose libraries want to be the
# first.
if(NOT CMAKE_CROSSCOMPILING AND TARGET test_train)
  foreach(shim clock_back crashing_opencl)
    add_library(${shim} MODULE tests/shims/${shim}.c)
    target_compile_options(${shim} PRIVATE -fno-sanitize=all)
    target_link_options(${shim} PRIVATE -fno-sanitize=all)
    add_dependencies(test_train ${shim})
  endforeach()
  set_target_properties(crashing_opencl PROPERTIES PREFIX "" OUTPUT_NAME libOpenCL SUFFIX .so.1
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/crashing)
  set_property(TEST test_train APPEND PROPERTY
    ENVIRONMENT "MIZAN_CLOCK_BACK=$<TARGET_FILE:clock_back>")
endif()

# The chip of docs/chips.md is what the page says, to the letter.
set(MIZAN_PAGE_CHIP ${CMAKE_BINARY_DIR}/minimal_chip.c)
add_custom_command(OUTPUT ${MIZAN_PAGE_CHIP}
  COMMAND ${CMAKE_COMMAND} -D ROOT=${CMAKE_SOURCE_DIR} -D PAGE=docs/chips.md -D OUT=${MIZAN_PAGE_CHIP}
          -P ${CMAKE_SOURCE_DIR}/cmake/blocks.cmake
  DEPENDS docs/chips.md cmake/blocks.cmake COMMENT "the chip of docs/chips.md" VERBATIM)
target_sources(test_minimal_chip PRIVATE ${MIZAN_PAGE_CHIP})

# CANN's libraries to link against, by the three names under which the chip looks for them.
if(NOT CMAKE_CROSSCOMPILING AND TARGET test_ascend)
  foreach(name ascendcl nnopbase opapi)
    add_library(stub_${name} MODULE tests/emu/shims/stub_acl.c)
    target_include_directories(stub_${name} PRIVATE src)
    target_compile_options(stub_${name} PRIVATE -fno-sanitize=all)
    target_link_options(stub_${name} PRIVATE -fno-sanitize=all)
    set_target_properties(stub_${name} PROPERTIES OUTPUT_NAME ${name}
      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/stub_acl)
    add_dependencies(test_ascend stub_${name})
  endforeach()
  set_property(TEST test_ascend APPEND PROPERTY
    ENVIRONMENT "MIZAN_STUB_ACL=${CMAKE_BINARY_DIR}/stub_acl")
endif()

# And its HCCL.
if(NOT CMAKE_CROSSCOMPILING AND TARGET test_hccl_ascend)
  add_library(stub_hccl MODULE tests/emu/shims/stub_hccl.c)
  target_include_directories(stub_hccl PRIVATE src)
  target_compile_options(stub_hccl PRIVATE -fno-sanitize=all)
  target_link_options(stub_hccl PRIVATE -fno-sanitize=all)
  set_target_properties(stub_hccl PROPERTIES OUTPUT_NAME hccl LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/stub_acl)
  add_dependencies(test_hccl_ascend stub_hccl)
  set_property(TEST test_hccl_ascend APPEND PROPERTY ENVIRONMENT "MIZAN_STUB_HCCL=$<TARGET_FILE:stub_hccl>")
endif()

# The emulated driver, and chips of its that lack bf16 or operators.
set(MIZAN_CONFORM_ASCEND test_conform_ascend)
foreach(soc Ascend310P3 Ascend910A Ascend950PR_9589)
  add_test(NAME test_conform_${soc} COMMAND test_conform_ascend WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(test_conform_${soc} PROPERTIES LABELS emu TIMEOUT ${MIZAN_TEST_TIMEOUT}
    ENVIRONMENT "${MIZAN_TEST_ENVIRONMENT};MIZAN_EMU_ASCEND_SOC=${soc}")
  list(APPEND MIZAN_CONFORM_ASCEND test_conform_${soc})
endforeach()
add_test(NAME test_parity_Ascend950 COMMAND test_parity_ascend WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_parity_Ascend950 PROPERTIES LABELS emu TIMEOUT ${MIZAN_TEST_TIMEOUT}
  ENVIRONMENT "${MIZAN_TEST_ENVIRONMENT};MIZAN_EMU_ASCEND_SOC=Ascend950PR_9589")
set_property(TEST ${MIZAN_CONFORM_ASCEND} test_parity_ascend test_parity_Ascend950 test_train_ascend
    test_hccl_ascend APPEND PROPERTY
  ENVIRONMENT "MIZAN_EMU_ASCEND_FOLDER=${MIZAN_EMU_ASCEND_FOLDER}")

# The driver compiles every kernel first.
set_tests_properties(test_conform_opencl test_train_ascend PROPERTIES TIMEOUT 600)

if(Python3_FOUND AND NOT CMAKE_CROSSCOMPILING)
  function(mizan_tool_test name)
    add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} -B ${ARGN}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS tools TIMEOUT 120 SKIP_RETURN_CODE 77
      ENVIRONMENT "${MIZAN_TEST_STATE};${MIZAN_TEST_POCL}")
  endfunction()
  foreach(check floors size words calls headers format kernels hostile)
    mizan_tool_test(check_${check} tools/check_${check})
  endforeach()
  mizan_tool_test(check_library tools/check_library $<TARGET_FILE:mizan_shared> ${CMAKE_NM} ${CMAKE_C_COMPILER})
  mizan_tool_test(check_symbols tools/check_symbols $<TARGET_FILE:mizan_core> ${CMAKE_NM})
  if(TARGET mizan)
    foreach(part help man bash zsh fish)
      mizan_tool_test(e2e_${part} tests/e2e/test_manual.py ${part} $<TARGET_FILE:mizan>)
      set_tests_properties(e2e_${part} PROPERTIES LABELS e2e)
    endforeach()
    if(NOT MIZAN_SANITIZE) # many trainings: minutes there, of processes that other tests run
      foreach(part stopped planned)
        mizan_tool_test(e2e_demo_${part} tests/e2e/test_demo.py $<TARGET_FILE:mizan> ${part})
        set_tests_properties(e2e_demo_${part} PROPERTIES LABELS e2e TIMEOUT 240)
      endforeach()
    endif()
    set(parts faults)
    if(NOT MIZAN_SANITIZE) # whose libraries a Python that is not built for them cannot open
      set(parts run step faults socs)
    endif()
    foreach(part ${parts})
      mizan_tool_test(emu_${part} tests/emu/test_emu_tool.py $<TARGET_FILE:mizan> ${part})
      set_tests_properties(emu_${part} PROPERTIES LABELS emu)
    endforeach()
    mizan_tool_test(emu_sweep tests/emu/test_emu_sweep.py $<TARGET_FILE:mizan>)
    set_tests_properties(emu_sweep PROPERTIES LABELS emu)
    mizan_tool_test(e2e_doctor tests/e2e/test_doctor.py $<TARGET_FILE:mizan>
      $<$<TARGET_EXISTS:crashing_opencl>:${CMAKE_BINARY_DIR}/crashing>)
    mizan_tool_test(e2e_chips tests/e2e/test_chips.py $<TARGET_FILE:mizan>)
    mizan_tool_test(e2e_quickstart tests/e2e/test_quickstart.py $<TARGET_FILE:mizan>)
    mizan_tool_test(e2e_runs tests/e2e/test_runs.py $<TARGET_FILE:mizan>)
    set_tests_properties(e2e_chips e2e_doctor e2e_quickstart e2e_runs PROPERTIES LABELS e2e)
  endif()
  if(TARGET mizan_made) # what people install, from this build
    foreach(part examples python)
      add_test(NAME package_${part} COMMAND tools/check_package ${CMAKE_BINARY_DIR} ${part}
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
      set_tests_properties(package_${part} PROPERTIES LABELS lib TIMEOUT 240 SKIP_RETURN_CODE 77
        RESOURCE_LOCK install_manifest)
    endforeach()
  endif()
  file(GLOB MIZAN_TOOL_TESTS CONFIGURE_DEPENDS tests/tools/test_*.py)
  foreach(source ${MIZAN_TOOL_TESTS})
    get_filename_component(name ${source} NAME_WE)
    mizan_tool_test(tools_${name} ${source})
  endforeach()
endif()
