internal import Hummingbird
internal import HummingbirdCore
package import Logging
package import NIOCore
package import Timing

/// Serves the API over HTTP on a unix socket, read-only, for as long as `run()` lasts.
///
/// Whoever can open the socket may ask: its mode is 0600. Bounded are the connections, the sizes of
/// requests, and the time that a silent connection is kept. While it serves, it keeps the last status on
/// disk, so that `p2p status` can still tell it when the agent is gone.
package struct APIServer: Sendable {
    /// Connections at a time; further ones wait in the kernel's queue.
    package static let maximumConnections = 32
    /// The largest request line and headers together, in bytes.
    static let maximumHeaderSize = 16_384

    private let socket: UnixSocket
    private let routes: APIRoutes
    private let record: StatusRecord
    private let eventLoopGroup: any EventLoopGroup
    private let idleTimeout: TimeAmount
    private let logger: Logger

    /// Makes a server that listens on `socket` and asks `status` and `ledger` for what it tells.
    ///
    /// - Parameter idleTimeout: how long a connection is kept on which no request begins or ends.
    package init(
        socket: UnixSocket, status: any StatusSource, ledger: any LedgerSource, clock: any TimeSource,
        eventLoopGroup: any EventLoopGroup, idleTimeout: TimeAmount = .seconds(30), logger: Logger
    ) {
        self.socket = socket
        routes = APIRoutes(statusSource: status, ledgerSource: ledger, clock: clock)
        record = StatusRecord(besideSocket: socket)
        self.eventLoopGroup = eventLoopGroup
        self.idleTimeout = idleTimeout
        self.logger = logger
    }

    /// Serves until the task is cancelled or a graceful shutdown begins, then removes the socket.
    ///
    /// - Throws: `UnixSocket.Problem` when the socket cannot be had, or the error that ended the server.
    package func run() async throws {
        try socket.prepare()
        let opening = Opening(socket: socket)
        let application = application(opening)
        var failure: (any Error)?
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await application.run() }
                group.addTask { await record.keep(routes.statusSource) }
                defer { group.cancelAll() }
                // The record is kept for as long as there is a server, so it is the server that ends first.
                try await group.next()
            }
        } catch {
            failure = error
        }
        await opening.close()
        if let problem = await opening.problem { throw problem }
        if let failure, !(failure is CancellationError) { throw failure }
    }

    private func application(_ opening: Opening) -> some ApplicationProtocol {
        var quiet = logger
        // Hummingbird tells of every start and stop, and takes a stop for an error; what an operator wants to know is told here.
        quiet.logLevel = .critical
        return Application(
            responder: CallbackResponder { (request: Request, context: APIRequestContext) in
                await respond(to: request, context)
            },
            server: .http1(
                configuration: .init(
                    idleTimeout: idleTimeout,
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: Self.maximumHeaderSize, maxHeaderListSize: Self.maximumHeaderSize,
                        maxHeaderFieldCount: 64))),
            configuration: .init(
                address: .unixDomainSocket(path: socket.stagingPath), backlog: 64,
                availableConnectionsDelegate: MaximumAvailableConnections(Self.maximumConnections)),
            onServerRunning: { channel in
                if await opening.open() {
                    logger.info("API is open", metadata: ["socket": "\(socket.path)"])
                } else {
                    channel.close(promise: nil)
                }
            },
            eventLoopGroupProvider: .shared(eventLoopGroup), logger: quiet)
    }

    private func respond(to request: Request, _ context: APIRequestContext) async -> Response {
        let hasBody =
            request.headers[.transferEncoding] != nil
            || !["0", nil].contains(request.headers[.contentLength])
        // Nothing here takes a body, and nothing is gained by reading one.
        let answer =
            hasBody
            ? APIAnswer.failure(413, "Content Too Large")
            : await routes.answer(method: request.method.rawValue, path: request.uri.string)
        var headers: HTTPFields = [.contentType: "application/json"]
        if hasBody { headers[.connection] = "close" }
        let status = HTTPResponse.Status(code: answer.status)
        let bytes = ByteBuffer(string: answer.body)
        if request.method == .head { return Response(status: status, headers: headers) }
        let channel = context.channel
        return Response(
            status: status, headers: headers,
            body: .init(contentLength: bytes.readableBytes) { writer in
                try await writer.write(bytes)
                try await writer.finish(nil)
                if hasBody { channel.close(promise: nil) }
            })
    }

    /// What becomes of the socket while a server runs.
    private actor Opening {
        private let socket: UnixSocket
        private(set) var problem: UnixSocket.Problem?
        private var inode: UInt64?

        init(socket: UnixSocket) {
            self.socket = socket
        }

        /// Puts the bound socket in its place; false when that fails.
        func open() -> Bool {
            do throws(UnixSocket.Problem) {
                try socket.publish()
                inode = socket.inode
                return true
            } catch {
                problem = error
                return false
            }
        }

        func close() {
            socket.remove(ifInode: inode)
            inode = nil
        }
    }
}

/// What the server knows of a request besides the request: the connection it came on.
struct APIRequestContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
    }
}
