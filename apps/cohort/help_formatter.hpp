#pragma once

#include <memory>

namespace CLI {
class FormatterBase;
}

namespace cohort {

/// How every command prints its help: no wider than a terminal, defaults in words behind what a
/// flag does, the command's full name in the usage line.
std::shared_ptr<CLI::FormatterBase> help_formatter();

}  // namespace cohort
