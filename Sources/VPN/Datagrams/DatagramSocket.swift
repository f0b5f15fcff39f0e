internal import CLinuxNet
internal import Glibc

/// The UDP socket of all datagram paths. Sending is possible from any thread, receiving belongs to one.
package final class DatagramSocket: Sendable {
    /// What may wait in the kernel each way: a few milliseconds at the rates that a machine reaches, so that a
    /// receiver that falls behind makes TCP slow down instead of a long queue.
    static let bufferBytes = 4 << 20

    /// Why there is no socket.
    package struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        package let errno: Int32

        package var description: String { "no UDP socket for packets: \(String(cString: strerror(errno)))" }
    }

    enum Reception {
        /// `count` bytes of datagrams of `segment` bytes, the last of what is left.
        case datagrams(count: Int, segment: Int, from: DatagramEndpoint)
        case nothing
        case failed
    }

    /// The port at which peers reach the socket.
    package let port: UInt16
    /// For `PacketDevice.wait`.
    let descriptor: Int32
    private let isIPv4: Bool

    /// Binds `port` on every address, or any other when it is taken or 0. The socket belongs to the network
    /// namespace of the calling thread.
    package init(port: UInt16) throws(Failure) {
        var descriptor = clinuxnet_udp_open(port, Int32(Self.bufferBytes))
        if descriptor < 0, port != 0 { descriptor = clinuxnet_udp_open(0, Int32(Self.bufferBytes)) }
        guard descriptor >= 0 else { throw Failure(errno: -descriptor) }
        let bound = clinuxnet_udp_port(descriptor)
        guard bound > 0 else {
            close(descriptor)
            throw Failure(errno: -bound)
        }
        self.descriptor = descriptor
        isIPv4 = clinuxnet_udp_is_ipv4(descriptor)
        self.port = UInt16(truncatingIfNeeded: bound)
    }

    deinit {
        close(descriptor)
    }

    /// Sends datagrams of `segment` bytes each, the last of what is left; 0 or the error number.
    func send(_ bytes: UnsafeRawBufferPointer, segment: Int, to endpoint: DatagramEndpoint) -> Int32 {
        var raw = endpoint.raw
        let sent = clinuxnet_udp_send(
            descriptor, isIPv4, &raw, bytes.baseAddress, bytes.count, UInt16(truncatingIfNeeded: segment))
        return sent < 0 ? Int32(truncatingIfNeeded: -sent) : 0
    }

    func receive(into buffer: UnsafeMutableRawBufferPointer) -> Reception {
        var raw = clinuxnet_endpoint()
        var segment: UInt16 = 0
        let count = clinuxnet_udp_receive(descriptor, buffer.baseAddress, buffer.count, &raw, &segment)
        if count >= 0 { return .datagrams(count: count, segment: Int(segment), from: DatagramEndpoint(raw)) }
        // An error that an earlier datagram brought back (ICMP) is not the socket's end.
        return [-Int(EBADF), -Int(ENOTSOCK)].contains(count) ? .failed : .nothing
    }
}
