// The stored bytes of format version 1, good and broken, that are kept in tests/golden/object: what
// golden tests compare with and fuzzers start from. The files are the format; the code here only
// says what is in them.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "proto/object/header.h"
#include "proto/object/model_spec.h"
#include "proto/object/segment.h"

namespace kdn::test {

struct GoldenCase {
  std::string_view parser;  // folder of the golden file: header, index, model_spec, object
  std::string_view name;    // of the golden file; broken ones say what is wrong
  std::vector<std::byte> bytes = {};
  Code code = Code::kOk;          // what decoding answers
  std::string_view message = {};  // contained in the error's
};

[[nodiscard]] std::vector<GoldenCase> GoldenCases();

// What "header/full.bin" holds: every field differs from its default and from every other.
[[nodiscard]] ObjectHeader GoldenHeader();
// What "model_spec/hybrid.bin" holds: grouped, latent and recurrent layers, interleaved.
[[nodiscard]] ModelSpec GoldenModelSpec();
// The put id under which "index/*.bin" were written.
[[nodiscard]] ObjectTag GoldenTag();

// Decodes a case's bytes with its parser.
[[nodiscard]] Status DecodeGolden(const GoldenCase& golden);

}  // namespace kdn::test
