#include "terminal.hpp"

#include <unistd.h>

#include <cstdlib>
#include <iostream>

namespace cohort {

namespace {

std::string_view code_of(Ink ink) {
  switch (ink) {
    case Ink::red: return "\x1b[31m";
    case Ink::green: return "\x1b[32m";
    case Ink::yellow: return "\x1b[33m";
    case Ink::bold: return "\x1b[1m";
  }
  return "";
}

}  // namespace

Terminal terminal_of(bool is_terminal, const char* term, const char* no_color) noexcept {
  const std::string_view kind = term == nullptr ? "" : term;
  Terminal terminal;
  terminal.live = is_terminal && !kind.empty() && kind != "dumb";
  terminal.colours = terminal.live && (no_color == nullptr || *no_color == '\0');
  return terminal;
}

Terminal terminal_of(const std::ostream& stream) {
  int descriptor = -1;
  if (&stream == &std::cout) descriptor = STDOUT_FILENO;
  if (&stream == &std::cerr) descriptor = STDERR_FILENO;
  return terminal_of(descriptor >= 0 && ::isatty(descriptor) == 1, std::getenv("TERM"),
                     std::getenv("NO_COLOR"));
}

std::string inked(std::string_view text, Ink ink, const Terminal& terminal) {
  if (!terminal.colours) return std::string(text);
  return std::string(code_of(ink)).append(text).append("\x1b[0m");
}

}  // namespace cohort
