// MulticastDNS
