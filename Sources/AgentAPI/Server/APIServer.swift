internal import HTTPTypes
internal import HummingbirdCore
package import Logging
package import NIOCore
internal import ServiceLifecycle
package import Timing

/// Serves the API over HTTP on a unix socket, for as long as `run()` lasts.
///
/// Whoever can open the socket may ask: its mode is 0600. Only root and the user that the agent runs as may
/// change anything, whatever becomes of the mode. Bounded are the connections, the sizes of
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
    /// - Parameter commands: what carries the operator's words out; nil where none are taken.
    /// - Parameter idleTimeout: how long a connection is kept on which no request begins or ends.
    package init(
        socket: UnixSocket, status: any StatusSource, ledger: any LedgerSource,
        commands: (any OperatorCommands)? = nil, clock: any TimeSource, eventLoopGroup: any EventLoopGroup,
        idleTimeout: TimeAmount = .seconds(30), logger: Logger
    ) {
        self.socket = socket
        routes = APIRoutes(
            statusSource: status, ledgerSource: ledger, clock: clock,
            operatorRoutes: commands.map { OperatorRoutes(commands: $0, statusSource: status) })
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
        let server = try makeServer(opening)
        var failure: (any Error)?
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await server.run() }
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

    /// The server of the library without its `Application`, which wakes each second for the date.
    private func makeServer(_ opening: Opening) throws -> any Service {
        var quiet = logger
        // Hummingbird tells of every start and stop, and takes a stop for an error; what an operator wants to know is told here.
        quiet.logLevel = .critical
        let http = HTTPServerBuilder.http1(
            configuration: .init(
                idleTimeout: idleTimeout,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: Self.maximumHeaderSize, maxHeaderListSize: Self.maximumHeaderSize,
                    maxHeaderFieldCount: 64)))
        return try http.buildServer(
            configuration: .init(
                address: .unixDomainSocket(path: socket.stagingPath), backlog: 64,
                availableConnectionsDelegate: MaximumAvailableConnections(Self.maximumConnections)),
            eventLoopGroup: eventLoopGroup, logger: quiet,
            responder: { request, writer, channel in
                let response = await response(to: request, over: channel)
                try await writer.write(response: response.head, body: response.body)
            },
            onServerRunning: { channel in
                if await opening.open() {
                    logger.info("API is open", metadata: ["socket": "\(socket.path)"])
                } else {
                    channel.close(promise: nil)
                }
            })
    }

    private func response(to request: Request, over channel: any Channel) async -> Response {
        let method = request.method.rawValue
        let limit = routes.maximumBody(method: method, path: request.uri.string)
        let answer: APIAnswer
        var hasUnreadBody = false
        if let body = await Self.body(of: request, upTo: limit) {
            let mayChange = method == "POST" ? await PeerCredentials.mayChange(over: channel) : false
            answer = await routes.answer(
                method: method, path: request.uri.string, body: body, mayChange: mayChange)
        } else {
            // Nothing is gained by reading it to its end.
            hasUnreadBody = true
            answer = .failure(413, "Content Too Large")
        }
        var headers: HTTPFields = [
            .contentType: "application/json", .date: routes.clock.wallClock().httpDate,
        ]
        if hasUnreadBody { headers[.connection] = "close" }
        let status = HTTPResponse.Status(code: answer.status)
        let bytes = ByteBuffer(string: answer.body)
        if request.method == .head { return Response(status: status, headers: headers) }
        let closes = hasUnreadBody
        return Response(
            status: status, headers: headers,
            body: .init(contentLength: bytes.readableBytes) { writer in
                try await writer.write(bytes)
                try await writer.finish(nil)
                if closes { channel.close(promise: nil) }
            })
    }

    /// The body of a request; nil when it has more than `limit` bytes or does not come whole.
    private static func body(of request: Request, upTo limit: Int) async -> [UInt8]? {
        let announced = request.headers[.contentLength]
        if announced ?? "0" == "0", request.headers[.transferEncoding] == nil { return [] }
        // A body that is not wanted, or is too large by its own word, is not read at all.
        guard limit > 0, (announced.flatMap(Int.init) ?? 0) <= limit,
            let body = try? await request.body.collect(upTo: limit)
        else { return nil }
        return Array(body.readableBytesView)
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
