// Prints what single operations cost: a table, or JSON with --json; with --quick each is only run for a moment.
let isQuick = CommandLine.arguments.contains("--quick")
let measurements =
    try await Packets.measurements(isQuick: isQuick) + Router.measurements(isQuick: isQuick)
    + Frames.measurements(isQuick: isQuick) + Messages.measurements(isQuick: isQuick)
    + Seal.measurements(isQuick: isQuick)
if CommandLine.arguments.contains("--json") {
    print("[" + measurements.map(\.json).joined(separator: ",\n") + "]")
} else {
    print("| operation | bytes | ns | MB/s |")
    print("|---|--:|--:|--:|")
    for measurement in measurements { print(measurement.row) }
}
