internal import AgentAPI
internal import ArgumentParser

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// What the operator's words have in common.
struct OperatorOptions: ParsableArguments {
    static let exitCodes = """
        Exit codes: 0 done, 65 the node is not one that this can be done with, 68 no node or several of that \
        name, 69 the agent is not running or cannot do it now, 75 asked for and not done within --wait, \
        77 no permission.
        """

    @Option(
        help: ArgumentHelp(
            "How long to wait until it is done. It goes on in any case once it is accepted.",
            valueName: "seconds"))
    var wait = 60

    @Option(name: .shortAndLong, help: "How to print the outcome.")
    var output = Format.text

    @OptionGroup var location: RootOption

    /// The shapes of the outcome.
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case text, json
    }

    func validate() throws {
        guard (0...86_400).contains(wait) else {
            throw ValidationError("--wait is a number of seconds, 0 to 86400.")
        }
    }

    /// Asks the agent for `command`, follows it, prints the outcome and ends with its exit code.
    func carryOut(_ command: OperatorCommand) async throws {
        let (output, socket) = (output, UnixSocket.ofAgent(root: location.root))
        let outcome: OperatorOutcome
        do throws(APIClient.Problem) {
            outcome = try await APIClient.carryOut(command, at: socket, wait: .seconds(wait)) { outcome in
                if output == .text, !outcome.isFinal { Terminal.note(Self.text(outcome)) }
            }
        } catch {
            throw Terminal.failure(error.description, exitCode: error.exitCode)
        }
        if output == .json { Terminal.print(try Self.json(outcome)) }
        switch outcome {
        case .done:
            if output == .text { Terminal.print(Self.text(outcome)) }
        case .accepted, .waitingForQuorum:
            throw Terminal.failure(
                "not done yet; it goes on: see `kairos-agent p2p status`", exitCode: EX_TEMPFAIL)
        case .refused(let refusal):
            throw Terminal.failure(refusal.description, exitCode: refusal.exitCode)
        }
    }

    private static func text(_ outcome: OperatorOutcome) -> String {
        switch outcome {
        case .done(let what): what
        case .accepted(let what): "accepted: \(what)"
        case .refused(let refusal): refusal.description
        case .waitingForQuorum(let wait):
            "waiting for a quorum: \(wait.acknowledged.count) of \(wait.needed) have acknowledged"
                + (wait.missing.isEmpty ? "" : ", missing are \(wait.missing.joined(separator: ", "))")
        }
    }

    private static func json(_ outcome: OperatorOutcome) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(outcome), as: UTF8.self)
    }
}
