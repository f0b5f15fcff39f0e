// VPN
