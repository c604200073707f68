// Results of other libraries, stored as JSON under tests/data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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

}  // namespace cohort::test
