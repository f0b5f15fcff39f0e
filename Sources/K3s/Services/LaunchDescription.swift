/// How a program is run as a child process.
package struct LaunchDescription: Hashable, Sendable {
    /// The program's path.
    package var program: String
    /// The words after it.
    package var arguments: [String]
    /// Variables for it, over what it inherits.
    package var environment: [String: String]
    /// Whether it inherits the agent's environment at all; `PATH` it gets in any case.
    package var inheritsEnvironment: Bool
    /// Where its output is appended, besides the last lines that are kept in memory.
    package var logFile: String

    package init(
        program: String, arguments: [String], environment: [String: String] = [:],
        inheritsEnvironment: Bool = true,
        logFile: String
    ) {
        self.program = program
        self.arguments = arguments
        self.environment = environment
        self.inheritsEnvironment = inheritsEnvironment
        self.logFile = logFile
    }
}
