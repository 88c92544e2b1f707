# SPDX-License-Identifier: Apache-2.0
# Kernels of the CPU chip: every *.isa.c is compiled once per instruction set, with that set's flags
# and MZ_CPU_ISA = its name; isa.c learns from MZ_CPU_BUILT_<name> which there are. A set whose flags
# the compiler does not know is left out.
#
# -O2 in every build type: vector code without optimisation is a hundred times slower, and tests run
# it. No contraction by the compiler: where a product and a sum are fused, the source says so.
include(CheckCCompilerFlag)
file(GLOB MIZAN_ISA_SOURCES CONFIGURE_DEPENDS src/chips/cpu/*.isa.c)

# Sanitizer builds check what the kernels touch in two sets; undefined-behaviour checks and full
# optimisation of this vector code take minutes a file and gigabytes, and the sets share one source.
set(MIZAN_ISA_OPTIMISE -O2)
if(MIZAN_SANITIZE)
  set(MIZAN_ISA_OPTIMISE -O1 -fno-sanitize=undefined)
elseif(MIZAN_ANALYZE)
  set(MIZAN_ISA_OPTIMISE -O2 -fno-analyzer) # it follows no vectors, and takes minutes a file
endif()

function(mizan_isa name)
  list(JOIN ARGN " " flags)
  if(flags)
    set(CMAKE_REQUIRED_FLAGS "-Werror")
    check_c_compiler_flag("${flags}" MIZAN_HAS_ISA_${name})
    if(NOT MIZAN_HAS_ISA_${name})
      return()
    endif()
  endif()
  add_library(mizan_isa_${name} OBJECT ${MIZAN_ISA_SOURCES})
  target_include_directories(mizan_isa_${name} PRIVATE src)
  target_compile_definitions(mizan_isa_${name} PRIVATE MZ_CPU_ISA=${name})
  target_compile_options(mizan_isa_${name} PRIVATE ${MIZAN_ISA_OPTIMISE} -ffp-contract=off ${ARGN})
  target_sources(mizan_core PRIVATE $<TARGET_OBJECTS:mizan_isa_${name}>)
  target_compile_definitions(mizan_core PRIVATE MZ_CPU_BUILT_${name})
endfunction()

set(MIZAN_AVX2 -mavx2 -mfma -mf16c)
set(MIZAN_AVX512 ${MIZAN_AVX2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
mizan_isa(portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  mizan_isa(avx2 ${MIZAN_AVX2})
  if(MIZAN_SANITIZE)
    set(MIZAN_ISA_OPTIMISE -O1 -fno-sanitize=all)
  endif()
  mizan_isa(avx512 ${MIZAN_AVX512})
  mizan_isa(avx512bf16 ${MIZAN_AVX512} -mavx512bf16)
  mizan_isa(amx ${MIZAN_AVX512} -mavx512bf16 -mamx-tile -mamx-bf16)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  mizan_isa(neon)
endif()
