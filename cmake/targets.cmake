# The two ways a target is made in this project.

# mla_library(NAME mla_x SRCS a.cc ... DEPS ...): one room, one static library.
function(mla_library)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_library(${ARG_NAME} STATIC ${ARG_SRCS})
  target_include_directories(${ARG_NAME} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PUBLIC ${ARG_DEPS})
endfunction()

# Looks past libraries that are built without ThreadSanitizer.
set(MLA_TSAN_OPTIONS "TSAN_OPTIONS=ignore_noninstrumented_modules=1:suppressions=${PROJECT_SOURCE_DIR}/tests/tsan_suppressions.txt")

# mla_test(NAME x_test LABEL room DEPS ... [SRCS more.cc] [THREADED]): tests/<room>/x_test.cc as one ctest entry.
# The test finds committed goldens through MLA_TEST_DATA and the full set through MLA_SHARED_GOLDEN.
# THREADED: it runs threads beside its own. ThreadSanitizer's build makes these tests only.
function(mla_test)
  cmake_parse_arguments(ARG "THREADED" "NAME;LABEL;TIMEOUT" "SRCS;DEPS;ARGS" ${ARGN})
  if(MLA_SANITIZE STREQUAL thread AND NOT ARG_THREADED)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${ARG_NAME} ${ARG_NAME}.cc ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${ARG_LABEL}.${ARG_NAME} COMMAND ${ARG_NAME} ${ARG_ARGS})
  set_tests_properties(${ARG_LABEL}.${ARG_NAME} PROPERTIES
    LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "MLA_TEST_DATA=${PROJECT_SOURCE_DIR}/tests/golden;${MLA_TSAN_OPTIONS}")
endfunction()

# mla_pytest(NAME x_test LABEL room): tests/<room>/x_test.py as one ctest entry, which finds the program through
# MLASERVE.
function(mla_pytest)
  cmake_parse_arguments(ARG "" "NAME;LABEL" "" ${ARGN})
  add_test(NAME ${ARG_LABEL}.${ARG_NAME}
    COMMAND ${MLA_PYTHON} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_NAME}.py)
  set_tests_properties(${ARG_LABEL}.${ARG_NAME} PROPERTIES
    LABELS ${ARG_LABEL} TIMEOUT 600
    ENVIRONMENT "MLASERVE=$<TARGET_FILE:mlaserve>;PYTHONDONTWRITEBYTECODE=1;${MLA_TSAN_OPTIONS}")
endfunction()
