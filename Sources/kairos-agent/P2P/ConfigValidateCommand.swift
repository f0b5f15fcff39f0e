internal import ArgumentParser
internal import CloudConfig

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// `kairos-agent p2p config validate`.
struct ConfigValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check cloud-config files.",
        discussion: """
            The files are merged in the order in which they are given, the later ones over the earlier ones, as \
            the agent does with the files of its directories; then the result is checked. Problems are told as \
            file:line:column: key: what was found; what is accepted. Warnings go to standard error and do not \
            change the exit code.

            Exit codes: 0 valid, 65 a file is wrong, 66 a file cannot be read, 78 right values that do not fit \
            together.
            """)

    @Option(name: .shortAndLong, help: "How to print the result.")
    var output = ValidationFormat.text

    @Argument(help: "The files to merge and check.", completion: .file(extensions: ["yaml", "yml"]))
    var files: [String]

    /// The shapes of the result.
    enum ValidationFormat: String, CaseIterable, ExpressibleByArgument {
        case text, json
    }

    func run() throws {
        var errors: [ConfigurationProblem] = []
        var warnings: [ConfigurationProblem] = []
        var exitCode = ExitCode.success
        do throws(ConfigurationFailure) {
            warnings = try Self.configuration(of: files).warnings
        } catch {
            errors = error.problems
            exitCode = ExitCode(error.exitCode)
        }
        switch output {
        case .text: tell(errors, warnings)
        case .json: Terminal.print(try Self.json(errors, warnings))
        }
        if exitCode != .success { throw exitCode }
    }

    private static func configuration(of files: [String]) throws(ConfigurationFailure) -> NodeConfiguration {
        var sources: [SourceFile] = []
        var problems: [ConfigurationProblem] = []
        for file in files {
            do throws(ConfigurationProblem) {
                sources.append(try SourceFile(reading: file))
            } catch {
                problems.append(error)
            }
        }
        guard problems.isEmpty else { throw ConfigurationFailure(problems) }
        return try NodeConfiguration(files: sources)
    }

    private func tell(_ errors: [ConfigurationProblem], _ warnings: [ConfigurationProblem]) {
        for warning in warnings { Terminal.note("warning: \(warning)") }
        for error in errors { Terminal.note("error: \(error)") }
        if errors.isEmpty {
            Terminal.print("\(files.count == 1 ? files[0] : "\(files.count) files"): valid")
        }
    }

    private struct Report: Encodable {
        var valid: Bool
        var errors: [Finding]
        var warnings: [Finding]
    }

    private struct Finding: Encodable {
        var file: String?
        var line: Int?
        var column: Int?
        var key: String?
        var message: String

        init(_ problem: ConfigurationProblem) {
            file = problem.position?.file
            line = problem.position?.line
            column = problem.position?.column
            key = problem.keyPath
            message = problem.sentence
        }
    }

    private static func json(
        _ errors: [ConfigurationProblem], _ warnings: [ConfigurationProblem]
    ) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let report = Report(
            valid: errors.isEmpty, errors: errors.map(Finding.init), warnings: warnings.map(Finding.init))
        return String(decoding: try encoder.encode(report), as: UTF8.self)
    }
}
