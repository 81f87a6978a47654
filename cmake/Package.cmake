# The kernels for other projects: find_package(birkhoff) gives birkhoff::kernels, with the headers of their contracts and of
# the seam under `include/birkhoff`.  The CPU backend is in it; the GPU's library, lib/libbirkhoff_cuda.so, is opened on the first
# question about a GPU (decision 0016), and programs look for it in the `lib` that the package lies in.
include(CMakePackageConfigHelpers)

set(package lib/cmake/birkhoff)
# kernels/*.h, of which what only sources here include is a few lines more.
install(DIRECTORY kernels/ DESTINATION include/birkhoff/kernels COMPONENT development
  FILES_MATCHING PATTERN "*.h" PATTERN cpu EXCLUDE PATTERN cuda EXCLUDE PATTERN mappings EXCLUDE)
install(FILES kernels/cuda/backend.h DESTINATION include/birkhoff/kernels/cuda COMPONENT development)
install(FILES core/base/dtype.h core/base/mapping.h DESTINATION include/birkhoff/core/base COMPONENT development)

set_target_properties(birkhoff_kernels PROPERTIES EXPORT_NAME kernels)
set_target_properties(birkhoff_base PROPERTIES EXPORT_NAME base)
set_target_properties(birkhoff_flags PROPERTIES EXPORT_NAME flags)
set_target_properties(onednn_library PROPERTIES EXPORT_NAME onednn)
target_link_options(birkhoff_kernels INTERFACE $<INSTALL_INTERFACE:LINKER:-rpath,$<INSTALL_PREFIX>/lib>)
install(TARGETS birkhoff_kernels birkhoff_base birkhoff_flags onednn_library EXPORT birkhoff
  ARCHIVE DESTINATION lib COMPONENT development)
install(EXPORT birkhoff NAMESPACE birkhoff:: FILE birkhoff-targets.cmake DESTINATION ${package} COMPONENT development)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/birkhoff-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/birkhoff-config.cmake ${PROJECT_BINARY_DIR}/birkhoff-config-version.cmake
  DESTINATION ${package} COMPONENT development)
# The boundary in plain C (boundary_c.h): that of the CPU where somebody has built it.
install(TARGETS birkhoff_boundary_cpu OPTIONAL LIBRARY DESTINATION lib COMPONENT development)
if(BIRKHOFF_CUDA)
  install(TARGETS birkhoff_boundary_cuda LIBRARY DESTINATION lib COMPONENT development)
endif()
