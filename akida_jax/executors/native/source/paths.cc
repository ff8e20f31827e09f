// Which paths were built, and which of them this processor can run.
#include <cstdint>

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
constexpr int kTileData = 18;  // XFEATURE_XTILEDATA

// Whether there are tiles of bytes, and a Linux that knows them.
bool has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & kTile) || !(d & kInt8)) return false;
  uint64_t features = 0;
  constexpr int kSupported = 0x1021;  // ARCH_GET_XCOMP_SUPP
  return syscall(SYS_arch_prctl, kSupported, &features) == 0 && (features >> kTileData & 1);
}

// Asks Linux to let this process use tiles. From then on it saves more at each switch of a thread
// and signal stacks must have room for them, so it is asked only when they are to be used; it
// refuses where a thread has a smaller signal stack already.
bool may_use_tiles() {
  constexpr int kAskFor = 0x1023;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kAskFor, kTileData) == 0;
}
#endif

bool has_path(int64_t path) {
  switch (path) {
#ifdef AKIDA_HAS_AMX
    case kAmx:
      return has_avx512_vnni() && has_tiles();
#endif
#ifdef AKIDA_HAS_AVX512_VNNI
    case kAvx512Vnni:
      return has_avx512_vnni();
#endif
#ifdef AKIDA_HAS_AVX2
    case kAvx2:
      return __builtin_cpu_supports("avx2");
#endif
    case kPortable:
      return true;
    default:
      return false;
  }
}

const Kernels* find_kernels(int64_t path) {
  if (!has_path(path)) return nullptr;
  switch (path) {
#ifdef AKIDA_HAS_AMX
    case kAmx: {
      static const bool usable = may_use_tiles();
      return usable ? amx::kernels() : nullptr;
    }
#endif
#ifdef AKIDA_HAS_AVX512_VNNI
    case kAvx512Vnni:
      return avx512_vnni::kernels();
#endif
#ifdef AKIDA_HAS_AVX2
    case kAvx2:
      return avx2::kernels();
#endif
    case kPortable:
      return portable::kernels();
    default:
      return nullptr;
  }
}

}  // namespace akida_jax

// For Python: whether this processor has a path, and whether this process may use it.
extern "C" __attribute__((visibility("default"))) int akida_jax_has_path(int64_t path) {
  return akida_jax::has_path(path);
}
extern "C" __attribute__((visibility("default"))) int akida_jax_claim_path(int64_t path) {
  return akida_jax::find_kernels(path) != nullptr;
}
