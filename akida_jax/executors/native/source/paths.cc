// Which paths were built, and which of them this processor can run.
#include "kernels.h"

namespace akida_jax {

#ifdef AKIDA_HAS_AVX512_VNNI
namespace avx512_vnni {
const Kernels* kernels();
}
#endif
#ifdef AKIDA_HAS_AVX2
namespace avx2 {
const Kernels* kernels();
}
#endif
namespace portable {
const Kernels* kernels();
}

const Kernels* find_kernels(int64_t path) {
  switch (path) {
#ifdef AKIDA_HAS_AVX512_VNNI
    case kAvx512Vnni:
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vnni"))
        return avx512_vnni::kernels();
      return nullptr;
#endif
#ifdef AKIDA_HAS_AVX2
    case kAvx2:
      return __builtin_cpu_supports("avx2") ? avx2::kernels() : nullptr;
#endif
    case kPortable:
      return portable::kernels();
    default:
      return nullptr;
  }
}

}  // namespace akida_jax

// For Python: whether a path can be used.
extern "C" __attribute__((visibility("default"))) int akida_jax_has_path(int64_t path) {
  return akida_jax::find_kernels(path) != nullptr;
}
