//===- Numbers.cpp - element types of files -------------------------------===//
#include "runtime/io/Numbers.h"
#include "runtime/plan/View.h"
#include <cmath>
#include <cstring>

namespace llmc::runtime {

bool isFloat(fb::DataType type) {
  return type == fb::DataType::F32 || type == fb::DataType::F64 || type == fb::DataType::F16 || type == fb::DataType::BF16;
}

bool isInteger(fb::DataType type) {
  return type == fb::DataType::I64 || type == fb::DataType::I32 || type == fb::DataType::I8 || type == fb::DataType::U8 ||
         type == fb::DataType::Bool;
}

const char *nameOf(fb::DataType type) { return fb::EnumNameDataType(type); }

static float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

static uint32_t toBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

static float halfToFloat(uint16_t half) {
  uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = (half >> 10) & 31, mantissa = half & 1023;
  if (exponent == 31)
    return fromBits(sign | 0x7f800000 | mantissa << 13);
  float magnitude = exponent ? std::ldexp(static_cast<float>(mantissa + 1024), static_cast<int>(exponent) - 25)
                             : std::ldexp(static_cast<float>(mantissa), -24);
  return sign ? -magnitude : magnitude;
}

static uint16_t floatToHalf(float value) {
  uint32_t bits = toBits(value);
  uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (std::isnan(value))
    return sign | 0x7e00;
  float magnitude = std::fabs(value);
  if (magnitude >= 65520.0f)
    return sign | 0x7c00;
  int exponent;
  std::frexp(magnitude, &exponent); // magnitude in [2^(exponent-1), 2^exponent)
  int unit = magnitude < 6.103515625e-05f ? -24 : exponent - 11;
  long steps = std::lrint(std::ldexp(magnitude, -unit)); // round to nearest even
  if (unit == -24)
    return static_cast<uint16_t>(sign | steps);
  return static_cast<uint16_t>(sign | (((unit + 24) << 10) + steps));
}

static uint16_t floatToBfloat(float value) {
  uint32_t bits = toBits(value);
  if (std::isnan(value))
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <typename T> static T loadAt(const void *from, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const uint8_t *>(from) + index * sizeof(T), sizeof(T));
  return value;
}
template <typename T> static void storeAt(void *to, int64_t index, T value) {
  std::memcpy(static_cast<uint8_t *>(to) + index * sizeof(T), &value, sizeof(T));
}

static double loadFloat(fb::DataType type, const void *from, int64_t index) {
  switch (type) {
  case fb::DataType::F64:
    return loadAt<double>(from, index);
  case fb::DataType::F32:
    return loadAt<float>(from, index);
  case fb::DataType::F16:
    return halfToFloat(loadAt<uint16_t>(from, index));
  default:
    return fromBits(static_cast<uint32_t>(loadAt<uint16_t>(from, index)) << 16);
  }
}

static void storeFloat(fb::DataType type, void *to, int64_t index, double value) {
  switch (type) {
  case fb::DataType::F64:
    return storeAt<double>(to, index, value);
  case fb::DataType::F32:
    return storeAt<float>(to, index, static_cast<float>(value));
  case fb::DataType::F16:
    return storeAt<uint16_t>(to, index, floatToHalf(static_cast<float>(value)));
  default:
    return storeAt<uint16_t>(to, index, floatToBfloat(static_cast<float>(value)));
  }
}

static int64_t loadInteger(fb::DataType type, const void *from, int64_t index) {
  switch (type) {
  case fb::DataType::I64:
    return loadAt<int64_t>(from, index);
  case fb::DataType::I32:
    return loadAt<int32_t>(from, index);
  case fb::DataType::I8:
    return loadAt<int8_t>(from, index);
  default:
    return loadAt<uint8_t>(from, index);
  }
}

static void storeInteger(fb::DataType type, void *to, int64_t index, int64_t value) {
  switch (type) {
  case fb::DataType::I64:
    return storeAt<int64_t>(to, index, value);
  case fb::DataType::I32:
    return storeAt<int32_t>(to, index, static_cast<int32_t>(value));
  case fb::DataType::Bool:
    return storeAt<uint8_t>(to, index, value != 0);
  default:
    return storeAt<uint8_t>(to, index, static_cast<uint8_t>(value));
  }
}

bool convertElements(fb::DataType fromType, const void *from, fb::DataType toType, void *to, int64_t count) {
  if (fromType == toType) {
    std::memcpy(to, from, static_cast<size_t>(count) * elementBytes(toType));
    return true;
  }
  if (isFloat(fromType) && isFloat(toType)) {
    for (int64_t i = 0; i < count; ++i)
      storeFloat(toType, to, i, loadFloat(fromType, from, i));
    return true;
  }
  if (isInteger(fromType) && isInteger(toType)) {
    for (int64_t i = 0; i < count; ++i)
      storeInteger(toType, to, i, loadInteger(fromType, from, i));
    return true;
  }
  return false;
}

} // namespace llmc::runtime
