//===- Names.cpp - parameters as a report names them ------------------------------===//
#include "passes/shrink/Names.h"
#include "llvm/ADT/StringExtras.h"

using llvm::ArrayRef;
using llvm::StringRef;

namespace llmc::shrink {

std::string commonPrefix(ArrayRef<std::string> names) {
  if (names.empty())
    return "";
  StringRef common = names.front();
  for (StringRef name : names.drop_front()) {
    size_t length = 0;
    while (length < common.size() && length < name.size() && common[length] == name[length])
      ++length;
    bool isWhole = length == common.size() && (length == name.size() || name[length] == '.');
    common = isWhole ? common : common.take_front(length).rsplit('.').first;
  }
  return common.str();
}

/// Whether `name` is `previous` with its last number one higher.
static bool follows(StringRef previous, StringRef name) {
  auto numberOf = [](StringRef text) {
    size_t end = text.find_last_of("0123456789");
    size_t begin = end == StringRef::npos ? end : text.take_front(end + 1).find_last_not_of("0123456789") + 1;
    return end == StringRef::npos ? std::pair<size_t, size_t>(0, 0) : std::pair(begin, end + 1 - begin);
  };
  auto [begin, size] = numberOf(previous);
  auto [otherBegin, otherSize] = numberOf(name);
  uint64_t number = 0, other = 0;
  return begin == otherBegin && previous.take_front(begin) == name.take_front(begin) &&
         previous.drop_front(begin + size) == name.drop_front(otherBegin + otherSize) &&
         !previous.substr(begin, size).getAsInteger(10, number) &&
         !name.substr(otherBegin, otherSize).getAsInteger(10, other) && other == number + 1;
}

std::string listed(ArrayRef<std::string> names) {
  std::string text;
  for (size_t i = 0; i < names.size();) {
    size_t last = i;
    while (last + 1 < names.size() && follows(names[last], names[last + 1]))
      ++last;
    last = last > i + 1 ? last : i;
    text += (text.empty() ? "" : ", ") + names[i] + (last > i ? " ... " + names[last] : "");
    i = last + 1;
  }
  return text;
}

} // namespace llmc::shrink
