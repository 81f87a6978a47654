// Event messages are written field by field with protobuf's own coder: event.proto itself is part
// of TensorFlow, and five fields of it are all that a scalar needs.
#include "cli/tensorboard_file.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <array>
#include <bit>

namespace birkhoff {
namespace {

using Coder = google::protobuf::io::CodedOutputStream;

constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;  // Event
constexpr int kValue = 1;                                                // Summary
constexpr int kTag = 1, kSimpleValue = 2;                                // Summary.Value

constexpr std::array<uint32_t, 256> MakeTable() {
  constexpr uint32_t kReversedPolynomial = 0x82f63b78;
  std::array<uint32_t, 256> table = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kReversedPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}

uint32_t MaskedCrc(std::string_view bytes) { return std::rotr(Crc32c(bytes), 15) + 0xa282ead8u; }

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };
void WriteTag(int field, WireType type, Coder* coder) {
  coder->WriteTag(static_cast<uint32_t>(field) << 3 | type);
}
void WriteBytes(int field, const std::string& bytes, Coder* coder) {
  WriteTag(field, kLengthDelimited, coder);
  coder->WriteVarint64(bytes.size());
  coder->WriteString(bytes);
}
void WriteDouble(int field, double value, Coder* coder) {
  WriteTag(field, kFixed64, coder);
  coder->WriteLittleEndian64(std::bit_cast<uint64_t>(value));
}

template <typename Write>
std::string Message(const Write& write) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  Coder coder(&stream);
  write(&coder);
  coder.Trim();
  return bytes;
}

std::string ScalarValue(const std::string& tag, float value) {
  return Message([&](Coder* coder) {
    WriteBytes(kTag, tag, coder);
    WriteTag(kSimpleValue, kFixed32, coder);
    coder->WriteLittleEndian32(std::bit_cast<uint32_t>(value));
  });
}

void AppendLittleEndian(uint64_t value, int num_bytes, std::string* bytes) {
  for (int i = 0; i < num_bytes; ++i) bytes->push_back(static_cast<char>(value >> (8 * i)));
}

}  // namespace

uint32_t Crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = MakeTable();
  uint32_t crc = 0xffffffffu;
  for (const char byte : bytes)
    crc = kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

TensorboardFile::TensorboardFile() {
  AddRecord(Message([](Coder* coder) {
    WriteDouble(kWallTime, 0.0, coder);
    WriteBytes(kFileVersion, "brain.Event:2", coder);
  }));
}

void TensorboardFile::Add(int64_t step, double seconds,
                          const std::vector<std::pair<std::string, float>>& values) {
  const std::string summary = Message([&](Coder* coder) {
    for (const auto& [tag, value] : values) {
      WriteBytes(kValue, ScalarValue(tag, value), coder);
    }
  });
  AddRecord(Message([&](Coder* coder) {
    WriteDouble(kWallTime, seconds, coder);
    WriteTag(kStep, kVarint, coder);
    coder->WriteVarint64(static_cast<uint64_t>(step));
    WriteBytes(kSummary, summary, coder);
  }));
}

void TensorboardFile::AddRecord(std::string_view record) {
  std::string length;
  AppendLittleEndian(record.size(), 8, &length);
  bytes_ += length;
  AppendLittleEndian(MaskedCrc(length), 4, &bytes_);
  bytes_ += record;
  AppendLittleEndian(MaskedCrc(record), 4, &bytes_);
}

}  // namespace birkhoff
