#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// The paths that change something, one for each of the operator's words.
///
/// | method and path | body | |
/// |---|---|---|
/// | `POST /api/v1/leave` | `{}` or none | this node goes |
/// | `POST /api/v1/forget` | `{"node":"NAME"}` | a node is gone for good |
/// | `POST /api/v1/reset-cluster` | `{"i_know":true}` | a new founding may take place |
/// | `POST /api/v1/recover` | `{"i_know":true}` | lost voters are given up |
/// | `GET` with `?node=NAME` for `forget` | | how the last such word stands |
///
/// Answers are `OperatorOutcome` as JSON: 200 done, 202 under way or waiting for a quorum, 409 refused.
/// 404 answers a `GET` when there was no such word, 403 one who may not change anything.
struct OperatorRoutes: Sendable {
    /// The largest body that is read, in bytes.
    static let maximumBody = 4096

    let commands: any OperatorCommands
    let statusSource: any StatusSource

    /// Whether `segments` is a path of these.
    static func isPath(_ segments: [String]) -> Bool {
        segments.count == 3 && segments[0] == "api" && segments[1] == "v1"
            && ["leave", "forget", "reset-cluster", "recover"].contains(segments[2])
    }

    /// The answer to asking for a word: `POST`.
    func ask(_ name: String, body: [UInt8]) async -> APIAnswer {
        let command: OperatorCommand
        do throws(BadBody) {
            command = try Self.command(name, body: body)
        } catch {
            return .failure(400, error.what)
        }
        return Self.answer(await outcome(of: command))
    }

    /// The answer to asking how a word stands: `GET`. `node` is the query's.
    func tell(_ name: String, node: String?) async -> APIAnswer {
        let question: OperatorQuestion
        switch name {
        case "leave": question = .leave
        case "reset-cluster": question = .resetCluster
        case "recover": question = .recover
        default:
            guard let node, !node.isEmpty else { return .failure(400, "?node= is missing") }
            do throws(OperatorRefusal) {
                question = .forget(try await named(node))
            } catch {
                // A node that was forgotten may not be known by any name any more.
                return Self.answer(
                    error.reason == .unknownNode
                        ? .done("no node is known as \(node) any more") : .refused(error))
            }
        }
        guard let outcome = await commands.standing(of: question) else {
            return .failure(404, "Nobody has asked for it")
        }
        return Self.answer(outcome)
    }

    private func outcome(of command: OperatorCommand) async -> OperatorOutcome {
        switch command {
        case .leave: return await commands.leave()
        case .resetCluster: return await commands.resetCluster()
        case .recover: return await commands.recover()
        case .forget(let text):
            do throws(OperatorRefusal) {
                return await commands.forget(try await named(text))
            } catch {
                return .refused(error)
            }
        }
    }

    private func named(_ text: String) async throws(OperatorRefusal) -> KnownNode {
        try KnownNode.gone(named: text, among: await statusSource.status().nodes)
    }

    static func answer(_ outcome: OperatorOutcome) -> APIAnswer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let text = try? encoder.encode(outcome) else {
            // Strings and whole numbers always have a text in JSON.
            return .failure(500, "Internal Server Error")
        }
        let status =
            switch outcome {
            case .done: 200
            case .accepted, .waitingForQuorum: 202
            case .refused: 409
            }
        return APIAnswer(status: status, body: String(decoding: text, as: UTF8.self) + "\n")
    }

    // MARK: bodies

    private struct BadBody: Error {
        var what: String
    }

    private struct Body: Decodable {
        var node: String?
        var iKnow: Bool?

        private enum CodingKeys: String, CodingKey {
            case node
            case iKnow = "i_know"
        }
    }

    private static func command(_ name: String, body: [UInt8]) throws(BadBody) -> OperatorCommand {
        let fields: Body
        do {
            fields = body.isEmpty ? Body() : try JSONDecoder().decode(Body.self, from: Data(body))
        } catch {
            throw BadBody(what: "the body is no JSON object of this word")
        }
        switch name {
        case "leave": return .leave
        case "forget":
            guard let node = fields.node, !node.isEmpty, node.utf8.count <= KnownNode.maximumNameLength else {
                throw BadBody(what: "node must name the node to forget")
            }
            return .forget(node: node)
        case "recover":
            guard fields.iKnow == true else {
                throw BadBody(what: "i_know must be true: the voters that are away lose their votes")
            }
            return .recover
        default:
            guard fields.iKnow == true else {
                throw BadBody(what: "i_know must be true: the running cluster is given up")
            }
            return .resetCluster
        }
    }
}
