package import NIOCore

/// A connection that carries many streams, each a NIO channel of `ByteBuffer` both ways.
///
/// All members are for the connection's own loop, except `openStream` and `close`, which hop to it.
package protocol StreamMuxer: Sendable {
    /// The loop of the connection and of all its streams.
    var eventLoop: any EventLoop { get }

    /// Opens a stream. `initialize` sets its pipeline up before anything is delivered; if it fails
    /// the stream is reset. Fails with `YamuxOpenError` when a limit is reached.
    func openStream(
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel>

    /// Ends all streams and closes the connection; a code other than 0 is told to the other end.
    func close(code: UInt32)
}
