// A member of a network that behaves as a stock node, for `scripts/bench vpn`:
//   STOCK_TOKEN=… stock-peer LISTEN PEER ADDRESS DEVICE
// listens at the multiaddr LISTEN, dials PEER (with its /p2p part), and carries the packets of the TUN device DEVICE
// as the owner of ADDRESS.
import Foundation
import LibP2P
import MeshNetwork
import Multiformats
import NIOPosix
import VPN

let arguments = CommandLine.arguments.dropFirst()
guard arguments.count == 4, let text = ProcessInfo.processInfo.environment["STOCK_TOKEN"] else {
    FileHandle.standardError.write(Data("usage: STOCK_TOKEN=… stock-peer LISTEN PEER ADDRESS DEVICE\n".utf8))
    exit(64)
}
let words = Array(arguments)
let other = try Multiaddr(words[1])
guard let peer = other.peerIDBytes.flatMap({ try? PeerID(bytes: $0) }), let dialled = other.withoutPeerID,
    let address = VirtualAddress(words[2])
else {
    FileHandle.standardError.write(Data("PEER must end with /p2p/…, and ADDRESS be an IPv4 address\n".utf8))
    exit(64)
}
let member = try await StockMember(
    token: try NetworkToken(text), address: address, listen: try Multiaddr(words[0]),
    group: MultiThreadedEventLoopGroup(numberOfThreads: 2))
let pump = try PacketPump(device: words[3], member: member)
member.swarm.setKeepConnected(true, for: peer, addresses: [dialled])
Thread { pump.run() }.start()
while true { try await Task.sleep(for: .seconds(3600)) }
