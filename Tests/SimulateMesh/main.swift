import Ledger
import MeshSimulation
import Timing

// Prints, for each number of nodes, what the mesh costs and how fast it is, on virtual time: the overlay, and then the
// ledgers above it, which hold an address and a heartbeat of each node when they are opened.
//   simulate-mesh N…

func seconds(_ duration: Duration?) -> String {
    guard let duration else { return "never" }
    let tenths = duration.components.seconds * 100 + duration.components.attoseconds / 10_000_000_000_000_000
    return "\(tenths / 100).\(tenths % 100 < 10 ? "0" : "")\(tenths % 100)"
}

func row(_ count: Int, seed: UInt64) -> String {
    var world = OverlayWorld(count: count, seed: seed)
    for index in 0..<count {
        world.start(index)
        world.run(for: .milliseconds(500) / count)
    }
    let boot = world.run(within: .seconds(60)) { $0.isSettled }
    let bootFrames = world.nodes.map(\.frames).reduce(0, +) / count
    let bootBytes = world.nodes.map(\.bytes).reduce(0, +) / count / 1024
    let dials = world.nodes.map(\.dials).reduce(0, +) / count
    world.openLedgers()
    world.run(for: .seconds(60))
    let connections = world.nodes.map(\.connectionCount)
    world.resetCounts()
    world.run(for: .seconds(3600))
    let frames = world.nodes.map(\.frames).reduce(0, +) / count
    let bytes = world.nodes.map(\.bytes).reduce(0, +) / count
    let busiest = world.nodes.map(\.bytes).max() ?? 0
    world.resetCounts()
    let (key, value) = (EntryID("test", "key"), LedgerText("\"of one node\""))
    world.write(key, value, on: count / 2)
    let spread = world.run(within: .seconds(60)) { $0.allHold(key, value) }
    world.run(for: .seconds(60))
    let keyBytes = world.nodes.map(\.bytes).reduce(0, +) / count
    world.resetCounts()
    world.stop(1, silently: false)
    let ended = world.run(within: .seconds(60)) { $0.isSettled }
    world.run(for: .seconds(60))
    let endFrames = world.nodes.map(\.frames).reduce(0, +) / count
    world.stop(0, silently: true)
    let lost = world.run(within: .seconds(60)) { $0.isSettled }
    let mean = connections.reduce(0, +) * 10 / count
    let fields = [
        "\(count)", seconds(boot), "\(dials)", "\(bootFrames)", "\(bootBytes)", "\(mean / 10).\(mean % 10)",
        "\(connections.max() ?? 0)", "\(frames)", "\(bytes)", "\(busiest)", seconds(spread), "\(keyBytes)",
        seconds(ended), "\(endFrames)", seconds(lost),
    ]
    return "| " + fields.joined(separator: " | ") + " |"
}

let header = [
    "nodes", "all see all, s", "dials a node", "frames a node", "KiB a node", "connections", "most",
    "idle frames an hour", "idle bytes an hour", "of the busiest", "one key on all, s", "bytes a node",
    "process ended, s", "frames a node", "power cut, s",
]
print("| " + header.joined(separator: " | ") + " |")
print("|" + header.map { _ in "--:" }.joined(separator: "|") + "|")
for text in CommandLine.arguments.dropFirst() {
    guard let count = Int(text), (2...5000).contains(count) else {
        print("simulate-mesh takes numbers of nodes from 2 to 5000")
        break
    }
    print(row(count, seed: 1))
}
