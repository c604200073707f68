// A chat template and a conversation: the template, then messages, cut at NUL bytes.

#include "model/chat_template.hpp"

#include <vector>

#include "fuzz/fuzz.hpp"

namespace cohort::fuzz {
namespace {

std::vector<ChatMessage> messages_of(std::string_view text) {
  constexpr const char* kRoles[] = {"system", "user", "assistant"};
  std::vector<ChatMessage> messages;
  while (!text.empty()) {
    messages.push_back({kRoles[messages.size() % 3], std::string(cut(text, '\0'))});
  }
  return messages;
}

}  // namespace
}  // namespace cohort::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort;
  std::string_view rest = fuzz::text_of({data, size});
  const std::string_view source = fuzz::cut(rest, '\0');
  const std::vector<ChatMessage> messages = fuzz::messages_of(rest);
  fuzz::accepted([&] {
    const ChatTemplate chat(source);
    ChatOptions options{.add_generation_prompt = true, .bos_token = "<s>", .eos_token = "</s>"};
    static_cast<void>(chat.render(messages, options));
    options = {.add_generation_prompt = false, .bos_token = {}, .eos_token = {}};
    static_cast<void>(chat.render(messages, options));
  });
  return 0;
}
