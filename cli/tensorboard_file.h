// An event file of TensorBoard: records in TensorFlow's framing, each an Event message.
//   record = uint64 length, uint32 masked crc32c(length), bytes, uint32 masked crc32c(bytes)
//   mask(c) = rotate right(c, 15) + 0xa282ead8
// Sources: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace birkhoff {

// CRC-32C (Castagnoli), RFC 3720 appendix B.4.
uint32_t Crc32c(std::string_view bytes);

class TensorboardFile {
 public:
  TensorboardFile();  // begins with the version record, as a reader expects
  // One event with a value for each tag.  `seconds` since the Unix epoch, or from any other start:
  // TensorBoard's relative time is right either way.
  void Add(int64_t step, double seconds, const std::vector<std::pair<std::string, float>>& values);
  const std::string& bytes() const { return bytes_; }

 private:
  void AddRecord(std::string_view record);

  std::string bytes_;
};

}  // namespace birkhoff
