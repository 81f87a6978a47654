// One pass, character by character: UTF-8 is decoded here, and of what is not well-formed, or not
// printable, every byte is escaped by itself.
#include "core/base/printable.h"

#include <cstdint>

namespace birkhoff {
namespace {

constexpr char kHex[] = "0123456789abcdef";

void AppendEscaped(unsigned char byte, std::string* out) {
  if (byte == '\n' || byte == '\t') {
    *out += byte == '\n' ? "\\n" : "\\t";
    return;
  }
  out->append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
}

// Bytes of the well-formed UTF-8 character that the text begins with, and its number; 0: none.
size_t FirstCharacter(std::string_view text, uint32_t* character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t size = byte(0) < 0x80 ? 1 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  if ((byte(0) >= 0x80 && byte(0) < 0xc2) || byte(0) > 0xf4 || size > text.size()) return 0;
  *character = size == 1 ? byte(0) : byte(0) & (0xffu >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    *character = *character << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = *character >= 0xd800 && *character < 0xe000;
  return *character < kSmallest[size] || *character > 0x10ffff || surrogate ? 0 : size;
}

bool IsPrintable(uint32_t c) {
  const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
  const bool turns = (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
                     (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
  return !control && !turns;
}

std::string Escaped(std::string_view text, bool lines) {
  std::string out;
  while (!text.empty()) {
    uint32_t character = 0;
    const size_t size = FirstCharacter(text, &character);
    const bool stays = size > 0 && (IsPrintable(character) || (lines && character == '\n'));
    const size_t taken = size == 0 ? 1 : size;
    for (const char byte : text.substr(0, taken)) {
      if (stays) {
        out += byte;
      } else {
        AppendEscaped(static_cast<unsigned char>(byte), &out);
      }
    }
    text.remove_prefix(taken);
  }
  return out;
}

}  // namespace

std::string Printable(std::string_view text) { return Escaped(text, /*lines=*/false); }
std::string PrintableLines(std::string_view text) { return Escaped(text, /*lines=*/true); }

std::string Shortened(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  size_t end = bytes - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace birkhoff
