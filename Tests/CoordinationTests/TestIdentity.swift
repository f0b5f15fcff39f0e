import Coordination
import LibP2P

/// The identity that follows from a 32-byte seed.
func testIdentity(seed: [UInt8]) -> Identity {
    // Any 32 bytes are a seed; a failure here is a broken test.
    do { return try Identity(seed: SecretBytes(copying: seed)) } catch { fatalError("\(error)") }
}

/// The votes of `voters` on `decree` at `ballot`, signed.
func testAccepts(
    _ decree: Decree, by voters: [Identity], among electorate: Electorate, network: String = "n",
    ballot: Ballot? = nil
) -> [SignedAccept] {
    let ballot = ballot ?? Ballot(round: 1, proposer: decree.founder.peer)
    let statement = AcceptStatement(network: network, electorate: electorate, ballot: ballot, decree: decree)
    return voters.map { voter in
        SignedAccept(
            acceptor: voter.peerID, ballot: ballot, decree: decree,
            signature: voter.sign(statement.bytes(acceptor: voter.peerID)))
    }
}

/// The certificate that these votes make; nil where they prove nothing.
func testCertificate(
    _ decree: Decree, by voters: [Identity], among electorate: Electorate, network: String = "n",
    links: [CertificateLink] = []
) -> DecreeCertificate? {
    let ballot = Ballot(round: 1, proposer: decree.founder.peer)
    return DecreeCertificate(
        network: network, electorate: electorate, ballot: ballot, decree: decree,
        accepts: testAccepts(decree, by: voters, among: electorate, network: network, ballot: ballot),
        links: links)
}
