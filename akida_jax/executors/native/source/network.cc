#include "network.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "kernels.h"

namespace akida_jax {
namespace {

constexpr int64_t kAlignment = 64;
// Pixels of an item, at about which sums and depthwise sums still lie in a core's own caches.
constexpr int64_t kItemPixels = 112;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

int64_t macs(const Layer& layer) {
  const int64_t taps = layer.kernel_rows * layer.kernel_columns;
  const int64_t weights = layer.kind == kSeparable
                              ? layer.in_channels * (taps + layer.filters)
                              : taps * layer.in_channels * layer.filters;
  return layer.map_rows * layer.map_columns * weights;
}

// How a layer is cut into items.
struct Cut {
  int64_t rows, row_items, blocks, block_items;
  int64_t items() const { return row_items * block_items; }
};

Cut cut(const Layer& layer, int64_t threads, const Kernels& kernels) {
  if (macs(layer) < kernels.shared_macs) threads = 1;
  const int64_t rows = layer.work_rows();
  const int64_t pixels_a_row =
      layer.map_columns * (layer.pool == kMaxPool ? layer.pool_row_stride : 1);
  const int64_t most = std::max<int64_t>(1, kItemPixels / pixels_a_row);
  Cut c;
  c.row_items = std::min(rows, std::max((rows + most - 1) / most, threads));
  c.rows = (rows + c.row_items - 1) / c.row_items;
  c.row_items = (rows + c.rows - 1) / c.rows;
  // With too few rows the filters are shared out, if no depthwise sums would be repeated.
  const int64_t step = kernels.filters_at_once / kLanes, blocks = layer.blocks();
  c.block_items = 1;
  if (c.row_items < threads && layer.kind == kConvolution)
    c.block_items = std::min(threads, (blocks + step - 1) / step);
  c.blocks = (blocks + c.block_items - 1) / c.block_items;
  c.blocks = (c.blocks + step - 1) / step * step;
  c.block_items = (blocks + c.blocks - 1) / c.blocks;
  return c;
}

Item make_item(const Layer& layer, const Cut& c, int64_t index) {
  Item item;
  item.first_row = index / c.block_items * c.rows;
  item.end_row = std::min(item.first_row + c.rows, layer.work_rows());
  item.first_block = index % c.block_items * c.blocks;
  item.end_block = std::min(item.first_block + c.blocks, layer.blocks());
  item.first_map_row = item.first_row;
  item.end_map_row = item.end_row;
  if (layer.pool == kMaxPool) {
    item.first_map_row = item.first_row * layer.pool_row_stride;
    const int64_t bottom = (item.end_row - 1) * layer.pool_row_stride + layer.pool_rows;
    item.end_map_row = std::min(bottom, layer.map_rows);
  }
  return item;
}

// Bytes of each part of the memory that calls need, for the largest layer.
struct Sizes {
  int64_t map[2] = {0, 0};
  int64_t totals = 0;
  int64_t sums = 0, depthwise = 0, remainders = 0, events = 0, event_ends = 0;
  int64_t shared() const { return map[0] + map[1] + totals; }
  int64_t scratch() const { return sums + depthwise + remainders + events + event_ends; }
};

void enlarge(int64_t& size, int64_t bytes) { size = std::max(size, aligned(bytes)); }

Sizes measure(const Network& network, int64_t threads, const Kernels& kernels) {
  Sizes sizes;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const Cut c = cut(layer, threads, kernels);
    enlarge(sizes.map[i % 2], layer.map_bytes());
    enlarge(sizes.totals, c.row_items * layer.blocks() * kLanes * sizeof(int32_t));
    for (int64_t k = 0; k < c.items(); k += c.block_items) {
      const Item item = make_item(layer, c, k);
      const int64_t rows = item.end_map_row - item.first_map_row;
      const int64_t pixels = rows * layer.map_columns;
      const int64_t held = std::max(rows * layer.stored_columns(), kHeldPixels);
      enlarge(sizes.sums, held * kernels.filters_at_once * sizeof(int32_t));
      if (layer.kind == kSeparable) {
        enlarge(sizes.depthwise, pixels * layer.depthwise_channels());
        enlarge(sizes.remainders, pixels * layer.in_channels * sizeof(Remainder));
      } else {
        const int64_t in_rows = (rows - 1) * layer.stride + layer.kernel_rows;
        enlarge(sizes.events, in_rows * layer.row_bytes() / 4 * sizeof(Event));
        enlarge(sizes.event_ends, in_rows * sizeof(int64_t));
      }
    }
  }
  return sizes;
}

// Memory of a thread, kept from call to call.
class Arena {
 public:
  uint8_t* reserve(int64_t bytes) {
    if (bytes > size_) {
      memory_.reset();
      size_ = 0;
      memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(kAlignment, aligned(bytes))));
      if (!memory_) throw std::bad_alloc();
      size_ = bytes;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t, Free> memory_;
  int64_t size_ = 0;
};

thread_local Arena shared_arena, scratch_arena;

Scratch take_scratch(const Sizes& sizes) {
  uint8_t* memory = scratch_arena.reserve(sizes.scratch());
  Scratch scratch;
  scratch.sums = reinterpret_cast<int32_t*>(memory);
  scratch.depthwise = memory += sizes.sums;
  scratch.remainders = reinterpret_cast<Remainder*>(memory += sizes.depthwise);
  scratch.events = reinterpret_cast<Event*>(memory += sizes.remainders);
  scratch.event_ends = reinterpret_cast<int64_t*>(memory + sizes.events);
  return scratch;
}

void fill_margins(const Layer& layer, uint8_t* map) {
  const int border = static_cast<int>(layer.border);
  const int64_t row_bytes = layer.row_bytes(), pixel = layer.channels4();
  std::memset(map, border, layer.top * row_bytes);
  uint8_t* row = map + layer.top * row_bytes;
  for (int64_t y = 0; y < layer.in_rows; ++y, row += row_bytes) {
    std::memset(row, border, layer.left * pixel);
    std::memset(row + (layer.left + layer.in_columns) * pixel, border, layer.right * pixel);
  }
  std::memset(row, border, layer.bottom * row_bytes);
}

uint8_t* first_pixel(const Layer& layer, uint8_t* map) {
  return map + layer.top * layer.row_bytes() + layer.left * layer.channels4();
}

// Stores an input with its margins; channels beyond the last are zero.
void stage_input(const Layer& layer, const uint8_t* input, uint8_t* map) {
  fill_margins(layer, map);
  const int64_t channels = layer.in_channels, pixel = layer.channels4();
  const int64_t words = pixel / 4;
  const uint8_t* const end = input + layer.in_rows * layer.in_columns * channels;
  // Words are read whole, beyond a pixel's last channel too, but not beyond the input's end.
  const uint32_t mask = 0xFFFFFFFFu >> (8 * (pixel - channels));
  uint8_t* row = first_pixel(layer, map);
  for (int64_t y = 0; y < layer.in_rows; ++y, row += layer.row_bytes()) {
    const int64_t there = end - input;
    const int64_t whole =
        there < pixel ? 0 : std::min(layer.in_columns, (there - pixel) / channels + 1);
    uint8_t* to = row;
    for (int64_t x = 0; x < whole; ++x, to += pixel, input += channels) {
      uint32_t word = 0;
      for (int64_t i = 0; i < words; ++i) {
        std::memcpy(&word, input + 4 * i, 4);
        if (i + 1 == words) word &= mask;
        std::memcpy(to + 4 * i, &word, 4);
      }
    }
    for (int64_t x = whole; x < layer.in_columns; ++x, to += pixel, input += channels) {
      std::memset(to, 0, pixel);
      std::memcpy(to, input, channels);
    }
  }
}

class Run {
 public:
  Run(const Network& network, Team& team, const Sizes& sizes, const Kernels& kernels)
      : network_(network), team_(team), sizes_(sizes), kernels_(kernels) {}

