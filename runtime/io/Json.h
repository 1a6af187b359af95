//===- Json.h - JSON in which no key counts twice ---------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_IO_JSON_H
#define LLMC_RUNTIME_IO_JSON_H

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace llmc::runtime {

/// The value of `text`, discarded if it is no JSON. A parser keeps the last of two entries with one key, and others keep
/// the first: `twice` becomes the first key that an object has twice.
template <typename Iterator> nlohmann::json parseJson(Iterator begin, Iterator end, std::optional<std::string> &twice) {
  using Json = nlohmann::json;
  if (std::find(begin, end, '\0') != end) // would end the text for this parser
    return Json(Json::value_t::discarded);
  std::vector<std::set<std::string>> open; // keys of the objects around the place that is read
  auto note = [&](int, Json::parse_event_t event, Json &parsed) {
    if (event == Json::parse_event_t::object_start)
      open.emplace_back();
    else if (event == Json::parse_event_t::object_end)
      open.pop_back();
    else if (event == Json::parse_event_t::key && !open.back().insert(parsed.template get<std::string>()).second && !twice)
      twice = parsed.template get<std::string>();
    return true;
  };
  return Json::parse(begin, end, note, /*allow_exceptions=*/false);
}

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_JSON_H
