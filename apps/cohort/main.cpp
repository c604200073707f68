#include <csignal>
#include <iostream>

#include "command_line.hpp"

int main(int argument_count, char** arguments) {
  // A reader that leaves is an error of writing, with a message; ranks may still have to be ended.
  std::signal(SIGPIPE, SIG_IGN);
  return cohort::run_command_line(argument_count, arguments, std::cout, std::cerr);
}
