/// What a receiver takes in the packets of a frame, the byte of a stream's hello. Bits that this
/// version does not know are kept out of what is sent.
package struct OffloadCapabilities: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Packets whose transport checksum covers only the pseudo header yet.
    package static let partialChecksum = OffloadCapabilities(rawValue: 1)
    /// TCP super-packets over IPv4.
    package static let tcpSegmentation = OffloadCapabilities(rawValue: 2)
    /// UDP super-packets over IPv4.
    package static let udpSegmentation = OffloadCapabilities(rawValue: 4)
}
