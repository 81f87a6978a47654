// Text from outside on its way to a terminal: what is escaped, what stays, where it is cut.
#include "core/base/printable.h"

#include <gtest/gtest.h>

namespace birkhoff {
namespace {

TEST(Printable, EscapesWhatWouldForgeALineOrMoveTheCursor) {
  EXPECT_EQ(Printable("disk full\njobs/other SUCCEEDED"), "disk full\\njobs/other SUCCEEDED");
  EXPECT_EQ(Printable("\x1b[2J\x07 a\tb\r"), "\\x1b[2J\\x07 a\\tb\\x0d");
  EXPECT_EQ(Printable(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "2J"),
            "\\xc2\\x9b2J")
      << "the same as ESC [ to some terminals";
  EXPECT_EQ(Printable("\xe2\x80\xae"), "\\xe2\\x80\\xae") << "right to left";
  EXPECT_EQ(PrintableLines("one\ntwo\x1b"), "one\ntwo\\x1b");
}

TEST(Printable, LeavesTextOfAnyLanguageAlone) {
  for (const char* text : {"", "C:\\runs",
                           "Gr\xc3\xbc\xc3\x9f"
                           "e",
                           "\xe6\xb5\x81\xe5\xbd\xa2", "\xf0\x9f\x8d\x8e"}) {
    EXPECT_EQ(Printable(text), text);
  }
}

TEST(Printable, EscapesBytesThatAreNoText) {
  EXPECT_EQ(Printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(Printable("\xc3"), "\\xc3") << "cut";
  EXPECT_EQ(Printable("\xc0\xaf"), "\\xc0\\xaf") << "too long a form";
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "half a pair";
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "beyond Unicode";
}

TEST(Printable, ShortenedEndsBetweenCharacters) {
  EXPECT_EQ(Shortened("abcdef", 6), "abcdef");
  EXPECT_EQ(Shortened("abcdefg", 6), "abc...");
  EXPECT_EQ(Shortened("ab\xc3\xbc\xc3\xbc\xc3\xbc", 6), "ab...") << "not in the middle of one";
  EXPECT_EQ(Shortened("\xf0\x9f\x8d\x8e\xf0\x9f\x8d\x8e", 6), "...");
}

}  // namespace
}  // namespace birkhoff
