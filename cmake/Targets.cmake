# birkhoff_library(NAME [SEPARATE] [WAITS] SOURCES ... DEPENDS ...): a static library of this project, warnings as errors.
#   With BIRKHOFF_UNITY its sources are compiled sixteen at a time, unless it is SEPARATE.  What WAITS for people, disks and
#   other hosts is compiled at -O1 in a release: a third less of its build time.
# birkhoff_program(NAME SOURCES ... DEPENDS ...): an executable in build/bin.  It and what it loads look for libraries in
#   lib/ beside its folder first: there the GPU backend lies, and in a bundle everything.
# birkhoff_test(NAME SOURCES ... DEPENDS ... [LABELS ...] [ENVIRONMENT ...] [TIMEOUT s]): a gtest program run by ctest.
# birkhoff_guarded_test(NAME): the program of that test once more, where the host cannot read the memory of the device.
add_library(birkhoff_flags INTERFACE)
# Who links what is installed (cmake/Package.cmake) has flags of their own.
target_include_directories(birkhoff_flags INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/birkhoff>)
target_compile_options(birkhoff_flags INTERFACE
  "$<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Werror;-fno-math-errno;-ffp-contract=off>>"
  "$<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Wall,-Werror>>")
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(birkhoff_flags INTERFACE "$<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CXX>:-Wthread-safety>>")
endif()
# Compiling a test costs more than running it.  -pthread: some libraries ask for it, and headers are precompiled for one set
# of flags.
add_library(birkhoff_test_flags INTERFACE)
target_compile_options(birkhoff_test_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-pthread;$<$<CONFIG:Release>:-O1>>")
set(default_timeout 120)  # seconds, of a test
if(BIRKHOFF_SANITIZE)
  # GCC sees uninitialized values in standard headers that a sanitizer has changed.
  add_compile_options(-fsanitize=${BIRKHOFF_SANITIZE} -fno-omit-frame-pointer -g1 -Wno-maybe-uninitialized)
  add_link_options(-fsanitize=${BIRKHOFF_SANITIZE})
endif()
if(BIRKHOFF_SANITIZE STREQUAL "thread")
  # Every method that the file wraps, under the name by which our objects call it.
  set(absl_locks ${PROJECT_SOURCE_DIR}/tests/testing/tsan/absl_locks.cc)
  file(READ ${absl_locks} text)
  string(REGEX MATCHALL "_ZNK?4absl[A-Za-z0-9_]+" wrapped "${text}")
  list(REMOVE_DUPLICATES wrapped)
  # A program that locks nothing itself needs the file for what it links with.
  list(GET wrapped 0 any)
  list(TRANSFORM wrapped PREPEND "-Wl,--wrap=")
  list(APPEND wrapped "-Wl,--undefined=__wrap_${any}")
  add_library(absl_locks STATIC ${absl_locks})
  target_link_libraries(absl_locks PUBLIC absl::synchronization)
  target_link_options(absl_locks INTERFACE ${wrapped})
  target_link_libraries(birkhoff_flags INTERFACE absl_locks)
  set(default_timeout 1800)  # a hundred times as long, for kernels
  # What libraries without the sanitizer copy is not looked at: they synchronise unseen.
  set(sanitizer_options "TSAN_OPTIONS=ignore_noninstrumented_modules=1 allocator_may_return_null=1")
endif()

# What most tests include, compiled once.  A build without it (BIRKHOFF_PCH off) sees a file that forgets its own includes.
# Not for libraries: at -O3 GCC 12 warns of what it sees in standard headers once they are precompiled.
if(BIRKHOFF_PCH AND BIRKHOFF_TESTS)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/test_headers.cc CONTENT "")
  add_library(birkhoff_test_headers OBJECT ${CMAKE_BINARY_DIR}/test_headers.cc)
  target_link_libraries(birkhoff_test_headers PRIVATE birkhoff_flags birkhoff_test_flags GTest::gmock
    absl::statusor absl::strings absl::synchronization absl::time)
  target_precompile_headers(birkhoff_test_headers PRIVATE
    <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/synchronization/mutex.h> <absl/time/clock.h>
    <algorithm> <functional> <gmock/gmock.h> <gtest/gtest.h> <map> <memory> <optional> <string> <variant> <vector>)