  void run(const uint8_t* input, int32_t* output) {
    uint8_t* memory = shared_arena.reserve(sizes_.shared());
    uint8_t* maps[2] = {memory, memory + sizes_.map[0]};
    int32_t* totals = reinterpret_cast<int32_t*>(memory + sizes_.map[0] + sizes_.map[1]);
    stage_input(network_.layers[0], input, maps[0]);
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      const bool last = i + 1 == network_.layers.size();
      Target target = {nullptr, 0, 0, output, totals};
      if (!last) {
        const Layer& next = network_.layers[i + 1];
        fill_margins(next, maps[(i + 1) % 2]);
        target.levels = first_pixel(next, maps[(i + 1) % 2]);
        target.row_bytes = next.row_bytes();
        target.pixel_bytes = next.channels4();
      }
      run_layer(network_.layers[i], maps[i % 2], target);
    }
  }

 private:
  void run_layer(const Layer& layer, const uint8_t* in, const Target& target) {
    const Cut c = cut(layer, team_.size(), kernels_);
    const int64_t filters = layer.blocks() * kLanes;
    if (layer.pool == kGlobalSum) std::fill_n(target.totals, c.row_items * filters, 0);
    team_.run(c.items(), [&](int64_t index) {
      const Scratch scratch = take_scratch(sizes_);
      Target own = target;
      own.totals += index / c.block_items * filters;
      kernels_.run_item(layer, network_.constants, in, make_item(layer, c, index), own, scratch);
    });
    if (layer.pool != kGlobalSum) return;
    for (int64_t k = 1; k < c.row_items; ++k)
      for (int64_t f = 0; f < filters; ++f) target.totals[f] += target.totals[k * filters + f];
    kernels_.finish_totals(layer, network_.constants, target.totals, target);
  }

