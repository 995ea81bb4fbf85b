# `cmake --install`: the daemons, kdnctl, kdn-bench, the client libraries with their headers, a CMake package
# (kdn::kdn, kdn::embedded), kdn.pc, and systemd units.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Headers of ours that the public C++ headers include. They are no API of their own: they lie apart.
set(KDN_INTERNAL_INCLUDEDIR "${CMAKE_INSTALL_INCLUDEDIR}/kdn/internal")
set(KDN_INTERNAL_HEADERS
  base/bytes.h base/clock.h base/export.h base/ids.h base/log.h base/result.h base/status.h codec/paged_kv.h
  proto/object/header.h proto/object/levels.h proto/object/model_spec.h proto/object/provenance.h)

if(NOT KDN_CODEC_ONLY)
  install(TARGETS kdn-coordinator kdn-fsck kdn-node kdnctl kdn-bench RUNTIME)

  set_target_properties(kdn_with_storage PROPERTIES EXPORT_NAME embedded)
  foreach(library IN ITEMS kdn kdn_with_storage)
    target_include_directories(${library} INTERFACE
      "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
      "$<INSTALL_INTERFACE:${KDN_INTERNAL_INCLUDEDIR}>")
  endforeach()
  install(TARGETS kdn kdn_with_storage EXPORT kdnTargets LIBRARY)

  install(DIRECTORY "${PROJECT_SOURCE_DIR}/client/include/kdn"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
  foreach(header IN LISTS KDN_INTERNAL_HEADERS)
    cmake_path(GET header PARENT_PATH folder)
    install(FILES "${PROJECT_SOURCE_DIR}/${header}"
      DESTINATION "${KDN_INTERNAL_INCLUDEDIR}/${folder}")
  endforeach()

  set(KDN_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/kdn")
  install(EXPORT kdnTargets NAMESPACE kdn:: DESTINATION "${KDN_PACKAGE_DIR}")
  configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/kdnConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/kdnConfig.cmake" INSTALL_DESTINATION "${KDN_PACKAGE_DIR}")
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/kdnConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/kdnConfig.cmake"
    "${PROJECT_BINARY_DIR}/kdnConfigVersion.cmake" DESTINATION "${KDN_PACKAGE_DIR}")

  # From the .pc file's folder to the prefix, so that an installation may be moved.
  file(RELATIVE_PATH KDN_PC_TO_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  configure_file("${CMAKE_CURRENT_LIST_DIR}/kdn.pc.in" "${PROJECT_BINARY_DIR}/kdn.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/kdn.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

  # Written at install time: only then is the prefix known that the units start programs from.
  set(KDN_UNITS "${PROJECT_SOURCE_DIR}/cluster-configs/systemd")
  foreach(daemon IN ITEMS coordinator node)
    install(CODE "
      get_filename_component(KDN_PREFIX \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)
      get_filename_component(KDN_BINDIR \"${CMAKE_INSTALL_BINDIR}\" ABSOLUTE
        BASE_DIR \"\${KDN_PREFIX}\")
      configure_file(\"${KDN_UNITS}/kdn-${daemon}.service\"
        \"${PROJECT_BINARY_DIR}/systemd/kdn-${daemon}.service\" @ONLY)")
    install(FILES "${PROJECT_BINARY_DIR}/systemd/kdn-${daemon}.service"
      DESTINATION lib/systemd/system)
  endforeach()
endif()