endif()

function(birkhoff_library name)
  cmake_parse_arguments(arg "SEPARATE;WAITS" "" "SOURCES;DEPENDS" ${ARGN})
  if(arg_SOURCES)
    add_library(${name} STATIC ${arg_SOURCES})
    target_link_libraries(${name} PUBLIC birkhoff_flags ${arg_DEPENDS})
    if(BIRKHOFF_UNITY AND NOT arg_SEPARATE)
      set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
    endif()
    if(arg_WAITS)
      target_compile_options(${name} PRIVATE "$<$<CONFIG:Release>:-O1>")
    endif()
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE birkhoff_flags ${arg_DEPENDS})
  endif()
endfunction()

function(birkhoff_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE birkhoff_flags ${arg_DEPENDS})
  # The old tag: the new one is not for the libraries of libraries.
  target_link_options(${name} PRIVATE -Wl,--disable-new-dtags)
  set_target_properties(${name} PROPERTIES BUILD_RPATH "$ORIGIN/../lib" INSTALL_RPATH "$ORIGIN/../lib")
  if(BIRKHOFF_CUDA)
    add_dependencies(${name} birkhoff_cuda)
  endif()
endfunction()

function(birkhoff_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;DEPENDS;LABELS;ENVIRONMENT" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE birkhoff_test_flags)
  if(BIRKHOFF_PCH)
    target_precompile_headers(${name} REUSE_FROM birkhoff_test_headers)
  endif()
  target_link_libraries(${name} PRIVATE birkhoff_flags ${arg_DEPENDS} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/bin BUILD_RPATH "$ORIGIN/../../lib")
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT ${default_timeout})
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}"
    ENVIRONMENT "OPENBLAS_NUM_THREADS=1;BIRKHOFF_BIN=${CMAKE_BINARY_DIR}/bin;${sanitizer_options};${arg_ENVIRONMENT}")
  # What CI runs under sanitizers and without optimisation, and what tests/gpu.sh carries to a GPU, has one target each that
  # builds just those tests.
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE folder)
  if(folder MATCHES "^tests/(${BIRKHOFF_SANITIZED_ROOMS})" AND NOT "long" IN_LIST arg_LABELS
     AND NOT "gpu" IN_LIST arg_LABELS AND NOT "fibers" IN_LIST arg_LABELS)
    set_property(TEST ${name} APPEND PROPERTY LABELS sanitized)
  endif()
  # Of the pure rooms and their neighbours, those that need neither the worker nor much time.
  if(folder MATCHES "^tests/(core|coordinator)" AND NOT "long" IN_LIST arg_LABELS AND arg_TIMEOUT EQUAL default_timeout
     AND NOT arg_DEPENDS MATCHES "birkhoff_testing")
    set_property(TEST ${name} APPEND PROPERTY LABELS debug)
  endif()
  get_property(labels TEST ${name} PROPERTY LABELS)
  foreach(label IN ITEMS sanitized threads gpu device debug)
    if(NOT label IN_LIST labels)
      continue()
    endif()
    if(NOT TARGET ${label}_tests)
      add_custom_target(${label}_tests)
    endif()
    add_dependencies(${label}_tests ${name})
    if(BIRKHOFF_CUDA AND label MATCHES "gpu|device")
      add_dependencies(${label}_tests birkhoff_cuda)
    endif()
  endforeach()
endfunction()

function(birkhoff_guarded_test name)
  add_test(NAME ${name}_guarded COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  foreach(property IN ITEMS TIMEOUT LABELS ENVIRONMENT)
    get_property(value TEST ${name} PROPERTY ${property})
    set_property(TEST ${name}_guarded PROPERTY ${property} ${value})
  endforeach()
  set_property(TEST ${name}_guarded APPEND PROPERTY ENVIRONMENT "BIRKHOFF_TEST_DEVICE=guarded")
endfunction()
