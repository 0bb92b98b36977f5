# The CUDA backend, for builds that have nvcc. CMake's own CUDA support is not used: it wants a toolkit in one piece,
# which PyPI's packages are not, and 3.25 knows no C++20 beside it.
set(MLA_CUDA OFF CACHE BOOL "Build the CUDA backend: needs nvcc, cudart and cuBLASLt")
set(MLA_CUDA_ROOT /usr/local/cuda CACHE PATH "Toolkit: bin/nvcc, include, lib or lib64")
set(MLA_CUDA_ARCHITECTURES 80 90a 100 120 CACHE STRING "As nvcc's sm_..; 80-virtual: PTX, which drivers compile")

set(MLA_CUDA_LAUNCHERS attention.cu cache.cu moe.cu rows.cu sample.cu)
cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH MLA_ROOT)
list(TRANSFORM MLA_CUDA_LAUNCHERS PREPEND ${MLA_ROOT}/kernels/cuda/launch/)
set(MLA_CUDA_BACKEND attention.cc attention_plans.cc built_rows.cc cuda_backend.cc device.cc experts.cc gemm.cc
  recorder.cc sampling.cc step.cc step_arena.cc weight_codes.cc weights.cc)
list(TRANSFORM MLA_CUDA_BACKEND PREPEND ${MLA_ROOT}/runtime/cuda/)
set(MLA_CUDA_NCCL ${MLA_ROOT}/runtime/cuda/nccl_ranks.cc)
set(MLA_CUDA_NO_NCCL ${MLA_ROOT}/runtime/cuda/no_nccl.cc)

# mla_cuda_kernels(NAME x ROOT toolkit ARCHITECTURES ...): the kernels and their launchers, with the toolkit's headers
# and runtime.
function(mla_cuda_kernels)
  cmake_parse_arguments(ARG "" "NAME;ROOT" "ARCHITECTURES" ${ARGN})
  find_program(${ARG_NAME}_NVCC nvcc HINTS ${ARG_ROOT}/bin NO_CACHE)
  find_file(${ARG_NAME}_CUDART NAMES libcudart_static.a HINTS ${ARG_ROOT} PATH_SUFFIXES lib64 lib NO_CACHE)
  foreach(part NVCC CUDART)
    if(NOT ${ARG_NAME}_${part})
      message(FATAL_ERROR "CUDA: ${part} is not in '${ARG_ROOT}'; set MLA_CUDA_ROOT to a toolkit")
    endif()
  endforeach()
  set(codes)
  foreach(arch ${ARG_ARCHITECTURES})
    if(arch MATCHES "^(.*)-virtual$")
      list(APPEND codes -gencode arch=compute_${CMAKE_MATCH_1},code=compute_${CMAKE_MATCH_1})
    else()
      list(APPEND codes -gencode arch=compute_${arch},code=sm_${arch})
    endif()
  endforeach()
  set(objects)
  foreach(source ${MLA_CUDA_LAUNCHERS})
    cmake_path(GET source STEM stem)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}_${stem}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${${ARG_NAME}_NVCC} -std=c++17 -O3 -ccbin ${CMAKE_CXX_COMPILER} ${codes} -I${MLA_ROOT}
        -MD -MF ${object}.d -MT ${object} -c -o ${object} ${source}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "Building CUDA object ${ARG_NAME}_${stem}.o")
    list(APPEND objects ${object})
  endforeach()
  add_library(${ARG_NAME} STATIC ${objects})
  set_target_properties(${ARG_NAME} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(${ARG_NAME} SYSTEM INTERFACE ${ARG_ROOT}/include)
  target_link_libraries(${ARG_NAME} PUBLIC ${${ARG_NAME}_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
endfunction()

# mla_cuda_backend(NAME x ROOT toolkit ARCHITECTURES ...): the backend as an object library, whose objects stand in
# for runtime/cuda/no_cuda.cc wherever it is linked.
function(mla_cuda_backend)
  cmake_parse_arguments(ARG "" "NAME;ROOT" "ARCHITECTURES" ${ARGN})
  mla_cuda_kernels(NAME ${ARG_NAME}_kernels ROOT ${ARG_ROOT} ARCHITECTURES ${ARG_ARCHITECTURES})
  find_file(${ARG_NAME}_CUBLASLT NAMES libcublasLt.so libcublasLt.so.13 libcublasLt.so.12
    HINTS ${ARG_ROOT} PATH_SUFFIXES lib64 lib NO_CACHE)
  if(NOT ${ARG_NAME}_CUBLASLT)
    message(FATAL_ERROR "CUDA: cuBLASLt is not in '${ARG_ROOT}'; set MLA_CUDA_ROOT to a toolkit")
  endif()
  # NCCL is for several GPUs; it is in the toolkit, the system, or beside PyPI's toolkit.
  find_path(${ARG_NAME}_NCCL_INCLUDE nccl.h HINTS ${ARG_ROOT}/include ${ARG_ROOT}/../nccl/include NO_CACHE)
  find_library(${ARG_NAME}_NCCL NAMES libnccl.so libnccl.so.2 HINTS ${ARG_ROOT} ${ARG_ROOT}/../nccl
    PATH_SUFFIXES lib64 lib NO_CACHE)
  add_library(${ARG_NAME} OBJECT ${MLA_CUDA_BACKEND})
  target_include_directories(${ARG_NAME} PRIVATE ${MLA_ROOT})
  target_link_libraries(${ARG_NAME} PUBLIC ${ARG_NAME}_kernels mla_kernels ${${ARG_NAME}_CUBLASLT})
  if(${ARG_NAME}_NCCL_INCLUDE AND ${ARG_NAME}_NCCL)
    target_sources(${ARG_NAME} PRIVATE ${MLA_CUDA_NCCL})
    target_include_directories(${ARG_NAME} SYSTEM PRIVATE ${${ARG_NAME}_NCCL_INCLUDE})
    target_link_libraries(${ARG_NAME} PUBLIC ${${ARG_NAME}_NCCL})
  else()
    message(STATUS "CUDA: no NCCL, so no --tensor-parallel over GPUs")
    target_sources(${ARG_NAME} PRIVATE ${MLA_CUDA_NO_NCCL})
  endif()
endfunction()
