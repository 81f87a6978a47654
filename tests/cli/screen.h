// A terminal as far as our programs use one, for tests that look at what a person sees.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/numbers.h"

namespace birkhoff::testing {

// Understands carriage return, line feed, "cursor up n rows" and "erase below".  Lines that are
// longer than the screen wrap, and a change of width wraps them anew, as most terminals do.
class Screen {
 public:
  explicit Screen(int width) : width_(static_cast<size_t>(width)) {}

  void Resize(int width) {
    // Rows that only wrapping has made belong to the line before.
    std::vector<std::string> lines;
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (i > 0 && rows_[i].wrapped) {
        lines.back() += rows_[i].text;
      } else {
        lines.push_back(rows_[i].text);
      }
    }
    width_ = static_cast<size_t>(width);
    rows_ = {};
    for (const std::string& line : lines) {
      rows_.push_back({});
      row_ = rows_.size() - 1;
      column_ = 0;
      for (const char c : line) Put(c);
    }
  }

  void Write(const std::string& text) {
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\r') {
        column_ = 0;
      } else if (text[i] == '\n') {
        column_ = 0;
        if (++row_ == rows_.size()) rows_.push_back({});
      } else if (text[i] == '\x1b') {
        i = Control(text, i);
      } else {
        Put(text[i]);
      }
    }
  }

  // What stands there, each row with '|' behind its last column.
  std::string Text() const {
    std::string text;
    for (const Row& row : rows_) {
      std::string shown = row.text;
      shown.resize(std::max(shown.size(), width_), ' ');
      text += shown + "|\n";
    }
    return text;
  }

 private:
  struct Row {
    std::string text;
    bool wrapped = false;
  };

  void Put(char c) {
    if (column_ == width_) {
      ++row_;
      if (row_ == rows_.size()) rows_.push_back({});
      rows_[row_].wrapped = true;
      column_ = 0;
    }
    std::string& text = rows_[row_].text;
    if (text.size() <= column_) text.resize(column_ + 1, ' ');
    text[column_++] = c;
  }

  // "\x1b[3A", "\x1b[J"; returns the index of its last letter.
  size_t Control(const std::string& text, size_t at) {
    const size_t end = text.find_first_of("AJ", at);
    const std::string number = text.substr(at + 2, end - at - 2);
    if (text[end] == 'A') {
      int rows = 1;
      if (!number.empty() && !absl::SimpleAtoi(number, &rows)) rows = 1;
      row_ -= std::min(row_, static_cast<size_t>(rows));
    } else {
      rows_.resize(row_ + 1);
      rows_[row_].text.resize(std::min(rows_[row_].text.size(), column_));
    }
    return end;
  }

  size_t width_;
  std::vector<Row> rows_ = {Row{}};
  size_t row_ = 0, column_ = 0;  // of the cursor
};

}  // namespace birkhoff::testing
