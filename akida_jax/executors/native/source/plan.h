// What a network is made of, as numbers: the plan that akida_jax/executors/native/plan.py writes.
#ifndef AKIDA_JAX_PLAN_H_
#define AKIDA_JAX_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace akida_jax {

constexpr int64_t kLanes = 16;            // filters that are computed together
constexpr int64_t kDepthwiseLanes = 32;   // channels of a depthwise kernel, likewise
constexpr int64_t kSlack = 64;            // bytes that may be read behind a map

enum Kind : int64_t { kConvolution = 0, kSeparable = 1 };
enum Pool : int64_t { kNoPool = 0, kMaxPool = 1, kGlobalSum = 2 };

// One layer. The fields stand in the plan in this order, each an int64.
struct Layer {
  int64_t kind;
  int64_t in_rows, in_columns, in_channels;
  int64_t kernel_rows, kernel_columns, stride;
  int64_t top, left, bottom, right;  // margins around the stored input
  int64_t border;                    // level that fills them
  int64_t event_percent;             // share of non-zero words up to which rows go by events
  int64_t small;                     // 1: two products of level and weight fit 16 bits
  int64_t map_rows, map_columns, filters;
  int64_t pool, pool_rows, pool_columns, pool_row_stride, pool_column_stride;
  int64_t out_rows, out_columns;
  int64_t limit;     // highest level; 0: the layer returns its potentials
  int64_t wide;      // 1: fire by FarFiring, the divisor is too large for plain float32
  int64_t fraction;  // fractional bits of the step
  // Where its constants begin, in bytes.
  int64_t kernel, threshold, divisor, factor, constant;
  // Of a separable layer: the second kernel, what raises depthwise sums, and what sums of raised
  // ones begin with, so that it is taken back.
  int64_t pointwise, offset, first;

  // Channels are stored in groups of four.
  int64_t channels4() const { return (in_channels + 3) / 4 * 4; }
  int64_t depthwise_channels() const {
    return (in_channels + kDepthwiseLanes - 1) / kDepthwiseLanes * kDepthwiseLanes;
  }
  int64_t stored_rows() const { return top + in_rows + bottom; }
  int64_t stored_columns() const { return left + in_columns + right; }
  int64_t row_bytes() const { return stored_columns() * channels4(); }
  int64_t map_bytes() const { return stored_rows() * row_bytes() + kSlack; }
  int64_t blocks() const { return (filters + kLanes - 1) / kLanes; }
  // Rows that are shared out among the threads.
  int64_t work_rows() const { return pool == kMaxPool ? out_rows : map_rows; }
};

constexpr size_t kFields = sizeof(Layer) / sizeof(int64_t);

struct Network {
  std::vector<Layer> layers;
  const uint8_t* constants;
  int64_t batch;
  int64_t path;
};

// Reads a plan; `constants_bytes` and the sizes of input and output are compared with it.
// Returns what is wrong, or nothing.
std::string read_plan(const int64_t* plan, size_t count, int64_t constants_bytes,
                      int64_t input_bytes, int64_t output_values, Network* network);

}  // namespace akida_jax

#endif  // AKIDA_JAX_PLAN_H_
