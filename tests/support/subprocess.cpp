#include "support/subprocess.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "base/clock.hpp"

namespace cohort::test {
namespace {

using std::chrono::milliseconds;

/// Moves what is there to `text`; false once the stream has ended.
bool drain(UniqueFd& fd, std::string& text) {
  std::array<char, 4096> bytes;
  while (fd) {
    const ssize_t count = ::read(fd.get(), bytes.data(), bytes.size());
    if (count > 0) {
      text.append(bytes.data(), static_cast<std::size_t>(count));
    } else if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
      return true;
    } else {
      fd.reset();
    }
  }
  return false;
}

}  // namespace

Subprocess::Subprocess(const std::vector<std::string>& arguments, const Variables& variables,
                       const std::string& directory) {
  std::array<int, 2> output{}, errors{};
  if (::pipe2(output.data(), O_CLOEXEC) != 0 || ::pipe2(errors.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe");
  }
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  pointers.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGTERM, SIG_DFL);
    ::dup2(output[1], STDOUT_FILENO);
    ::dup2(errors[1], STDERR_FILENO);
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    if (!directory.empty() && ::chdir(directory.c_str()) != 0) ::_exit(126);
    ::execvp(pointers[0], pointers.data());
    ::_exit(127);
  }
  ::close(output[1]);
  ::close(errors[1]);
  output_.reset(output[0]);
  errors_.reset(errors[0]);
  ::fcntl(output_.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(errors_.get(), F_SETFL, O_NONBLOCK);
}

Subprocess::~Subprocess() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Subprocess::signal(int number) const {
  if (pid_ <= 0) throw std::logic_error("the process has ended");  // -1 would be all processes
  ::kill(pid_, number);
}

bool Subprocess::read_some(milliseconds limit) {
  std::array<pollfd, 2> polled{pollfd{output_.get(), POLLIN, 0}, pollfd{errors_.get(), POLLIN, 0}};
  ::poll(polled.data(), polled.size(), static_cast<int>(limit.count()));
  const bool output_open = drain(output_, finished_.output);
  const bool errors_open = drain(errors_, finished_.errors);
  return output_open || errors_open;
}

bool Subprocess::wait_for_output(const std::string& text, std::chrono::seconds limit) {
  const auto deadline = Clock::now() + limit;
  while (finished_.output.find(text) == std::string::npos) {
    if (Clock::now() >= deadline || !read_some(milliseconds(50))) {
      return finished_.output.find(text) != std::string::npos;
    }
  }
  return true;
}

Finished Subprocess::wait(std::chrono::seconds limit) {
  const auto deadline = Clock::now() + limit;
  bool open = true;
  while (pid_ > 0 || open) {
    open = read_some(milliseconds(open ? 20 : 0));
    int status = 0;
    if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      if (WIFEXITED(status)) finished_.exit_code = WEXITSTATUS(status);
      if (WIFSIGNALED(status)) finished_.signal = WTERMSIG(status);
    }
    if (Clock::now() >= deadline) break;
    if (!open && pid_ > 0) ::poll(nullptr, 0, 5);
  }
  return finished_;
}

std::vector<pid_t> processes_with_variable(const std::string& name, const std::string& value) {
  std::vector<pid_t> found;
  std::error_code ignored;  // processes come and go while we look
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string id = entry.path().filename();
    if (id.empty() || std::isdigit(static_cast<unsigned char>(id[0])) == 0) continue;
    std::ifstream stream(entry.path() / "environ", std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    text.insert(text.begin(), '\0');
    const std::string wanted = '\0' + name + "=" + value + '\0';
    if (text.find(wanted) != std::string::npos) found.push_back(std::stoi(id));
  }
  return found;
}

std::chrono::seconds patience(std::chrono::seconds limit) {
  const double scaled = static_cast<double>(limit.count()) * deadline_scale_from_environment();
  return std::chrono::seconds(static_cast<long>(scaled) + 1);
}

}  // namespace cohort::test
