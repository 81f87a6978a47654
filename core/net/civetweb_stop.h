// How a server of civetweb is stopped without delay.
#pragma once

#include <functional>
#include <string>

namespace birkhoff {

// Runs `stop`, which ends the civetweb server that listens on `address`, "127.0.0.1:9464".  Its
// accepting thread looks whether it shall stop when somebody connects, else every two seconds,
// which would be most of the life of a short run: so somebody connects until it has ended.
void StopCivetweb(const std::string& address, const std::function<void()>& stop);

}  // namespace birkhoff
