// Threads that share the items of one job after another, within one call.
#ifndef AKIDA_JAX_TEAM_H_
#define AKIDA_JAX_TEAM_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <thread>

namespace akida_jax {

// The caller works too, and never waits for a helper that has not begun: a pool whose threads
// are all busy makes a call slower, not stuck. A helper that comes late finds nothing to do.
class Team {
 public:
  // Has a function run by another thread, some time.
  using Schedule = std::function<void(std::function<void()>)>;

  // `rest` is what each thread does after its last item of a job, nothing if it is null.
  Team(int64_t helpers, const Schedule& schedule, void (*rest)())
      : shared_(std::make_shared<Shared>()) {
    shared_->rest = rest;
    try {
      for (int64_t i = 0; i < helpers; ++i)
        schedule([shared = shared_] { shared->help(); });
    } catch (...) {  // those that have begun must end
      shared_->stopped.store(true, std::memory_order_release);
      throw;
    }
    size_ = helpers + 1;
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() { shared_->stopped.store(true, std::memory_order_release); }

  int64_t size() const { return size_; }

  // Runs `job(item)` for every item below `items`, each once, and returns when all are done.
  // Throws std::bad_alloc if any of them threw.
  template <class Job>
  void run(int64_t items, const Job& job) {
    const AtRest at_rest{shared_->rest};
    if (size_ == 1 || items == 1) {
      for (int64_t i = 0; i < items; ++i) job(i);
      return;
    }
    for (int64_t first = 0; first < items; first += kMostItems)
      run_some(std::min(items - first, kMostItems), [&](int64_t item) { job(first + item); });
  }

 private:
  // Of a ticket; threads that draw beyond the last item still count within its field.
  static constexpr int64_t kMostItems = int64_t{1} << 23;

  template <class Job>
  void run_some(int64_t items, const Job& job) {
    Shared& s = *shared_;
    s.job = &job;
    s.call = [](const void* function, int64_t item) {
      (*static_cast<const Job*>(function))(item);
    };
    s.done.store(0, std::memory_order_relaxed);
    turn_ = turn_ % 0xFFFF + 1;
    const uint64_t first = turn_ << 48 | static_cast<uint64_t>(items) << 24;
    s.ticket.store(first, std::memory_order_release);
    s.work();
    for (int64_t spins = 0; s.done.load(std::memory_order_acquire) < items; ++spins)
      relax(spins);
    if (s.failed.load(std::memory_order_relaxed)) throw std::bad_alloc();
  }

  static void relax(int64_t spins) {
    if (spins < 2000) {
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
    } else {
      std::this_thread::yield();
    }
  }

  struct AtRest {
    void (*rest)();
    ~AtRest() {
      if (rest) rest();
    }
  };

  struct Shared {
    // Turn (16 bits), items (24) and the next item (24): drawn in one step, so that nobody
    // takes an item of a job that has been replaced.
    std::atomic<uint64_t> ticket{0};
    std::atomic<int64_t> done{0};
    std::atomic<bool> stopped{false};
    std::atomic<bool> failed{false};
    const void* job = nullptr;
    void (*call)(const void*, int64_t) = nullptr;
    void (*rest)() = nullptr;

    void work() {
      while (true) {
        // An exhausted ticket is left alone: it must not count into the next field.
        const uint64_t seen = ticket.load(std::memory_order_acquire);
        if ((seen & 0xFFFFFF) >= (seen >> 24 & 0xFFFFFF)) return;
        const uint64_t drawn = ticket.fetch_add(1, std::memory_order_acq_rel);
        const uint64_t item = drawn & 0xFFFFFF;
        if (item >= (drawn >> 24 & 0xFFFFFF)) return;
        try {
          call(job, static_cast<int64_t>(item));
        } catch (...) {  // nothing but a want of memory; a pool's thread must not throw
          failed.store(true, std::memory_order_relaxed);
        }
        done.fetch_add(1, std::memory_order_acq_rel);
      }
    }

    void help() {
      uint64_t seen = 0;
      for (int64_t spins = 0; !stopped.load(std::memory_order_acquire); ++spins) {
        const uint64_t turn = ticket.load(std::memory_order_acquire) >> 48;
        if (turn != seen) {
          seen = turn;
          spins = 0;
          const AtRest at_rest{rest};
          work();
        }
        relax(spins);
      }
    }
  };

  std::shared_ptr<Shared> shared_;
  int64_t size_ = 1;
  uint64_t turn_ = 0;
};

}  // namespace akida_jax

#endif  // AKIDA_JAX_TEAM_H_
