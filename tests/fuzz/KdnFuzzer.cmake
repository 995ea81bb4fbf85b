# kdn_fuzzer(<name> SOURCES <file>... DEPS <target>... [CORPUS <file or folder>...])
# A fuzz target: sources that define LLVMFuzzerTestOneInput(), which aborts where a promise is broken.
#
# In every build `fuzz_<name>_replay` runs it over its corpus and over a fixed number of seeded
# mutations of that, as an ordinary test. With KDN_FUZZ (the preset `fuzz`) there is also
# `fuzz_<name>`, a libFuzzer program:
#   cmake --preset fuzz && cmake --build --preset fuzz --target fuzz_header
#   build/fuzz/tests/fuzz/fuzz_header -max_total_time=60 NEW_CORPUS_DIR tests/fuzz/corpus/header
# The corpus is the folder `corpus/<name>` beside the caller's CMakeLists.txt, if there is one, and
# what CORPUS adds.
set(KDN_FUZZ_REPLAY_MAIN "${CMAKE_CURRENT_LIST_DIR}/replay_main.cc")

function(kdn_fuzzer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;CORPUS" ${ARGN})
  set(corpus ${ARG_CORPUS})
  if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
    list(APPEND corpus "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
  endif()

  set(programs fuzz_${name}_replay)
  add_executable(fuzz_${name}_replay ${ARG_SOURCES} "${KDN_FUZZ_REPLAY_MAIN}")
  target_link_libraries(fuzz_${name}_replay PRIVATE kdn::base)
  add_test(NAME fuzz_${name}_replay COMMAND fuzz_${name}_replay ${corpus})
  set_tests_properties(fuzz_${name}_replay PROPERTIES LABELS unit TIMEOUT 60)

  if(KDN_FUZZ)
    list(APPEND programs fuzz_${name})
    add_executable(fuzz_${name} ${ARG_SOURCES})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  endif()
  foreach(program IN LISTS programs)
    target_link_libraries(${program} PRIVATE ${ARG_DEPS})
    kdn_compile_options(${program})
  endforeach()
endfunction()
