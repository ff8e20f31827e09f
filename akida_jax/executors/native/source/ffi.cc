// The custom call by which XLA runs a network.
#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "kernels.h"
#include "network.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace akida_jax {
namespace {

ffi::Error run(ffi::ThreadPool pool, ffi::Buffer<ffi::U8> input,
                ffi::Buffer<ffi::U8> constants, ffi::Result<ffi::Buffer<ffi::S32>> output,
                ffi::Span<const int64_t> plan, int64_t path) {
  if (input.dimensions().size() != 4)
    return ffi::Error::InvalidArgument("the input has not four dimensions");
  if (find_kernels(path) == nullptr)
    return ffi::Error::InvalidArgument("this processor cannot run path " + std::to_string(path));
  Network network;
  network.constants = constants.typed_data();
  network.batch = input.dimensions()[0];
  network.path = path;
  const std::string fault =
      read_plan(plan.begin(), plan.size(), static_cast<int64_t>(constants.element_count()),
                static_cast<int64_t>(input.element_count()),
                static_cast<int64_t>(output->element_count()), &network);
  if (!fault.empty()) return ffi::Error::InvalidArgument(fault);
  const Layer& first = network.layers.front();
  if (input.dimensions()[1] != first.in_rows || input.dimensions()[2] != first.in_columns ||
      input.dimensions()[3] != first.in_channels)
    return ffi::Error::InvalidArgument("the input has another shape than the plan");
  if (network.batch == 0) return ffi::Error::Success();
  const int64_t threads = std::max<int64_t>(pool.num_threads(), 1);
  const int64_t apart = inputs_apart(network, threads);
  const int64_t size = apart < network.batch ? threads : std::min(threads, network.batch);
  Team team(size - 1, [&pool](std::function<void()> work) { pool.Schedule(std::move(work)); },
            find_kernels(path)->rest);
  run_network(network, input.typed_data(), output->typed_data(), apart, team);
  return ffi::Error::Success();
}

// Nothing that is thrown goes through XLA.
ffi::Error call(ffi::ThreadPool pool, ffi::Buffer<ffi::U8> input,
                ffi::Buffer<ffi::U8> constants, ffi::Result<ffi::Buffer<ffi::S32>> output,
                ffi::Span<const int64_t> plan, int64_t path) {
  try {
    return run(pool, input, constants, output, plan, path);
  } catch (const std::bad_alloc&) {
    return ffi::Error::Internal("out of memory");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
}

}  // namespace
}  // namespace akida_jax

// Seen from outside, unlike all else.
extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* akida_jax_run(
    XLA_FFI_CallFrame* frame);

XLA_FFI_DEFINE_HANDLER_SYMBOL(akida_jax_run, akida_jax::call,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::U8>>()
                                  .Arg<ffi::Buffer<ffi::U8>>()
                                  .Ret<ffi::Buffer<ffi::S32>>()
                                  .Attr<ffi::Span<const int64_t>>("plan")
                                  .Attr<int64_t>("path"));
