#include <iostream>

#include "command_line.hpp"

int main(int argument_count, char** arguments) {
  return cohort::run_command_line(argument_count, arguments, std::cout, std::cerr);
}
