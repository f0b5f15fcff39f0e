/// The limits and timings of one yamux session.
package struct YamuxConfiguration: Hashable, Sendable {
    /// The window that every stream starts with in both directions; fixed by the protocol.
    package static let initialWindow: UInt32 = 256 * 1024

    /// The most payload bytes in one data frame we send; go-yamux takes 64 KiB less the header.
    /// Here so that frame and header fill one Noise frame exactly.
    package var maximumFramePayload = 65_519 - YamuxHeader.byteCount
    /// The largest receive window of one stream, in bytes.
    package var maximumWindow: UInt32 = 16 * 1024 * 1024
    /// How far the windows of all streams together may grow beyond their initial size, in bytes.
    package var windowGrowthBudget = 16 * 1024 * 1024
    /// The most bytes received and not yet read by their streams; the stream that passes it is reset.
    package var maximumUnreadBytes = 16 * 1024 * 1024
    /// The most streams that the other end may have open at once; further ones are reset.
    package var maximumInboundStreams = 1024
    /// The most streams of ours that may be open at once.
    package var maximumOutboundStreams = 1024
    /// The most streams of ours that the other end has not accepted yet: its own backlog.
    package var maximumUnacknowledgedStreams = 256
    /// The longest time between pings, which both measure the round trip and notice a dead peer. A ping
    /// of the peer's serves for one of this end's.
    package var keepAliveInterval: Duration = .seconds(15)
    /// A connection on which nothing arrives for this long after a ping is dead.
    package var keepAliveTimeout: Duration = .seconds(10)
    /// How long a closed stream may take to send what was written before the close.
    package var lingerTimeout: Duration = .seconds(10)
    /// Meaningless frames a peer may send at once, and a second.
    package var glitchCapacity = 1024
    package var glitchesPerSecond = 64
    /// Pings a peer may send at once, and a second; further ones are not answered.
    package var pingCapacity = 32
    package var pingsPerSecond = 4

    package init() {}
}
