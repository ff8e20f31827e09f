// What a layer computes, compiled once for each path (kinds of processor).
#ifndef AKIDA_JAX_KERNELS_H_
#define AKIDA_JAX_KERNELS_H_

#include "plan.h"

namespace akida_jax {

constexpr int64_t kLargestTile = 14;  // pixels whose sums registers hold
constexpr int64_t kTileRows = 16;     // pixels of a processor's tile
constexpr int64_t kHeldPixels = 64;   // at most, whose sums are in hand at a time

// A stored input word that is not zero: four channels of a pixel.
struct Event {
  uint16_t column, word;
};

// What is left of a depthwise sum that does not fit a byte.
struct Remainder {
  int32_t pixel;
  int16_t channel, value;
};

// Memory of one thread.
struct Scratch {
  int32_t* sums;           // potentials of an item, for the filters in hand
  uint8_t* depthwise;      // raised sums between the two kernels of a separable layer
  Remainder* remainders;   // of those
  Event* events;           // of the rows that an item reads
  int64_t* event_ends;     // behind the events of each of those rows
};

// Rows and filters of a layer that one thread computes at a time.
struct Item {
  int64_t first_row, end_row;      // of the map, or of the output behind a max pool
  int64_t first_block, end_block;  // of 16 filters
  int64_t first_map_row, end_map_row;
};

// Where results go; one of the three is used.
struct Target {
  uint8_t* levels;  // of the first pixel, inside the margins
  int64_t row_bytes, pixel_bytes;
  int32_t* potentials;
  int32_t* totals;  // of a global sum
};

struct Kernels {
  void (*run_item)(const Layer&, const uint8_t* constants, const uint8_t* in, const Item&,
                   const Target&, const Scratch&);
  // Gives out the totals of a global sum.
  void (*finish_totals)(const Layer&, const uint8_t* constants, const int32_t* totals,
                        const Target&);
  // What a thread does when it has run its last item for now.
  void (*rest)();
  int64_t filters_at_once;
  // Multiply-accumulates from which a layer gains by being shared: handing out a job costs a few
  // microseconds.
  int64_t shared_macs;
};

// Paths in the order of preference.
enum Path : int64_t { kAmx = 0, kAvx512Vnni = 1, kAvx2 = 2, kPortable = 3 };

// Returns nothing where the path was not built or this processor lacks its instructions.
const Kernels* find_kernels(int64_t path);

}  // namespace akida_jax

#endif  // AKIDA_JAX_KERNELS_H_
