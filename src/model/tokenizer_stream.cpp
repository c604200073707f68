#include "model/tokenizer_stream.hpp"

#include <string_view>
#include <utility>

#include "model/utf8.hpp"

namespace cohort {

std::string StreamingDecoder::push(TokenId token) {
  const std::string_view bytes = tokenizer_->bytes_of(token);
  if (control_ == ControlText::drop && tokenizer_->is_control(token)) return {};
  held_ += bytes;

  std::string_view rest = held_;
  std::string text;
  while (!rest.empty()) {
    const Utf8Step step = next_utf8(rest);
    if (step.status == Utf8Status::incomplete) break;
    const bool valid = step.status == Utf8Status::valid;
    text += valid ? rest.substr(0, step.byte_count) : kReplacementCharacter;
    rest.remove_prefix(step.byte_count);
  }
  held_ = std::string(rest);
  return text;
}

std::string StreamingDecoder::flush() {
  return to_valid_utf8(std::exchange(held_, {}));
}

}  // namespace cohort
