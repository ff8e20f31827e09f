// Vectors of the compiler, split by it where the processor's are shorter; one namespace a path.
#ifndef AKIDA_JAX_VECTORS_H_
#define AKIDA_JAX_VECTORS_H_

#include <cstdint>
#include <cstring>

#include "plan.h"

namespace akida_jax {
namespace AKIDA_PATH {

typedef int32_t Ints __attribute__((vector_size(64)));      // of 16 filters
typedef float Floats __attribute__((vector_size(64)));
typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef int16_t Shorts __attribute__((vector_size(64)));    // of 32 channels
typedef uint8_t ShortBytes __attribute__((vector_size(32)));

template <class T>
inline T read(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace AKIDA_PATH
}  // namespace akida_jax

#endif  // AKIDA_JAX_VECTORS_H_
