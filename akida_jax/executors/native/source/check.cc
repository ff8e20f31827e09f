// Runs a network from a file without XLA and compares its potentials: for sanitizers, and for
// processors that this machine does not have (tests/native/test_sources.py).
//
// A file holds int64 sizes (plan fields, bytes of constants, batch, bytes of inputs, values of
// outputs), then plan, constants, inputs and the int32 outputs expected. Every path runs with all
// inputs, half of them and none on threads of their own. Usage: check FILE THREADS PATH...
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "kernels.h"
#include "network.h"

namespace {

template <class T>
std::vector<T> take(std::ifstream& file, int64_t count) {
  std::vector<T> values(count);
  file.read(reinterpret_cast<char*>(values.data()), count * sizeof(T));
  if (!file) {
    std::fprintf(stderr, "the file is too short\n");
    std::exit(2);
  }
  return values;
}

// Whether this thread's tiles are set up: other code must not find them so.
bool holds_tiles(int64_t path) {
  uint32_t in_use = 0;
#if defined(__x86_64__)
  if (path == akida_jax::kAmx) {
    uint32_t high;
    asm volatile("xgetbv" : "=a"(in_use), "=d"(high) : "c"(1));
  }
#endif
  return in_use & (3u << 17);  // XTILECFG, XTILEDATA
}

std::vector<int32_t> run(const akida_jax::Network& network, const std::vector<uint8_t>& input,
                         size_t values, int64_t apart, int64_t count, bool* clean) {
  std::vector<int32_t> output(values);
  std::atomic<bool> held{false};
  std::vector<std::thread> threads;
  {
    akida_jax::Team team(
        count - 1,
        [&](std::function<void()> work) {
          threads.emplace_back([&, work = std::move(work)] {
            work();
            if (holds_tiles(network.path)) held = true;
          });
        },
        akida_jax::find_kernels(network.path)->rest);
    akida_jax::run_network(network, input.data(), output.data(), apart, team);
  }
  for (std::thread& thread : threads) thread.join();
  if (held || holds_tiles(network.path)) *clean = false;
  return output;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: check FILE THREADS PATH...\n");
    return 2;
  }
  std::ifstream file(arguments[1], std::ios::binary);
  const auto sizes = take<int64_t>(file, 5);
  const auto plan = take<int64_t>(file, sizes[0]);
  const auto constants = take<uint8_t>(file, sizes[1]);
  const auto input = take<uint8_t>(file, sizes[3]);
  const auto expected = take<int32_t>(file, sizes[4]);
  for (int i = 3; i < count; ++i) {
    akida_jax::Network network;
    network.constants = constants.data();
    network.batch = sizes[2];
    network.path = std::atoi(arguments[i]);
    const std::string fault =
        akida_jax::read_plan(plan.data(), plan.size(), sizes[1], sizes[3], sizes[4], &network);
    if (!fault.empty() || akida_jax::find_kernels(network.path) == nullptr) {
      std::fprintf(stderr, "%s\n", fault.empty() ? "no such path here" : fault.c_str());
      return 2;
    }
    bool clean = true;
    for (const int64_t apart : {int64_t{0}, network.batch / 2, network.batch})
      if (run(network, input, expected.size(), apart, std::atoi(arguments[2]), &clean) !=
          expected) {
        std::fprintf(stderr, "path %s gives other integers\n", arguments[i]);
        return 1;
      }
    if (!clean) {
      std::fprintf(stderr, "path %s leaves tiles set up\n", arguments[i]);
      return 1;
    }
  }
  std::printf("equal\n");
  return 0;
}
