internal import Multiformats
package import NIOCore

/// One message of multistream-select: uvarint(n) ‖ text ‖ newline, n counting text and newline
/// (contract/wire.md C).
package enum MultistreamToken {
    /// The largest n.
    package static let maximumLength = 1024
    /// What both sides send first.
    package static let header = Array("/multistream/1.0.0".utf8)
    /// The answer to a proposal that is not supported.
    package static let notAvailable = Array("na".utf8)

    private static let newline = UInt8(ascii: "\n")

    /// Appends the message that says `text`.
    package static func write(_ text: some Collection<UInt8>, to buffer: inout ByteBuffer) {
        buffer.writeBytes(Uvarint.encode(UInt64(text.count + 1)))
        buffer.writeBytes(text)
        buffer.writeInteger(newline)
    }

    /// Takes the text of the next message off the front of `buffer`; nil while it is not all there,
    /// with `buffer` left as it is.
    package static func read(from buffer: inout ByteBuffer) throws(MultistreamError) -> [UInt8]? {
        let prefix: (value: UInt64, length: Int)
        do throws(WireError) {
            // Two bytes hold every length that is allowed.
            prefix = try Uvarint.decode(buffer.readableBytesView, maximumLength: 2)
        } catch {
            if case .truncated = error { return nil }
            throw .tokenTooLong
        }
        guard prefix.length == Uvarint.encodedLength(of: prefix.value) else {
            throw .malformedLength
        }
        guard prefix.value <= UInt64(maximumLength) else { throw .tokenTooLong }
        guard prefix.value > 0 else { throw .missingNewline }
        let length = Int(prefix.value)
        guard buffer.readableBytes >= prefix.length + length else { return nil }
        buffer.moveReaderIndex(forwardBy: prefix.length)
        guard var text = buffer.readBytes(length: length), text.popLast() == newline else {
            throw .missingNewline
        }
        return text
    }
}

/// Why a negotiation came to no protocol.
package enum MultistreamError: Error, Hashable, CustomStringConvertible {
    /// The peer's first message is not the header.
    case wrongHeader
    /// A message is above 1024 bytes.
    case tokenTooLong
    /// A message's length is not in its shortest form.
    case malformedLength
    /// A message does not end in a newline.
    case missingNewline
    /// The peer speaks none of the protocols that were proposed.
    case refused([ProtocolID])
    /// The peer answered a proposal with something that is neither it nor a refusal.
    case unexpectedAnswer
    /// The peer proposed more protocols than anyone has reason to.
    case tooManyProposals
    /// The peer sent more than is kept while the agreed protocol is being set up.
    case tooMuchInput
    /// The peer ended the stream before a protocol was agreed on.
    case endOfStream
    /// No protocol was agreed on in time.
    case timedOut

    package var description: String {
        switch self {
        case .wrongHeader: "the peer does not speak multistream-select 1.0"
        case .tokenTooLong: "a negotiation message is above \(MultistreamToken.maximumLength) bytes"
        case .malformedLength: "the length of a negotiation message is malformed"
        case .missingNewline: "a negotiation message does not end in a newline"
        case .refused(let protocols):
            "the peer speaks none of \(protocols.map(\.rawValue).joined(separator: ", "))"
        case .unexpectedAnswer: "the peer answered a proposal with something else"
        case .tooManyProposals: "the peer proposed too many protocols"
        case .tooMuchInput: "the peer sent too much before the protocol was set up"
        case .endOfStream: "the peer ended the stream during the negotiation"
        case .timedOut: "the peer did not finish the negotiation in time"
        }
    }
}
