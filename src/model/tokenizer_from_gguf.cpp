#include "model/tokenizer_from_gguf.hpp"

#include <string>
#include <string_view>

#include "model/printable.hpp"

namespace cohort {

TokenizerSpec tokenizer_spec(const GgufFile& file) {
  const std::string_view model = file.require_string("tokenizer.ggml.model");
  if (model != "gpt2") {
    file.refuse(ErrorCode::unsupported, "its tokeniser is of the kind '" + printable(model) +
                                            "' (key tokenizer.ggml.model); byte-level ones are "
                                            "called 'gpt2', no other kind is known");
  }
  if (file.find_bool("tokenizer.ggml.add_space_prefix").value_or(false)) {
    file.refuse(ErrorCode::unsupported,
                "its tokeniser puts a space before every text (key "
                "tokenizer.ggml.add_space_prefix); byte-level ones here do not");
  }

  TokenizerSpec spec;
  for (const std::string_view token : file.require_strings("tokenizer.ggml.tokens")) {
    spec.tokens.emplace_back(token);
  }
  for (const std::string_view merge : file.require_strings("tokenizer.ggml.merges")) {
    spec.merges.emplace_back(merge);
  }
  for (const std::int32_t type : file.require_i32s("tokenizer.ggml.token_type")) {
    spec.token_types.push_back(static_cast<TokenType>(type));
  }
  spec.pre = file.require_string("tokenizer.ggml.pre");
  spec.bos = file.find_u32("tokenizer.ggml.bos_token_id");
  spec.eos = file.find_u32("tokenizer.ggml.eos_token_id");
  spec.unknown = file.find_u32("tokenizer.ggml.unknown_token_id");
  spec.padding = file.find_u32("tokenizer.ggml.padding_token_id");
  // Files without this key are of models that were trained without the token.
  spec.add_bos = file.find_bool("tokenizer.ggml.add_bos_token").value_or(false);
  return spec;
}

Tokenizer load_tokenizer(const GgufFile& file) {
  const TokenizerSpec spec = tokenizer_spec(file);
  try {
    return Tokenizer(spec);
  } catch (const Error& error) {
    file.refuse(error.code(), error.what());
  }
}

}  // namespace cohort
