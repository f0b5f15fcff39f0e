internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Timing

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

extension APIClient {
    /// How long one answer to an operator's word is waited for.
    private static let patience = TimeAmount.seconds(15)

    /// Asks the agent at `socket` for `command`, then follows it until it is done or refused, at most for
    /// `wait`. `onChange` is told of every outcome that differs from the one before.
    ///
    /// - Returns: the last outcome.
    package static func carryOut(
        _ command: OperatorCommand, at socket: UnixSocket, wait: Duration,
        interval: Duration = .milliseconds(500), onChange: @Sendable (OperatorOutcome) -> Void = { _ in }
    ) async throws(Problem) -> OperatorOutcome {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let client = APIClient(socket: socket, timeout: patience, eventLoopGroup: group)
        let result: Result<OperatorOutcome, Problem>
        do throws(Problem) {
            result = .success(
                try await client.carryOut(command, wait: wait, interval: interval, onChange: onChange))
        } catch {
            result = .failure(error)
        }
        // Nothing runs on it any more, so there is nothing that can fail.
        try? await group.shutdownGracefully()
        return try result.get()
    }

    private func carryOut(
        _ command: OperatorCommand, wait: Duration, interval: Duration,
        onChange: @Sendable (OperatorOutcome) -> Void
    ) async throws(Problem) -> OperatorOutcome {
        let time = SystemTime()
        let end = time.now() + wait
        var outcome = try await ask(command)
        onChange(outcome)
        while !outcome.isFinal, time.now() < end {
            do { try await Task.sleep(for: interval) } catch { break }
            let next: OperatorOutcome
            do throws(Problem) {
                next = try await standing(of: command)
            } catch .notRunning(let socket) {
                // A node that leaves may have ended its agent.
                guard command != .leave else { return .done("the agent has ended") }
                throw .notRunning(socket: socket)
            }
            if next != outcome { onChange(next) }
            outcome = next
        }
        return outcome
    }

    /// Asks for a word once.
    func ask(_ command: OperatorCommand) async throws(Problem) -> OperatorOutcome {
        let fields: [String: JSONField] =
            switch command {
            case .leave: [:]
            case .forget(let node): ["node": .text(node)]
            case .resetCluster, .recover: ["i_know": .flag(true)]
            }
        guard let body = try? JSONEncoder().encode(fields) else {
            throw .badAnswer("the word has no text in JSON")
        }
        let answer = try await exchange(
            .init(method: .POST, path: "/api/v1/\(command.name)", body: Array(body)))
        return try Self.outcome(answer)
    }

    /// Asks how a word stands.
    func standing(of command: OperatorCommand) async throws(Problem) -> OperatorOutcome {
        var path = "/api/v1/\(command.name)"
        if case .forget(let node) = command { path += "?node=\(Self.escaped(node))" }
        return try Self.outcome(try await exchange(.init(path: path)))
    }

    private enum JSONField: Encodable {
        case text(String)
        case flag(Bool)

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .text(let value): try container.encode(value)
            case .flag(let value): try container.encode(value)
            }
        }
    }

    private struct Message: Decodable {
        var message: String
    }

    private static func outcome(_ answer: (Int, ByteBuffer)) throws(Problem) -> OperatorOutcome {
        let (code, body) = answer
        let data = Data(body.readableBytesView)
        if [200, 202, 409].contains(code),
            let outcome = try? JSONDecoder().decode(OperatorOutcome.self, from: data)
        {
            return outcome
        }
        let said = (try? JSONDecoder().decode(Message.self, from: data))?.message ?? "no reason"
        throw .refused(status: code, said)
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"):
                escaped.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                escaped += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return escaped
    }
}
