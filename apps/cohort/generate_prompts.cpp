#include "generate_prompts.hpp"

#include <algorithm>
#include <istream>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include <cohort/error.hpp>

#include "base/bytes.hpp"
#include "input_file.hpp"
#include "model/chat_template.hpp"
#include "rendezvous/wire.hpp"

namespace cohort {

namespace {

/// Of all prompts together: far above what any context holds, and low enough for what never ends.
constexpr std::size_t kPromptsBytesMax = std::size_t{64} << 20U;

[[noreturn]] void refuse(ErrorCode code, const std::string& problem) {
  throw Error(code, problem, std::nullopt, "prompts");
}

std::string prompt_of_line(const std::string& line, const std::string& place) {
  using Json = nlohmann::json;
  const Json value = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    refuse(ErrorCode::corrupt,
           place + " is not JSON; every line is \"TEXT\" or {\"prompt\": \"TEXT\"}");
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object()) {
    const auto found = value.find("prompt");
    if (found != value.end() && found->is_string()) return found->get<std::string>();
  }
  refuse(ErrorCode::corrupt, place + " is neither a string nor an object with a string \"prompt\"");
}

std::vector<std::string> read_file(const std::string& path) {
  std::istringstream file(
      read_input_file("--prompts " + path, path, kPromptsBytesMax, InputReaders::first_rank));
  std::vector<std::string> texts;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    texts.push_back(prompt_of_line(line, path + " line " + std::to_string(number)));
  }
  if (texts.empty()) refuse(ErrorCode::usage, "--prompts " + path + " holds no prompt");
  return texts;
}

}  // namespace

std::string read_typed_prompt(std::istream& input) {
  std::string text;
  char buffer[4096];
  while (input && text.size() <= kPromptsBytesMax) {
    input.read(buffer, sizeof buffer);
    text.append(buffer, static_cast<std::size_t>(input.gcount()));
  }
  if (text.size() > kPromptsBytesMax) {
    refuse(ErrorCode::usage,
           "the prompt on standard input is longer than " + format_bytes(kPromptsBytesMax));
  }
  return text;
}

std::vector<std::string> read_prompt_texts(const GenerateFlags& flags, std::istream& input) {
  std::vector<std::string> texts = flags.prompts;
  if (!flags.prompts_file.empty()) {
    if (!texts.empty()) refuse(ErrorCode::usage, "give either --prompt or --prompts, not both");
    texts = read_file(flags.prompts_file);
  } else if (texts.empty()) {
    std::string text = read_typed_prompt(input);
    if (text.ends_with('\n')) text.pop_back();
    if (text.empty()) {
      refuse(
          ErrorCode::usage,
          "no prompt: give --prompt TEXT or --prompts FILE.jsonl, or write one to standard input");
    }
    texts.push_back(std::move(text));
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) refuse(ErrorCode::usage, "prompt " + std::to_string(i + 1) + " is empty");
  }
  return texts;
}

namespace {

/// The model's chat template, applied to one turn of a user.
class ChatWriter {
 public:
  ChatWriter(const GgufFile& file, const Tokenizer& tokenizer)
      : template_(file.require_string("tokenizer.chat_template")) {
    if (tokenizer.bos()) options_.bos_token = tokenizer.bytes_of(*tokenizer.bos());
    if (tokenizer.eos()) options_.eos_token = tokenizer.bytes_of(*tokenizer.eos());
  }

  std::string operator()(const std::string& text) const {
    const ChatMessage message{"user", text};
    return template_.render({&message, 1}, options_);
  }

 private:
  ChatTemplate template_;
  ChatOptions options_;
};

}  // namespace

std::vector<Prompt> tokenize_prompts(std::vector<std::string> texts, const GgufFile& file,
                                     const Tokenizer& tokenizer, bool chat) {
  std::optional<ChatWriter> writer;
  if (chat) writer.emplace(file, tokenizer);
  std::vector<Prompt> prompts;
  for (std::string& text : texts) {
    const std::string name = "prompt " + std::to_string(prompts.size() + 1);
    Prompt prompt;
    try {
      // The template writes the beginning of the sequence itself.
      prompt.tokens =
          writer ? tokenizer.encode((*writer)(text)).ids : tokenizer.encode_prompt(text).ids;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::usage) throw;
      refuse(ErrorCode::usage, name + ": " + error.what());
    }
    prompt.text = std::move(text);
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

std::vector<std::byte> encode_prompts(std::span<const Prompt> prompts) {
  wire::Writer writer;
  writer.put(static_cast<std::uint64_t>(prompts.size()));
  for (const Prompt& prompt : prompts) {
    writer.put_text(prompt.text);
    writer.put_bytes(std::as_bytes(std::span(prompt.tokens)));
  }
  return writer.take();
}

std::vector<Prompt> decode_prompts(std::span<const std::byte> bytes) {
  wire::Reader reader(bytes);
  std::vector<Prompt> prompts;
  // Each takes at least two lengths, so a count made of noise ends at the message's end.
  for (auto count = reader.get<std::uint64_t>(); count > 0; --count) {
    Prompt& prompt = prompts.emplace_back();
    prompt.text = reader.get_text();
    const auto tokens = reader.get_bytes();
    prompt.tokens.resize(tokens.size() / sizeof(TokenId));
    const auto target = std::as_writable_bytes(std::span(prompt.tokens));
    std::copy_n(tokens.begin(), target.size(), target.begin());
  }
  return prompts;
}

}  // namespace cohort
