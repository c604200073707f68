#pragma once

#include "model/gguf.hpp"
#include "model/tokenizer.hpp"

namespace cohort {

/// What `file` says about its tokeniser. Local.
/// Throws: Error{corrupt} naming a key that is missing or of the wrong kind, Error{unsupported} for
/// a tokeniser that is not byte-level.
TokenizerSpec tokenizer_spec(const GgufFile& file);

/// The tokeniser of `file`. Local.
/// Throws: as `tokenizer_spec` and the constructor of Tokenizer; the message names the file.
Tokenizer load_tokenizer(const GgufFile& file);

}  // namespace cohort
