// What somebody else has said, made fit for a terminal or a log.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace birkhoff {

// The text with everything escaped that is no printable character: line breaks and escape
// sequences, which would forge lines or move the cursor, bytes that are no UTF-8, and characters
// that turn the direction of writing.  "\n", "\t", "\x1b"; a backslash stays as it is.
std::string Printable(std::string_view text);
// The same, but for line breaks: of a text of several lines.
std::string PrintableLines(std::string_view text);

// At most `bytes` >= 3 of the text, with "..." at the end where that is not all of it; no character
// is cut in two, which a text in protobuf must not be.
std::string Shortened(std::string_view text, size_t bytes);

}  // namespace birkhoff
