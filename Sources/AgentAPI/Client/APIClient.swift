package import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Asks an agent over its unix socket. One connection a request; nothing is kept.
package struct APIClient: Sendable {
    /// Why an agent did not answer.
    package enum Problem: Error, Hashable, Sendable, CustomStringConvertible {
        /// Nobody listens on the socket.
        case notRunning(socket: String)
        /// The socket may not be opened.
        case forbidden(socket: String)
        /// Somebody listens and does not answer in time.
        case timedOut(socket: String)
        /// The answer is not what an agent says.
        case badAnswer(String)
        /// The agent does not take the request.
        case refused(status: Int, String)

        package var description: String {
            switch self {
            case .notRunning(let socket): "the agent is not running (nobody listens on \(socket))"
            case .forbidden(let socket): "the socket \(socket) may not be opened; run this as root"
            case .timedOut(let socket): "the agent does not answer on \(socket)"
            case .badAnswer(let text): "the agent's answer cannot be used: \(text)"
            case .refused(let status, let text): "the agent refuses: \(text) (HTTP status \(status))"
            }
        }

        /// The code of sysexits(3) that says the most.
        package var exitCode: Int32 {
            switch self {
            case .notRunning, .timedOut: 69
            case .forbidden: 77
            case .badAnswer: 76
            case .refused(let status, _): status == 403 ? 77 : 69
            }
        }
    }

    /// The largest answer that is taken, in bytes.
    static let maximumAnswer = 16 << 20

    private let socket: UnixSocket
    private let timeout: TimeAmount
    private let eventLoopGroup: any EventLoopGroup

    /// Makes a client that waits for an answer for at most `timeout`.
    package init(socket: UnixSocket, timeout: TimeAmount = .seconds(5), eventLoopGroup: any EventLoopGroup) {
        self.socket = socket
        self.timeout = timeout
        self.eventLoopGroup = eventLoopGroup
    }

    /// The status of the agent, asked on an event loop that is made for this and stopped again.
    package static func status(
        at socket: UnixSocket, timeout: Duration = .seconds(5)
    ) async throws(Problem) -> StatusDocument {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let client = APIClient(
            socket: socket, timeout: .nanoseconds(timeout.wholeNanoseconds), eventLoopGroup: group)
        let result: Result<StatusDocument, Problem>
        do throws(Problem) {
            result = .success(try await client.status())
        } catch {
            result = .failure(error)
        }
        // Nothing runs on it any more, so there is nothing that can fail.
        try? await group.shutdownGracefully()
        return try result.get()
    }

    /// The status of the agent.
    package func status() async throws(Problem) -> StatusDocument {
        let (code, body) = try await get("/api/v1/status")
        guard code == 200 else { throw Problem.badAnswer("HTTP status \(code)") }
        do {
            return try StatusText.document(fromJSON: body.readableBytesView)
        } catch {
            throw Problem.badAnswer("it is no status document")
        }
    }

    /// One request to be sent.
    struct APIRequest: Sendable {
        var method = HTTPMethod.GET
        var path: String
        var body: [UInt8] = []
    }

    /// The HTTP status and the body of the answer to `GET path`.
    package func get(_ path: String) async throws(Problem) -> (Int, ByteBuffer) {
        try await exchange(.init(path: path))
    }

    /// The HTTP status and the body of the answer to `request`.
    func exchange(_ request: APIRequest) async throws(Problem) -> (Int, ByteBuffer) {
        do {
            return try await send(request)
        } catch let problem as Problem {
            throw problem
        } catch let error as IOError {
            switch error.errnoCode {
            case EACCES, EPERM: throw .forbidden(socket: socket.path)
            case EAGAIN: throw .timedOut(socket: socket.path)
            case ECONNRESET, EPIPE: throw .badAnswer("it ends too early")
            default: throw .notRunning(socket: socket.path)
            }
        } catch is ChannelError {
            throw .timedOut(socket: socket.path)
        } catch {
            // NIO refuses a path that no socket can have.
            throw .notRunning(socket: socket.path)
        }
    }

    private func send(_ request: APIRequest) async throws -> (Int, ByteBuffer) {
        let loop = eventLoopGroup.any()
        let answer = loop.makePromise(of: (Int, ByteBuffer).self)
        let connected = ClientBootstrap(group: loop)
            .connectTimeout(timeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(
                        ExchangeHandler(request: request, limit: Self.maximumAnswer, answer: answer))
                }
            }
            .connect(unixDomainSocketPath: socket.path)
        connected.whenFailure { answer.fail($0) }
        let socketPath = socket.path
        let deadline = loop.scheduleTask(in: timeout) { answer.fail(Problem.timedOut(socket: socketPath)) }
        defer {
            deadline.cancel()
            connected.whenSuccess { $0.close(promise: nil) }
        }
        return try await answer.futureResult.get()
    }
}

/// Sends one request and gathers the answer.
private final class ExchangeHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let request: APIClient.APIRequest
    private let limit: Int
    private let answer: EventLoopPromise<(Int, ByteBuffer)>
    private var status = 0
    private var body = ByteBuffer()

    init(request: APIClient.APIRequest, limit: Int, answer: EventLoopPromise<(Int, ByteBuffer)>) {
        self.request = request
        self.limit = limit
        self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
        var headers: HTTPHeaders = ["host": "localhost", "connection": "close"]
        if !request.body.isEmpty {
            headers.add(name: "content-type", value: "application/json")
            headers.add(name: "content-length", value: String(request.body.count))
        }
        let head = HTTPRequestHead(
            version: .http1_1, method: request.method, uri: request.path, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if !request.body.isEmpty {
            let body = context.channel.allocator.buffer(bytes: request.body)
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): status = Int(head.status.code)
        case .body(var part):
            guard body.readableBytes + part.readableBytes <= limit else {
                answer.fail(APIClient.Problem.badAnswer("it is larger than \(limit) bytes"))
                context.close(promise: nil)
                return
            }
            body.writeBuffer(&part)
        case .end: answer.succeed((status, body))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is IOError: answer.fail(error)
        case HTTPParserError.invalidEOFState: answer.fail(APIClient.Problem.badAnswer("it ends too early"))
        default: answer.fail(APIClient.Problem.badAnswer("it is no HTTP"))
        }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        answer.fail(APIClient.Problem.badAnswer("it ends too early"))
    }
}
