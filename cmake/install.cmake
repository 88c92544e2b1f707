# SPDX-License-Identifier: Apache-2.0
# What `make install` puts where (FHS below the prefix). Man pages and completion are made by the program
# itself, when it was built for this machine.

install(TARGETS mizan RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(TARGETS mizan_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
  NAMELINK_COMPONENT dev)
install(FILES include/mizan.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
install(FILES ${CMAKE_BINARY_DIR}/mizan.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT dev FILES_MATCHING PATTERN "*.c")
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program FILES_MATCHING PATTERN "*.md" PATTERN "*.svg")

if(NOT CMAKE_CROSSCOMPILING AND NOT MIZAN_SANITIZE)
  set(made ${CMAKE_BINARY_DIR}/made)
  set(shells)
  foreach(shell bash zsh fish)
    list(APPEND shells COMMAND sh -c "\"$1\" completion ${shell} >${made}/${shell}" sh $<TARGET_FILE:mizan>)
  endforeach()
  add_custom_command(OUTPUT ${made}/stamp DEPENDS mizan
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${made}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${made}/man
    COMMAND mizan help --man --out ${made}/man ${shells}
    COMMAND ${CMAKE_COMMAND} -E touch ${made}/stamp COMMENT "Man pages and completion" VERBATIM)
  add_custom_target(mizan_made ALL DEPENDS ${made}/stamp)
  install(DIRECTORY ${made}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
  install(FILES ${made}/bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME mizan
    COMPONENT program)
  install(FILES ${made}/zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions RENAME _mizan
    COMPONENT program)
  install(FILES ${made}/fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
    RENAME mizan.fish COMPONENT program)
endif()
