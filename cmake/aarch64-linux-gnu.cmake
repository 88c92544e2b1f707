# SPDX-License-Identifier: Apache-2.0
# Cross build for 64-bit Arm Linux with the distribution's cross compiler; its programs run under
# qemu-user. The libraries come from a folder that scripts/arm64-libraries fills; nothing of the
# machine itself is changed.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

get_filename_component(MIZAN_ARM64 "${CMAKE_CURRENT_LIST_DIR}/../.cache/arm64" ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu ${MIZAN_ARM64})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} ${MIZAN_ARM64}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${MIZAN_ARM64})
# Where the distribution keeps headers that differ between machines (OpenSSL's configuration): a native
# compiler looks there by itself.
set(CMAKE_C_FLAGS_INIT "-isystem ${MIZAN_ARM64}/usr/include/aarch64-linux-gnu")
# The shared libraries of that folder are found at run time, under qemu, by the path they lie in.
set(CMAKE_BUILD_RPATH ${MIZAN_ARM64}/usr/lib/aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-L;/usr/aarch64-linux-gnu")
