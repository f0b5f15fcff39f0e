package import NIOCore

/// The 12 bytes before every yamux frame, all big endian (contract/wire.md D.4).
package struct YamuxHeader: Hashable, Sendable {
    /// What a frame is.
    package enum FrameType: UInt8, Sendable {
        case data = 0
        case windowUpdate = 1
        case ping = 2
        case goAway = 3
    }

    /// The flags of a frame; unknown bits are kept and ignored.
    package struct Flags: OptionSet, Hashable, Sendable {
        package let rawValue: UInt16

        package init(rawValue: UInt16) {
            self.rawValue = rawValue
        }

        package static let syn = Flags(rawValue: 1)
        package static let ack = Flags(rawValue: 2)
        package static let fin = Flags(rawValue: 4)
        package static let rst = Flags(rawValue: 8)
    }

    /// The header's size on the wire, in bytes.
    package static let byteCount = 12

    package var type: FrameType
    package var flags: Flags
    /// The stream, 0 for `ping` and `goAway`.
    package var streamID: UInt32
    /// `data`: bytes of payload that follow; `windowUpdate`: credit in bytes, or the error code with
    /// `rst`; `ping`: an opaque value; `goAway`: the reason.
    package var length: UInt32

    package init(type: FrameType, flags: Flags, streamID: UInt32, length: UInt32) {
        self.type = type
        self.flags = flags
        self.streamID = streamID
        self.length = length
    }

    /// Takes a header off the front of `buffer`; nil when fewer than 12 bytes are there.
    ///
    /// Throws `YamuxError.unsupportedVersion` or `.unknownFrameType`.
    package init?(reading buffer: inout ByteBuffer) throws(YamuxError) {
        guard
            let (version, type, flags, streamID, length) = buffer.readMultipleIntegers(
                as: (UInt8, UInt8, UInt16, UInt32, UInt32).self)
        else { return nil }
        guard version == 0 else { throw .unsupportedVersion(version) }
        guard let type = FrameType(rawValue: type) else { throw .unknownFrameType(type) }
        self.init(type: type, flags: Flags(rawValue: flags), streamID: streamID, length: length)
    }

    /// Appends the 12 bytes to `buffer`.
    package func write(to buffer: inout ByteBuffer) {
        buffer.writeMultipleIntegers(UInt8(0), type.rawValue, flags.rawValue, streamID, length)
    }
}
