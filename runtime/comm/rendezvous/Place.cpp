//===- Place.cpp - where rank 0 listens, as a text ------------------------===//
#include "runtime/comm/rendezvous/Place.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sstream>
#include <unistd.h>

namespace llmc::runtime {

static std::string hostName() {
  char name[256] = "";
  ::gethostname(name, sizeof(name) - 1);
  return name[0] ? name : "localhost";
}

std::string describeThisMachine(uint16_t port, uint64_t job) {
  std::string addresses;
  ifaddrs *all = nullptr;
  if (::getifaddrs(&all) != 0)
    all = nullptr;
  for (const ifaddrs *each = all; each; each = each->ifa_next) {
    if (!each->ifa_addr || !(each->ifa_flags & IFF_UP) || (each->ifa_flags & IFF_LOOPBACK))
      continue;
    int family = each->ifa_addr->sa_family;
    socklen_t bytes = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    char text[NI_MAXHOST] = "";
    if ((family == AF_INET || family == AF_INET6) &&
        ::getnameinfo(each->ifa_addr, bytes, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0 &&
        std::string(text).find('%') == std::string::npos) // link-local: means nothing elsewhere
      addresses += (addresses.empty() ? "" : ",") + std::string(text);
  }
  if (all)
    ::freeifaddrs(all);
  return hostName() + " " + std::to_string(port) + " " + std::to_string(job) + " " + addresses;
}

bool readPlace(const std::string &text, Place &place) {
  std::istringstream stream(text);
  std::string host, more;
  if (!(stream >> host >> place.port >> place.job))
    return false;
  stream >> more;
  place.addresses = (host == hostName() ? "127.0.0.1,::1" : host) + (more.empty() ? "" : "," + more);
  return true;
}

} // namespace llmc::runtime
