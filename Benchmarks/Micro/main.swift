// Prints what single operations cost: a table, or JSON with --json.
let measurements = try Seal.measurements()
if CommandLine.arguments.contains("--json") {
    print("[" + measurements.map(\.json).joined(separator: ",\n") + "]")
} else {
    for measurement in measurements { print(measurement.row) }
}
