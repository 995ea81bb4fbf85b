# How a folder becomes a target. Every folder uses these and nothing else.

option(KDN_WARNINGS_ARE_ERRORS "Stop at a compiler's warning" ON)
set(KDN_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
set(KDN_TEST_WARNINGS -Wall -Wextra -Wshadow)
if(KDN_WARNINGS_ARE_ERRORS)
  list(APPEND KDN_WARNINGS -Werror)
  list(APPEND KDN_TEST_WARNINGS -Werror)
endif()

# What the sanitizers need: time, and for threads to be told which libraries they cannot see into.
set(KDN_TIMEOUT_FACTOR 1)
set(KDN_SANITIZER_SOURCES)
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=(address|thread)")
  set(KDN_TIMEOUT_FACTOR 5)
endif()
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=thread")
  set(KDN_SANITIZER_SOURCES "${PROJECT_SOURCE_DIR}/tests/support/tsan_suppressions.cc")
endif()

# kdn_compile_options(<target>): what every translation unit of ours is compiled with.
function(kdn_compile_options target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:${KDN_WARNINGS}
      -ffp-contract=off>  # Every kernel rounds where the scalar one does; so does nvcc below.
    $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety>
    $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false>)
endfunction()

# kdn_library(<name> SOURCES <file>... [DEPS <target>...])
# One static library per folder, kdn::<name>. Includes are written from the repository root, so the
# compiler cannot reject a wrong one; tests/tidy/tidy.py does.
function(kdn_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(kdn_${name} STATIC ${ARG_SOURCES})
  add_library(kdn::${name} ALIAS kdn_${name})
  target_include_directories(kdn_${name} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>"
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/client/include>")
  target_link_libraries(kdn_${name} PUBLIC ${ARG_DEPS})
  kdn_compile_options(kdn_${name})
endfunction()

# kdn_program(<name> SOURCES <file>... DEPS <target>...)
function(kdn_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES} ${KDN_SANITIZER_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  kdn_compile_options(${name})
endfunction()

# kdn_test(<name> SOURCES <file>... DEPS <target>... [LABELS <label>...] [TIMEOUT <seconds>])
# LABELS: unit (under a second), cluster, sim, rdma, gpu, python, slow. Without GoogleTest there is no
# such target.
function(kdn_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  if(NOT TARGET GTest::gtest_main)  # only where the codec is built alone
    return()
  endif()
  math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${KDN_TIMEOUT_FACTOR}")
  add_executable(${name} ${ARG_SOURCES} ${KDN_SANITIZER_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest_main)
  target_compile_options(${name} PRIVATE ${KDN_TEST_WARNINGS}
    -Wno-missing-field-initializers  # a test names the fields that matter to it
    -ffp-contract=off)
  gtest_discover_tests(${name}
    PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
    DISCOVERY_TIMEOUT 60)
endfunction()
