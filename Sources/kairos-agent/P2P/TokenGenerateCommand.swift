internal import ArgumentParser
internal import MeshNetwork

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// `kairos-agent p2p token generate`.
struct TokenGenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Print a new network token.",
        discussion: """
            Put it into p2p.network_token of every machine that shall be a member. Whoever has it can join and \
            read everything, so keep it as you keep a password.

            Topics and keys of the network follow from the token. By default they never change, as with Kairos; \
            with --rotation they change every so many seconds, and the machines' clocks must agree to within \
            that time.
            """)

    @Option(
        help: ArgumentHelp("Let topics and keys change every so many seconds.", valueName: "seconds"))
    var rotation: Int64?

    func validate() throws {
        if let rotation, rotation < 1 {
            throw ValidationError(
                "--rotation is a number of seconds, 1 or more; leave it out to never rotate.")
        }
    }

    func run() throws {
        do throws(NetworkTokenError) {
            let token = try NetworkToken.generate(rotation: rotation.map { .every(seconds: $0) } ?? .never)
            Terminal.print(token.text)
        } catch {
            throw Terminal.failure(error.description, exitCode: EX_SOFTWARE)
        }
    }
}
