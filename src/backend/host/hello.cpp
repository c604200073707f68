#include "backend/host/hello.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <new>
#include <string_view>

#include "rendezvous/protocol.hpp"
#include "rendezvous/wire.hpp"

namespace cohort::host {
namespace {

constexpr std::uint64_t kHelloMagic = 0x6f6c'6c65'6863;     // "chello"
constexpr std::uint64_t kFarewellMagic = 0x6c6c'6577'6863;  // "chwell"
constexpr std::size_t kFarewellTextMax = 600;

std::string name_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

std::uint64_t namespace_id(const char* path) {
  struct stat status {};
  return ::stat(path, &status) == 0 ? static_cast<std::uint64_t>(status.st_ino) : 0;
}

}  // namespace

Hello my_hello(const ControlListener& listener) {
  Hello hello;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> hello.boot_id;
  hello.network = namespace_id("/proc/self/ns/net");
  hello.processes = namespace_id("/proc/self/ns/pid");
  hello.pid = ::getpid();
  hello.socket_name = listener.name;
  std::array<std::byte, 16> random{};
  fill_random(random);
  hello.token = to_hex(random);
  return hello;
}

// Magic, ABI and version come first and keep their form, so that any two versions can at least
// tell each other apart.
std::vector<std::byte> encode(const Hello& hello) {
  wire::Writer writer;
  writer.put(kHelloMagic);
  writer.put(hello.abi);
  writer.put_text(hello.version);
  writer.put(hello.layout_bytes);
  writer.put_text(hello.boot_id);
  writer.put(hello.network);
  writer.put(hello.processes);
  writer.put(hello.pid);
  writer.put_text(hello.socket_name);
  writer.put_text(hello.token);
  return writer.take();
}

namespace {

std::string describe_build(const Hello& hello) {
  return "cohort " + hello.version + " (protocol " + std::to_string(hello.abi) + ")";
}

Hello decode(std::span<const std::byte> bytes, WorldRank rank, const Hello& mine) {
  wire::Reader reader(bytes);
  Hello hello;
  const auto magic = reader.get<std::uint64_t>();
  if (magic == kFarewellMagic) throw rendezvous::decode_error(reader.get_bytes());
  if (magic != kHelloMagic) {
    throw Error(ErrorCode::mismatch, name_of(rank) + " is not a rank of cohort", rank, "join");
  }
  hello.abi = reader.get<std::uint32_t>();
  hello.version = reader.get_text();
  if (hello.abi != mine.abi || hello.version != mine.version) {
    throw Error(ErrorCode::mismatch,
                name_of(rank) + " runs " + describe_build(hello) + ", this rank runs " +
                    describe_build(mine) + "; start all ranks from the same build",
                rank, "join");
  }
  hello.layout_bytes = reader.get<std::uint64_t>();
  if (hello.layout_bytes != mine.layout_bytes) {
    throw Error(ErrorCode::mismatch,
                name_of(rank) +
                    " was compiled with another memory layout than this rank, although "
                    "both are " +
                    describe_build(mine) + "; start all ranks from the same build",
                rank, "join");
  }
  hello.boot_id = reader.get_text();
  hello.network = reader.get<std::uint64_t>();
  hello.processes = reader.get<std::uint64_t>();
  hello.pid = reader.get<std::int64_t>();
  hello.socket_name = reader.get_text();
  hello.token = reader.get_text();
  if (hello.boot_id != mine.boot_id || hello.network != mine.network) {
    throw Error(ErrorCode::unsupported,
                name_of(rank) +
                    " runs on another host or in another network namespace; this "
                    "build connects ranks of one host only",
                rank, "join");
  }
  return hello;
}

}  // namespace

Hello decode_hello(std::span<const std::byte> bytes, WorldRank rank, const Hello& mine) {
  try {
    return decode(bytes, rank, mine);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupt || error.rank()) throw;
    throw Error(error.code(),
                name_of(rank) + " sent a broken message: " + error.what() +
                    "; start all ranks from the same build",
                rank, "join");
  }
}

std::vector<std::byte> encode_farewell(const Error& error) {
  const std::string text(std::string_view(error.what()).substr(0, kFarewellTextMax));
  wire::Writer writer;
  writer.put(kFarewellMagic);
  writer.put_bytes(
      rendezvous::encode_error(Error(error.code(), text, error.rank(), error.phase())));
  return writer.take();
}

std::optional<Error> decode_farewell(std::span<const std::byte> bytes) {
  wire::Reader reader(bytes);
  if (bytes.size() < sizeof kFarewellMagic) return std::nullopt;
  if (reader.get<std::uint64_t>() != kFarewellMagic) return std::nullopt;
  return rendezvous::decode_error(reader.get_bytes());
}

Error error_of_joining(const std::exception& exception, WorldRank rank) {
  const auto* const error = dynamic_cast<const Error*>(&exception);
  if (error != nullptr && error->rank()) {
    return Error(error->code(), error->what(), error->rank(), "join");
  }
  if (error != nullptr) {
    return Error(error->code(), name_of(rank) + " " + error->what(), rank, "join");
  }
  if (dynamic_cast<const std::bad_alloc*>(&exception) != nullptr) {
    return Error(ErrorCode::out_of_memory, name_of(rank) + " has no memory left to join", rank,
                 "join");
  }
  return Error(ErrorCode::system, name_of(rank) + " could not join: " + exception.what(), rank,
               "join");
}

}  // namespace cohort::host
