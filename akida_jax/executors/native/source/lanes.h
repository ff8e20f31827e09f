// Sums of products in 16 lanes, one filter each: the only code that differs between processors.
//
// `Dot4` adds four products of an unsigned and a signed byte to each lane; `Dot4Small` does where two
// such products always fit 16 bits. All sums are exact in int32: no path saturates.
#ifndef AKIDA_JAX_LANES_H_
#define AKIDA_JAX_LANES_H_

#include "vectors.h"

#if defined(AKIDA_AMX)  // has them too, for what its tiles do not do
#define AKIDA_AVX512_VNNI
#endif
#if defined(AKIDA_AVX512_VNNI) || defined(AKIDA_AVX2)
#include <immintrin.h>
#endif

namespace akida_jax {
namespace AKIDA_PATH {

inline int32_t load_word(const void* from) { return read<int32_t>(from); }

#if defined(AKIDA_AVX512_VNNI)

constexpr int kPixels = 14;  // 14 pixels x 2 blocks of filters fill 28 of 32 registers
constexpr int kBlocks = 2;
constexpr int kRegisters = 1;  // that hold the sums of a block

struct Sums {
  __m512i v;
};
struct Words {
  __m512i v;
};

inline Sums zero() { return {_mm512_setzero_si512()}; }
inline Sums load(const int32_t* from) { return {_mm512_loadu_si512(from)}; }
inline void store(int32_t* to, Sums s) { _mm512_storeu_si512(to, s.v); }
inline Sums sum(Sums a, Sums b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline Sums subtract(Sums a, Sums b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline Words load_weights(const void* from) { return {_mm512_loadu_si512(from)}; }
inline Words spread(int32_t word) { return {_mm512_set1_epi32(word)}; }
struct Dot4 {
  static Sums add(Sums s, Words x, Words w) { return {_mm512_dpbusd_epi32(s.v, x.v, w.v)}; }
};
using Dot4Small = Dot4;

#elif defined(AKIDA_AVX2)

constexpr int kPixels = 4;  // 4 pixels x 2 halves of a block fill 8 of 16 registers
constexpr int kBlocks = 1;
constexpr int kRegisters = 2;

struct Sums {
  __m256i low, high;
};
struct Words {
  __m256i low, high;
};

inline Sums zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Sums load(const int32_t* from) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 8))};
}
inline void store(int32_t* to, Sums s) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), s.low);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), s.high);
}
inline Sums sum(Sums a, Sums b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
inline Sums subtract(Sums a, Sums b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
inline Words load_weights(const void* from) {
  const __m256i* at = static_cast<const __m256i*>(from);
  return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}
inline Words spread(int32_t word) {
  const __m256i v = _mm256_set1_epi32(word);
  return {v, v};
}

template <__m256i (*Half)(__m256i, __m256i, __m256i)>
struct Halves {
  static Sums add(Sums s, Words x, Words w) {
    return {Half(s.low, x.low, w.low), Half(s.high, x.high, w.high)};
  }
};

// vpmaddubsw would saturate at 255 x 127 twice; bytes are widened to 16 bits instead.
inline __m256i dot4(__m256i s, __m256i x, __m256i w) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(0xFF)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
  return _mm256_add_epi32(s, _mm256_add_epi32(even, odd));
}
inline __m256i dot4_small(__m256i s, __m256i x, __m256i w) {
  const __m256i pairs = _mm256_maddubs_epi16(x, w);
  return _mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
using Dot4 = Halves<dot4>;
using Dot4Small = Halves<dot4_small>;

#else

constexpr int kPixels = 4;
constexpr int kBlocks = 1;
constexpr int kRegisters = 4;  // as with 128 bits

// The lowest byte of a word comes first (plan.py refuses machines on which it does not).
typedef int16_t Words16 __attribute__((vector_size(64)));
typedef uint16_t Unsigned16 __attribute__((vector_size(64)));

using Sums = Ints;
using Words = Ints;

inline Sums zero() { return Sums{}; }
inline Sums load(const int32_t* from) { return read<Sums>(from); }
inline void store(int32_t* to, const Sums& s) { std::memcpy(to, &s, sizeof s); }
inline Sums sum(const Sums& a, const Sums& b) { return a + b; }
inline Sums subtract(const Sums& a, const Sums& b) { return a - b; }
inline Words load_weights(const void* from) { return read<Words>(from); }
inline Words spread(int32_t word) { return Words{} + word; }

// Sign-extended lower half of each word; shifts of a negative number are taken as the compilers
// of these vectors define them.
inline Ints low_half(Ints w) { return (w << 16) >> 16; }
inline Words16 even_bytes(Ints w) { return ((Words16)w << 8) >> 8; }
inline Words16 odd_bytes(Ints w) { return (Words16)w >> 8; }
inline Words16 even_levels(Ints x) { return (Words16)x & (int16_t)0xFF; }
inline Words16 odd_levels(Ints x) { return (Words16)((Unsigned16)x >> 8); }

struct Dot4 {  // one product of 255 x 127 fits 16 bits, the sum of two does not
  static Sums add(const Sums& s, const Words& x, const Words& w) {
    const Ints even = (Ints)(even_levels(x) * even_bytes(w));
    const Ints odd = (Ints)(odd_levels(x) * odd_bytes(w));
    return s + low_half(even) + (even >> 16) + low_half(odd) + (odd >> 16);
  }
};
struct Dot4Small {
  static Sums add(const Sums& s, const Words& x, const Words& w) {
    const Ints pairs =
        (Ints)(even_levels(x) * even_bytes(w) + odd_levels(x) * odd_bytes(w));
    return s + low_half(pairs) + (pairs >> 16);
  }
};

#endif

}  // namespace AKIDA_PATH
}  // namespace akida_jax

#endif  // AKIDA_JAX_LANES_H_
