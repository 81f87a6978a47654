# The CUDA toolkit with cuBLASLt and cuDNN 9, as target cuda_libraries, and the language CUDA.
#
# Each part is looked for in three layouts: a toolkit (CUDAToolkit_ROOT, CUDA_HOME, /usr/local/cuda), Debian's folders,
# and Python wheels (BIRKHOFF_CUDA_WHEELS, the folder of the package `nvidia`, with cu13/ and cudnn/ in it).
set(BIRKHOFF_CUDA_WHEELS "" CACHE PATH "Folder of the Python package `nvidia`, where CUDA comes from wheels")
set(CUDNN_FRONTEND_INCLUDE ${PROJECT_SOURCE_DIR}/build/cudnn-frontend/include CACHE PATH
  "Folder that holds cudnn_frontend.h, version 1.32")
set(CMAKE_CUDA_ARCHITECTURES 90a-real CACHE STRING "GPUs that the kernels are compiled for")

set(toolkits ${CUDAToolkit_ROOT} $ENV{CUDA_HOME} /usr/local/cuda)
if(BIRKHOFF_CUDA_WHEELS)
  list(PREPEND toolkits ${BIRKHOFF_CUDA_WHEELS}/cu13 ${BIRKHOFF_CUDA_WHEELS}/cudnn)
endif()

if(NOT CMAKE_CUDA_COMPILER)
  find_program(CUDA_NVCC nvcc HINTS ${toolkits} PATH_SUFFIXES bin)
  if(NOT CUDA_NVCC)
    message(FATAL_ERROR "BIRKHOFF_CUDA: no nvcc; need the CUDA toolkit 13, named by CUDAToolkit_ROOT or "
                        "BIRKHOFF_CUDA_WHEELS where it is not in /usr/local/cuda")
  endif()
  set(CMAKE_CUDA_COMPILER ${CUDA_NVCC})
endif()
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)  # it opens the driver's library by itself: programs start without one
enable_language(CUDA)
# CMake 3.25 does not know yet how nvcc is asked for C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)

find_path(CUDA_RUNTIME_INCLUDE cuda_runtime_api.h HINTS ${toolkits} PATH_SUFFIXES include)
find_path(CUBLASLT_INCLUDE cublasLt.h HINTS ${toolkits} PATH_SUFFIXES include)
find_path(CUDNN_INCLUDE cudnn_graph.h HINTS ${toolkits} PATH_SUFFIXES include)
# Wheels have no names without a version.
find_library(CUBLASLT_LIBRARY NAMES cublasLt libcublasLt.so.13 NAMES_PER_DIR HINTS ${toolkits} PATH_SUFFIXES lib64 lib)
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 NAMES_PER_DIR HINTS ${toolkits} PATH_SUFFIXES lib64 lib)
find_library(NVRTC_LIBRARY NAMES nvrtc libnvrtc.so.13 NAMES_PER_DIR HINTS ${toolkits} PATH_SUFFIXES lib64 lib)
foreach(part IN ITEMS CUDA_RUNTIME_INCLUDE CUBLASLT_INCLUDE CUDNN_INCLUDE CUBLASLT_LIBRARY CUDNN_LIBRARY NVRTC_LIBRARY)
  if(NOT ${part})
    message(FATAL_ERROR "BIRKHOFF_CUDA: ${part} was not found; need the CUDA toolkit 13 with cuBLAS, cuDNN 9 and nvrtc. "
                        "Name a toolkit by CUDAToolkit_ROOT, Python wheels by BIRKHOFF_CUDA_WHEELS, or the part itself")
  endif()
endforeach()
if(NOT EXISTS ${CUDNN_FRONTEND_INCLUDE}/cudnn_frontend.h)
  message(FATAL_ERROR "BIRKHOFF_CUDA: no cudnn_frontend.h in CUDNN_FRONTEND_INCLUDE=${CUDNN_FRONTEND_INCLUDE}. "
                      "`bash deploy/cuda.sh frontend` fetches it to build/cudnn-frontend, the default")
endif()

add_library(cuda_libraries INTERFACE)
target_include_directories(cuda_libraries SYSTEM INTERFACE
  ${CUDA_RUNTIME_INCLUDE} ${CUBLASLT_INCLUDE} ${CUDNN_INCLUDE})
list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
target_compile_definitions(cuda_libraries INTERFACE "BIRKHOFF_CUDA_ARCHITECTURES=\"${architectures}\"")
target_link_libraries(cuda_libraries INTERFACE ${CUBLASLT_LIBRARY} ${CUDNN_LIBRARY} ${NVRTC_LIBRARY})
