internal import Testing

@testable import K3s

@Suite("Node name")
struct NodeNameTests {
    @Test("nodes of equal host name get different names, and each always the same")
    func unique() {
        let one = NodeName(hostName: "kairos", peerID: Array("peer one".utf8))
        let two = NodeName(hostName: "kairos", peerID: Array("peer two".utf8))
        #expect(one != two)
        #expect(one == NodeName(hostName: "kairos", peerID: Array("peer one".utf8)))
        #expect(one.text.hasPrefix("kairos-") && one.text.utf8.count == "kairos-".utf8.count + 8)
    }

    @Test("the name is a label Kubernetes takes, whatever the host is called")
    func valid() throws {
        let names = [
            "Kairos_Lab.Example", "", "-", "...", "a..b", "a.-b", "ÄÖ", "x-",
            String(repeating: "a", count: 300),
            "a." + String(repeating: ".-", count: 60), "{{ trunc 4 .MachineID }}", "node\u{0}x",
        ]
        let valid = try Regex("[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
        for name in names {
            let text = NodeName(hostName: name, peerID: Sample.peer).text
            #expect(text.utf8.count <= 63 && text.wholeMatch(of: valid) != nil, "\(name) → \(text)")
        }
    }

    @Test("renaming the host does not rename the node, a cloned disk does")
    func sticky() {
        let first = NodeName(hostName: "before", peerID: Sample.peer)
        #expect(NodeName(previous: first.text, hostName: "after", peerID: Sample.peer) == first)
        let clone = NodeName(previous: first.text, hostName: "after", peerID: Array("other".utf8))
        #expect(clone.text.hasPrefix("after-"))
        #expect(
            NodeName(previous: "Bad Name", hostName: "after", peerID: Sample.peer).text.hasPrefix("after-"))
    }
}
