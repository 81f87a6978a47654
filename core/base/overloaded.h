// One callable of several, for std::visit: std::visit(Overloaded{[](int) {...}, [](auto&) {...}}, v).
#pragma once

namespace birkhoff {

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace birkhoff