  const Network& network_;
  Team& team_;
  const Sizes& sizes_;
  const Kernels& kernels_;
};

std::string check_layer(const Layer& layer, size_t index, int64_t constants_bytes) {
  const std::string where = "layer " + std::to_string(index) + " of the plan";
  for (const int64_t extent :
       {layer.in_rows, layer.in_columns, layer.in_channels, layer.kernel_rows,
        layer.kernel_columns, layer.stride, layer.map_rows, layer.map_columns, layer.filters,
        layer.out_rows, layer.out_columns, layer.pool_rows, layer.pool_columns,
        layer.pool_row_stride, layer.pool_column_stride})
    if (extent < 1 || extent > (1 << 24)) return where + " has an extent out of range";
  for (const int64_t margin : {layer.top, layer.left, layer.bottom, layer.right})
    if (margin < 0 || margin > (1 << 16)) return where + " has a margin out of range";
  if ((layer.map_rows - 1) * layer.stride + layer.kernel_rows > layer.stored_rows() ||
      (layer.map_columns - 1) * layer.stride + layer.kernel_columns > layer.stored_columns())
    return where + " reads outside its input";
  if (layer.stored_columns() > 0xFFFF || layer.channels4() / 4 > 0xFFFF)
    return where + " has too wide an input";
  const int64_t taps = layer.kernel_rows * layer.kernel_columns, blocks = layer.blocks();
  if (layer.kind == kSeparable) {
    if (layer.kernel_rows != layer.kernel_columns ||
        (layer.kernel_rows != 3 && layer.kernel_rows != 5 && layer.kernel_rows != 7))
      return where + " has a depthwise kernel of another size than 3, 5 or 7";
    if (layer.stride > 2 || layer.in_channels > INT16_MAX)
      return where + " has a depthwise stride or channels out of range";
    if (layer.kernel + taps * layer.depthwise_channels() * 2 > constants_bytes ||
        layer.pointwise + blocks * kLanes * layer.channels4() > constants_bytes ||
        layer.offset + layer.depthwise_channels() * 2 > constants_bytes ||
        layer.first + blocks * kLanes * 4 > constants_bytes)
      return where + " has kernels beyond the constants";
  } else if (layer.kind != kConvolution ||
             layer.kernel + blocks * kLanes * taps * layer.channels4() > constants_bytes) {
    return where + " has a kernel beyond the constants, or an unknown kind";
  }
  for (const int64_t start : {layer.kernel, layer.threshold, layer.divisor, layer.factor,
                              layer.constant, layer.pointwise, layer.offset, layer.first})
    if (start < 0 || start % 4 != 0) return where + " has constants at no place";
  for (const int64_t start : {layer.threshold, layer.divisor, layer.factor, layer.constant})
    if (start + blocks * kLanes * 4 > constants_bytes)
      return where + " has thresholds or steps beyond the constants";
  if (layer.event_percent < 0 || layer.event_percent > 100)
    return where + " has a share of events out of range";
  if (layer.pool != kNoPool && layer.pool != kMaxPool && layer.pool != kGlobalSum)
    return where + " has an unknown pool";
  if (layer.pool == kNoPool &&
      (layer.out_rows != layer.map_rows || layer.out_columns != layer.map_columns))
    return where + " has an output of another size than its map";
  if (layer.pool == kGlobalSum && (layer.out_rows != 1 || layer.out_columns != 1))
    return where + " pools to more than one place";
  if (layer.pool == kMaxPool &&
      ((layer.out_rows - 1) * layer.pool_row_stride >= layer.map_rows ||
       (layer.out_columns - 1) * layer.pool_column_stride >= layer.map_columns))
    return where + " pools outside its map";
  return "";
}

}  // namespace

