internal import AgentAPI
internal import ArgumentParser

/// `kairos-agent p2p recover`.
struct RecoverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover", abstract: "Go on after most of the voters were lost for good.",
        discussion: """
            Changes of the cluster are decided by a majority of its voters, which `kairos-agent p2p status` names. \
            Where so many of them are gone for good that the others are no majority, say this on each node that \
            stays: once it was said on all that see each other, they name other voters. K3s and its data are not \
            touched; take the lost nodes out with `kairos-agent p2p forget NODE` afterwards.

            The lost voters must not come back: together they could decide without this side, and there would be \
            two clusters. Set them up anew.

            \(OperatorOptions.exitCodes)
            """)

    @Flag(name: .customLong("i-know"), help: "Say that you know that the voters that are away stay away.")
    var iKnow = false

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        guard iKnow else {
            throw ValidationError(
                "the voters that are away lose their votes, and must not come back; say --i-know if that is so."
            )
        }
    }

    func run() async throws {
        try await options.carryOut(.recover)
    }
}
