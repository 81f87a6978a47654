// The word that somebody meant who has mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace birkhoff {

// Levenshtein's distance: letters to insert, remove or replace.
int EditDistance(std::string_view a, std::string_view b);

// The largest distance at which a word of `letters` letters is still taken for another one.
int LargestSlip(size_t letters);

// The candidate that is closest to `word`, the first of several; empty where none is close.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace birkhoff
