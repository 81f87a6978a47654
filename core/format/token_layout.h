// The numbers of the two token formats, which never change; docs/formats.md draws them.
#pragma once

#include <cstdint>

namespace birkhoff {

// llm.c: 256 int32, of which three are used {magic, version, tokens}, then the tokens.
inline constexpr int64_t kLlmcHeaderBytes = 1024;
inline constexpr int32_t kLlmcMagic16 = 20240520;  // uint16 tokens
inline constexpr int32_t kLlmcVersion16 = 1;
inline constexpr int32_t kLlmcMagic32 = 20240801;  // uint32 tokens
inline constexpr int32_t kLlmcVersion32 = 7;

// Megatron .idx: magic[9], uint64 version, uint8 type, uint64 sequences, uint64 document starts,
// then int32 lengths, int64 byte pointers, int64 document starts.
inline constexpr char kMegatronMagic[] = "MMIDIDX\0";  // nine bytes with the terminator
inline constexpr int64_t kMegatronMagicBytes = 9;
inline constexpr int64_t kMegatronHeaderBytes = 34;

}  // namespace birkhoff
