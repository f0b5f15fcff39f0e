// swift-tools-version: 6.2

import PackageDescription

// Imports go downwards only; the layer numbers are those of docs/architecture.md and
// `scripts/lint` checks every import against this table.

// `scripts/test` builds with KAIROS_STRICT=1; work in progress may have warnings.
let strict: [SwiftSetting] =
    Context.environment["KAIROS_STRICT"] == "1" ? [.treatAllWarnings(as: .error)] : []

let settings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ] + strict

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioConcurrency = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let collections = Target.Dependency.product(name: "Collections", package: "swift-collections")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let hummingbird = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let package = Package(
    name: "kairos-node-agent",
    products: [
        .executable(name: "kairos-agent", targets: ["kairos-agent"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // MARK: layer 0
        .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CSystemd", linkerSettings: [.linkedLibrary("systemd")]),
        .target(name: "CLinuxNet"),
        .target(name: "CProcess"),
        .target(name: "Timing", swiftSettings: settings),
        .target(name: "Multiformats", swiftSettings: settings),

        // MARK: layer 1
        .target(
            name: "LibP2P",
            dependencies: [
                "CSodium", "COpenSSL", "Timing", "Multiformats",
                nioCore, nioPosix, nioConcurrency, logging, collections, protobuf,
            ],
            swiftSettings: settings),

        .target(
            name: "Systemd", dependencies: ["CSystemd", "CProcess", "Timing", nioConcurrency, logging],
            swiftSettings: settings),

        // MARK: layer 2
        .target(
            name: "Ledger",
            dependencies: ["Timing", "Multiformats", "LibP2P", logging, collections],
            swiftSettings: settings),
        .target(
            name: "GossipSub",
            dependencies: [
                "Timing", "Multiformats", "LibP2P", nioCore, nioConcurrency, logging, collections, protobuf,
            ],
            swiftSettings: settings),
        .target(
            name: "MulticastDNS",
            dependencies: ["Timing", "Multiformats", "LibP2P", "CLinuxNet", nioCore, nioPosix, logging],
            swiftSettings: settings),

        // MARK: layer 3
        .target(
            name: "MeshNetwork",
            dependencies: [
                "CZlib", "Timing", "Multiformats", "LibP2P", "Ledger", "GossipSub", "MulticastDNS",
                nioCore, nioPosix, nioConcurrency, logging, collections, yams,
            ],
            swiftSettings: settings),

        // MARK: layer 4
        .target(
            name: "Coordination",
            dependencies: ["Timing", "Multiformats", "LibP2P", "Ledger", "MeshNetwork", logging],
            swiftSettings: settings),
        .target(
            name: "VPN",
            dependencies: [
                "CLinuxNet", "Timing", "Multiformats", "LibP2P", "Ledger", "MeshNetwork",
                nioCore, nioPosix, nioConcurrency, logging, collections,
            ],
            swiftSettings: settings),

        // MARK: layer 5
        .target(name: "CloudConfig", dependencies: ["MeshNetwork", logging, yams], swiftSettings: settings),
        .target(
            name: "K3s",
            dependencies: [
                "CProcess", "Systemd", "Timing", "MeshNetwork", "Coordination", "VPN", "CloudConfig",
                nioPosix, nioConcurrency, logging, yams,
            ],
            swiftSettings: settings),

        // MARK: layer 6
        .target(
            name: "AgentAPI",
            dependencies: [
                "Timing", hummingbird, httpTypes, logging, metrics, lifecycle, nioCore, nioPosix, nioHTTP1,
                yams,
            ],
            swiftSettings: settings),
        .target(
            name: "NodeAgent",
            dependencies: [
                "COpenSSL", "CProcess", "Systemd", "Timing", "Multiformats", "LibP2P", "Ledger", "GossipSub",
                "MulticastDNS", "MeshNetwork", "Coordination", "VPN", "CloudConfig", "K3s", "AgentAPI",
                nioCore, nioPosix, nioConcurrency, logging, metrics, lifecycle, yams,
            ],
            swiftSettings: settings),

        // MARK: layer 7
        .executableTarget(
            name: "kairos-agent",
            dependencies: [
                "NodeAgent", "AgentAPI", "CloudConfig", "MeshNetwork", "Systemd", arguments, logging,
            ],
            swiftSettings: settings),

        // MARK: tests
        .target(
            name: "TestSupport",
            dependencies: ["Timing"],
            path: "Tests/TestSupport",
            swiftSettings: settings),
        .testTarget(name: "TimingTests", dependencies: ["Timing", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "MultiformatsTests", dependencies: ["Multiformats", "LibP2P", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "LibP2PTests",
            dependencies: [
                "LibP2P", "Multiformats", "Timing", "TestSupport", nioCore, nioPosix, nioEmbedded, logging,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "LedgerTests",
            dependencies: ["Ledger", "LibP2P", "Multiformats", "Timing", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "GossipSubTests",
            dependencies: [
                "GossipSub", "LibP2P", "Multiformats", "Timing", "TestSupport", nioCore, nioEmbedded, logging,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "MulticastDNSTests",
            dependencies: [
                "MulticastDNS", "LibP2P", "Multiformats", "Timing", "TestSupport", nioCore, nioPosix, logging,
            ],
            swiftSettings: settings),
        // Many meshes on virtual time; a library, so that `simulate-mesh` can run it optimised.
        .target(
            name: "MeshSimulation",
            dependencies: [
                "MeshNetwork", "GossipSub", "Ledger", "LibP2P", "Multiformats", "Timing", "TestSupport",
            ],
            path: "Tests/MeshSimulation", swiftSettings: settings),
        .testTarget(
            name: "MeshNetworkTests",
            dependencies: [
                "MeshSimulation", "MeshNetwork", "Ledger", "LibP2P", "GossipSub", "Multiformats", "Timing",
                "TestSupport",
                nioCore, nioPosix, nioConcurrency, nioEmbedded, logging,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "CoordinationTests",
            dependencies: [
                "Coordination", "MeshNetwork", "Ledger", "LibP2P", "Multiformats", "Timing", "TestSupport",
                collections,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "VPNTests",
            dependencies: [
                "VPN", "CLinuxNet", "MeshNetwork", "Ledger", "LibP2P", "Multiformats", "Timing",
                "TestSupport",
                nioCore, nioPosix, nioEmbedded, logging,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "CloudConfigTests", dependencies: ["CloudConfig", "MeshNetwork", "TestSupport"],
            swiftSettings: settings),
        .target(
            name: "CSystemdMock", path: "Tests/CSystemdMock", linkerSettings: [.linkedLibrary("systemd")]),
        .testTarget(
            name: "K3sTests",
            dependencies: [
                "K3s", "Systemd", "CSystemdMock", "CloudConfig", "Coordination", "MeshNetwork", "VPN",
                "Timing",
                "TestSupport",
                logging, yams,
            ],
            exclude: ["Golden"],
            swiftSettings: settings),
        .testTarget(
            name: "AgentAPITests",
            dependencies: ["AgentAPI", "Timing", "TestSupport", logging, nioCore, nioPosix],
            swiftSettings: settings),
        .testTarget(
            name: "NodeAgentTests",
            dependencies: [
                "NodeAgent", "AgentAPI", "K3s", "CloudConfig", "Coordination", "VPN", "MeshNetwork", "Ledger",
                "GossipSub", "LibP2P", "Multiformats", "Timing", "TestSupport", nioCore, nioPosix, logging,
            ],
            swiftSettings: settings),
        // Whole nodes on virtual time; a library, so that `simulate` can run it optimised.
        .target(
            name: "Simulation",
            dependencies: [
                "NodeAgent", "K3s", "Coordination", "VPN", "MeshNetwork", "Ledger", "LibP2P",
                "Multiformats", "Timing", "TestSupport", collections,
            ],
            path: "Tests/Simulation",
            swiftSettings: settings),
        .target(
            name: "CSignatureMemo", path: "Tests/CSignatureMemo", linkerSettings: [.linkedLibrary("dl")]),
        .executableTarget(
            name: "simulate", dependencies: ["Simulation", "CSignatureMemo", "Timing"],
            path: "Tests/Simulate",
            swiftSettings: settings),
        .executableTarget(
            name: "simulate-mesh", dependencies: ["MeshSimulation", "CSignatureMemo", "Ledger", "Timing"],
            path: "Tests/SimulateMesh",
            swiftSettings: settings),
        .executableTarget(
            name: "microbench",
            dependencies: [
                "LibP2P", "GossipSub", "Ledger", "VPN", "Multiformats", "Timing", nioCore, nioPosix,
                nioEmbedded,
                logging,
            ],
            path: "Benchmarks/Micro",
            swiftSettings: settings),
        // A member that behaves as a stock node, to measure against.
        .executableTarget(
            name: "stock-peer",
            dependencies: [
                "LibP2P", "GossipSub", "Ledger", "MeshNetwork", "VPN", "Multiformats", "Timing",
                nioCore, nioPosix, nioConcurrency, logging,
            ],
            path: "Benchmarks/StockPeer",
            swiftSettings: settings),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "Simulation", "simulate", "NodeAgent", "K3s", "Coordination", "VPN", "MeshNetwork", "Ledger",
                "GossipSub",
                "LibP2P", collections, "Multiformats", "Timing", "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "InteropTests",
            dependencies: [
                "LibP2P", "GossipSub", "MeshNetwork", "Ledger", "Multiformats", "Timing", "TestSupport",
                nioCore, nioPosix, logging,
            ],
            exclude: ["peer.py"],
            swiftSettings: settings),
    ]
)
