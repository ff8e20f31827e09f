// Which paths were built, and which of them this processor can run.
#include "kernels.h"

#ifdef AKIDA_HAS_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace akida_jax {

#ifdef AKIDA_HAS_AMX
namespace amx {
const Kernels* kernels();
}
#endif
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

#ifdef AKIDA_HAS_AVX512_VNNI
bool has_avx512_vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

#ifdef AKIDA_HAS_AMX
// Whether there are tiles of bytes and Linux lets this process use them. It must be asked: it
// saves more at each switch of a thread from then on.
bool may_use_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & kTile) || !(d & kInt8)) return false;
  constexpr int kAskFor = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kAskFor, kTileData) == 0;
}
#endif

const Kernels* find_kernels(int64_t path) {
  switch (path) {
#ifdef AKIDA_HAS_AMX
    case kAmx: {
      static const bool usable = has_avx512_vnni() && may_use_tiles();
      return usable ? amx::kernels() : nullptr;
    }
#endif
#ifdef AKIDA_HAS_AVX512_VNNI
    case kAvx512Vnni:
      return has_avx512_vnni() ? avx512_vnni::kernels() : nullptr;
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