std::string read_plan(const int64_t* plan, size_t count, int64_t constants_bytes,
                      int64_t input_bytes, int64_t output_values, Network* network) {
  if (count == 0 || count % kFields != 0) return "the plan has a length of no network";
  network->layers.resize(count / kFields);
  for (size_t i = 0; i < network->layers.size(); ++i) {
    Layer& layer = network->layers[i];
    std::memcpy(&layer, plan + i * kFields, sizeof layer);
    const std::string fault = check_layer(layer, i, constants_bytes);
    if (!fault.empty()) return fault;
    if (i > 0) {
      const Layer& before = network->layers[i - 1];
      if (before.limit < 1 || before.limit > 15 || before.out_rows != layer.in_rows ||
          before.out_columns != layer.in_columns || before.filters != layer.in_channels)
        return "layer " + std::to_string(i) + " of the plan does not fit the one before it";
    }
  }
  const Layer &first = network->layers.front(), &last = network->layers.back();
  if (last.limit != 0) return "the last layer of the plan returns no potentials";
  if (input_bytes != network->batch * first.in_rows * first.in_columns * first.in_channels)
    return "the input has another size than the plan";
  if (output_values != network->batch * last.out_rows * last.out_columns * last.filters)
    return "the output has another size than the plan";
  return "";
}

namespace {

bool gains_by_sharing(const Network& network) {
  const int64_t least = find_kernels(network.path)->shared_macs;
  int64_t total = 0;
  for (const Layer& layer : network.layers)
    if (macs(layer) >= least) total += macs(layer);
  return total >= 4 * least;
}

}  // namespace

int64_t inputs_apart(const Network& network, int64_t threads) {
  if (!gains_by_sharing(network)) return network.batch;
  const int64_t left = network.batch % threads;
  return 2 * left <= threads ? network.batch - left : network.batch;
}

void run_network(const Network& network, const uint8_t* input, int32_t* output, int64_t apart,
                 Team& team) {
  const Kernels& kernels = *find_kernels(network.path);
  const Layer &first = network.layers.front(), &last = network.layers.back();
  const int64_t in_size = first.in_rows * first.in_columns * first.in_channels;
  const int64_t out_size = last.out_rows * last.out_columns * last.filters;
  const auto one = [&](int64_t i, Team& within, const Sizes& sizes) {
    Run(network, within, sizes, kernels).run(input + i * in_size, output + i * out_size);
  };
  if (apart > 0) {
    Team alone(0, nullptr, nullptr);
    const Sizes sizes = measure(network, 1, kernels);
    team.run(apart, [&](int64_t i) { one(i, alone, sizes); });
  }
  if (apart < network.batch) {
    const Sizes sizes = measure(network, team.size(), kernels);
    for (int64_t i = apart; i < network.batch; ++i) one(i, team, sizes);
  }
}

}  // namespace akida_jax
