#include "bench_shared.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>

namespace cohort::bench {

SharedRegion::SharedRegion(const WorkerSettings& settings, std::uint32_t rank_count,
                           std::size_t bytes_of_rank)
    : bytes_of_rank_(bytes_of_rank) {
  constexpr std::size_t kWordsBytes = sizeof(SharedWords) * kRanksMax;
  const std::size_t bytes = kWordsBytes + rank_count * bytes_of_rank;
  const int fd = ::open(settings.memory.c_str(), O_RDWR | O_CLOEXEC);
  // Every rank makes it as long: the first creates the pages, all zero.
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    throw std::runtime_error("cannot open " + settings.memory);
  }
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  ::close(fd);
  if (data == MAP_FAILED) throw std::runtime_error("cannot map " + settings.memory);
  words_ = static_cast<SharedWords*>(data);
  memory_ = static_cast<std::byte*>(data) + kWordsBytes;
}

}  // namespace cohort::bench
