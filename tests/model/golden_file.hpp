// Results of other libraries, stored as JSON under tests/data.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "model/chat_template.hpp"
#include "model/tokenizer.hpp"

namespace cohort::test {

/// What the `tokenizers` library makes of texts, and of ids.
struct TokenizerGolden {
  struct Case {
    std::string text;
    std::vector<TokenId> ids;
  };
  std::size_t token_count = 0;
  TokenizerSpec spec;          // empty where the vocabulary is that of a model file
  std::string class_checksum;  // of all code points; empty where absent
  std::vector<Case> encode;    // text -> ids
  std::vector<Case> decode;    // ids -> text
};

/// Reads tests/data/tokenizer/`name`. Throws where the file is not as described.
TokenizerGolden read_tokenizer_golden(const std::string& name);

/// What jinja2 makes of chat templates.
struct TemplateGolden {
  struct Source {
    std::string name;
    std::string text;
  };
  struct Rendered {
    std::size_t source = 0;        // index
    std::size_t conversation = 0;  // index
    bool add_generation_prompt = false;
    std::string text;
  };
  struct Program {
    std::string source;
    std::optional<std::string> text;  // nothing where jinja2 refuses
  };
  std::vector<Source> sources;
  std::vector<std::vector<ChatMessage>> conversations;
  std::vector<Rendered> rendered;  // with "<s>" and "</s>" as the two tokens
  std::vector<Program> programs;   // over conversation 3, with "<s>" and no end token
};

/// Reads tests/data/template/golden.json. Throws where the file is not as described.
TemplateGolden read_template_golden();

}  // namespace cohort::test
