// From potentials to levels, and where they go.
#ifndef AKIDA_JAX_FIRING_H_
#define AKIDA_JAX_FIRING_H_

#include <algorithm>
#include <utility>

#include "kernels.h"
#include "vectors.h"

namespace akida_jax {
namespace AKIDA_PATH {

// Levels of 16 potentials: clip(ceil(2**fraction * (p - threshold) / divisor), 0, limit).
// Here as floor((2**fraction * (p - threshold) - 1/2) / divisor + 1), which is the same and whose
// quotient is never whole; plan.py says up to which divisor float32 decides it.
class NearFiring {
 public:
  NearFiring(const Layer& layer, const uint8_t* constants, int64_t block)
      : threshold_(read<Ints>(constants + layer.threshold + block * 64)),
        factor_(read<Floats>(constants + layer.factor + block * 64)),
        constant_(read<Floats>(constants + layer.constant + block * 64)),
        highest_(Floats{} + static_cast<float>(layer.limit)) {}

  inline Bytes operator()(Ints potentials) const {
    Floats level = __builtin_convertvector(potentials - threshold_, Floats) * factor_ + constant_;
    level = level > 0.0f ? level : Floats{};
    level = level < highest_ ? level : highest_;
    return __builtin_convertvector(__builtin_convertvector(level, Ints), Bytes);
  }

 private:
  Ints threshold_;
  Floats factor_, constant_, highest_;
};

// The same for any divisor. The quotient of float32 is off by less than a quarter, so that rounding
// it gives the level or the one below; a comparison of integers settles which. limit * divisor <
// 2**28 (akida_jax/quant/activations.py, `activate`).
class FarFiring {
 public:
  FarFiring(const Layer& layer, const uint8_t* constants, int64_t block)
      : threshold_(read<Ints>(constants + layer.threshold + block * 64)),
        divisor_(read<Ints>(constants + layer.divisor + block * 64)),
        factor_(read<Floats>(constants + layer.factor + block * 64)),
        limit_(static_cast<int32_t>(layer.limit)),
        fraction_(static_cast<int32_t>(layer.fraction)),
        ceiling_(((limit_ * divisor_) >> fraction_) + 1) {}

  inline Bytes operator()(Ints potentials) const {
    Ints above = potentials - threshold_;
    above = above > 0 ? above : Ints{};
    above = above < ceiling_ ? above : ceiling_;
    const Floats quotient = __builtin_convertvector(above, Floats) * factor_;
    Ints level = __builtin_convertvector(quotient + 0.5f, Ints);
    level = level - ((above << fraction_) > level * divisor_);  // a comparison that holds is -1
    level = level < limit_ ? level : Ints{} + limit_;
    return __builtin_convertvector(level, Bytes);
  }

 private:
  Ints threshold_, divisor_;
  Floats factor_;
  int32_t limit_, fraction_;
  Ints ceiling_;
};

// Gives out a block of filters: levels, or potentials of the last layer.
class Writer {
 public:
  Writer(const Layer& layer, const uint8_t* constants, const Target& target, int64_t block)
      : layer_(layer), constants_(constants), target_(target), block_(block) {}

  // `count` pixels of a row, whose sums lie `stride` values apart.
  void write(int64_t row, int64_t column, int64_t count, const int32_t* sums,
             int64_t stride) const {
    if (layer_.limit == 0)
      write_potentials(row, column, count, sums, stride);
    else if (layer_.wide)
      write_levels(FarFiring(layer_, constants_, block_), row, column, count, sums, stride);
    else
      write_levels(NearFiring(layer_, constants_, block_), row, column, count, sums, stride);
  }

 private:
  void write_potentials(int64_t row, int64_t column, int64_t count, const int32_t* sums,
                        int64_t stride) const {
    const int64_t first = block_ * kLanes, filters = layer_.filters;
    const size_t bytes = std::min(kLanes, filters - first) * sizeof(int32_t);
    int32_t* to = target_.potentials + (row * layer_.out_columns + column) * filters + first;
    for (int64_t i = 0; i < count; ++i, sums += stride, to += filters)
      std::memcpy(to, sums, bytes);
  }

  template <class Firing>
  void write_levels(const Firing fire, int64_t row, int64_t column, int64_t count,
                    const int32_t* sums, int64_t stride) const {
    const int64_t first = block_ * kLanes, pixel = target_.pixel_bytes;
    uint8_t* to = target_.levels + row * target_.row_bytes + column * pixel + first;
    if (pixel - first >= kLanes) {
      for (int64_t i = 0; i < count; ++i, sums += stride, to += pixel) {
        const Bytes levels = fire(read<Ints>(sums));
        std::memcpy(to, &levels, kLanes);
      }
    } else {
      for (int64_t i = 0; i < count; ++i, sums += stride, to += pixel) {
        const Bytes levels = fire(read<Ints>(sums));
        for (int64_t k = 0; k < pixel - first; ++k) to[k] = levels[k];
      }
    }
  }

  const Layer& layer_;
  const uint8_t* constants_;
  const Target& target_;
  int64_t block_;
};

inline Ints larger(Ints a, Ints b) { return a > b ? a : b; }

// The largest sums of each window of a row of windows, written over the first of them. Sums of
// neighbours lie `stride` values apart, rows `line` values.
inline void pool_row(const Layer& layer, int64_t row, int32_t* sums, int64_t stride,
                     int64_t line) {
  const int64_t columns = layer.map_columns;
  const int64_t rows = std::min(layer.pool_rows, layer.map_rows - row * layer.pool_row_stride);
  for (int64_t x = 0; x < layer.out_columns; ++x) {
    const int64_t left = x * layer.pool_column_stride;
    const int64_t width = std::min(layer.pool_columns, columns - left);
    const int32_t* corner = sums + left * stride;
    Ints best = read<Ints>(corner);
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t i = 0; i < width; ++i)
        best = larger(best, read<Ints>(corner + y * line + i * stride));
    std::memcpy(sums + x * stride, &best, sizeof best);
  }
}

// Pools the potentials of an item, [map rows][pitch, at least map columns][blocks][16], and gives
// a block out.
inline void finish(const Layer& layer, const uint8_t* constants, const Item& item,
                   const Target& target, int32_t* sums, int64_t pitch, int64_t stride,
                   int64_t block) {
  if (layer.pool == kGlobalSum) {
    Ints total = read<Ints>(target.totals + block * kLanes);
    for (int64_t row = item.first_row; row < item.end_row; ++row, sums += pitch * stride)
      for (int64_t i = 0; i < layer.map_columns; ++i) total += read<Ints>(sums + i * stride);
    std::memcpy(target.totals + block * kLanes, &total, sizeof total);
    return;
  }
  const Writer writer(layer, constants, target, block);
  const int64_t step = layer.pool == kMaxPool ? layer.pool_row_stride : 1;
  for (int64_t row = item.first_row; row < item.end_row; ++row) {
    int32_t* line = sums + (row * step - item.first_map_row) * pitch * stride;
    if (layer.pool == kMaxPool) pool_row(layer, row, line, stride, pitch * stride);
    writer.write(row, 0, layer.out_columns, line, stride);
  }
}

}  // namespace AKIDA_PATH
}  // namespace akida_jax

#endif  // AKIDA_JAX_FIRING_H_
