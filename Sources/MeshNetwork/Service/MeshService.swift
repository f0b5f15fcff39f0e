package import Ledger
package import LibP2P
package import Logging
package import Multiformats
internal import NIOConcurrencyHelpers
package import NIOCore
internal import NIOPosix
package import Timing

/// The node's place in its network, on top of a host: admits peers, keeps the ledger the same on all
/// of them and on disk, and says who is here.
///
/// Every method may be called from anywhere; futures complete on the host's event loop, and observers
/// are called on it.
package final class MeshService: Sendable {
    private let eventLoop: any EventLoop
    private let driver: NIOLoopBound<MeshDriver>
    private let disk: NIOThreadPool
    private let admitted: NIOLockedValueBox<Set<PeerID>>

    /// Reads the stored ledger, joins the room and begins to admit peers. `observer` is told of
    /// everything from the start, beginning with what was restored.
    ///
    /// Fails with `SnapshotError` when the stored ledger is there and cannot be read; one that is
    /// damaged is set aside instead, and `status` says so.
    package static func start(
        on host: any Host, configuration: MeshConfiguration, time: any TimeSource = SystemTime(),
        logger: Logger,
        observer: (@Sendable (MeshEvent) -> Void)? = nil
    ) -> EventLoopFuture<MeshService> {
        let disk = NIOThreadPool(numberOfThreads: 1)
        disk.start()
        let loop = host.eventLoop
        let loaded: EventLoopFuture<LoadedSnapshot?> = disk.runIfActive(eventLoop: loop) {
            guard var store = configuration.snapshotStore else { return nil }
            return try store.load()
        }
        return loaded.map { loaded in
            if let setAside = loaded?.setAside {
                logger.warning(
                    "the stored ledger was not used",
                    metadata: [
                        "reason": "\(setAside.problem)", "kept as": "\(setAside.path ?? "its own name")",
                    ])
            }
            let admitted = NIOLockedValueBox<Set<PeerID>>([])
            let driver = MeshDriver(
                host: host, configuration: configuration, loaded: loaded, disk: disk, admitted: admitted,
                time: time, logger: logger)
            if let observer { driver.observe(observer) }
            driver.start(configuration)
            return MeshService(
                eventLoop: loop, driver: NIOLoopBound(driver, eventLoop: loop), disk: disk, admitted: admitted
            )
        }.flatMapErrorThrowing { error in
            disk.shutdownGracefully { _ in }
            throw error
        }
    }

    private init(
        eventLoop: any EventLoop, driver: NIOLoopBound<MeshDriver>, disk: NIOThreadPool,
        admitted: NIOLockedValueBox<Set<PeerID>>
    ) {
        self.eventLoop = eventLoop
        self.driver = driver
        self.disk = disk
        self.admitted = admitted
    }

    /// Whether a connected peer has proven that it holds the token.
    package func isAdmitted(_ peer: PeerID) -> Bool {
        admitted.withLockedValue { $0.contains(peer) }
    }

    /// Writes `value` under `id`, signed by this node, with a version over `above`, and publishes it at
    /// once. With `durable`, the future completes when it is on disk.
    ///
    /// Fails with `LedgerError` when other nodes would reject it, and with `SnapshotError` when it
    /// should be durable and cannot be.
    @discardableResult
    package func put(
        _ id: EntryID, value: LedgerText, above: UInt64 = 0, durable: Bool = false
    ) -> EventLoopFuture<Void> {
        write([.put(id, value: value, above: above)], durable: durable)
    }

    /// Deletes the entry under `id` for everybody.
    @discardableResult
    package func delete(_ id: EntryID, durable: Bool = false) -> EventLoopFuture<Void> {
        write([.delete(id)], durable: durable)
    }

    /// Takes back an entry of this node's that others hold with `version` and this ledger does not.
    @discardableResult
    package func retract(_ id: EntryID, version: UInt64) -> EventLoopFuture<Void> {
        write([.retract(id, version: version)])
    }

    /// Makes several changes that travel together. Those that can be made are, also when another one
    /// is refused; the future then fails with the first refusal.
    @discardableResult
    package func write(_ writes: [Replication.Write], durable: Bool = false) -> EventLoopFuture<Void> {
        onLoop { driver in
            do {
                try driver.write(writes, durable: durable)
            } catch {
                return self.eventLoop.makeFailedFuture(error)
            }
            return durable ? driver.flush() : self.eventLoop.makeSucceededVoidFuture()
        }
    }

    /// A peer was heard of on the local link; `isProven`: by a holder of the network's secret.
    package func discovered(_ peer: PeerID, at addresses: [Multiaddr], isProven: Bool) {
        onLoop { $0.discovered(peer, addresses, isProven: isProven) }
    }

    /// Stays connected to `peer` for `reason`, or no longer, whether or not it is a neighbour.
    package func setPinned(
        _ isPinned: Bool, for peer: PeerID, addresses: [Multiaddr] = [], reason: Overlay.PinReason
    ) {
        onLoop { $0.setPinned(isPinned, peer, addresses, reason) }
    }

    /// Sets who is asked, on the host's loop, whether something uses the connection to a peer that the
    /// mesh itself no longer needs. One that is not used is closed.
    package func setUse(_ isUsed: @escaping @Sendable (PeerID) -> Bool) {
        onLoop { $0.setUse(isUsed) }
    }

    /// Connects to `peer`, of which some node has said where it is; completes when both have admitted one
    /// another. Streams of the host that are opened to a peer without a connection do so by themselves.
    package func requestConnection(to peer: PeerID) -> EventLoopFuture<Void> {
        onLoop { $0.requestConnection(to: peer) }
    }

    /// Registers `observer`, which is first told of the present state and then of every change.
    package func observe(_ observer: @escaping @Sendable (MeshEvent) -> Void) {
        let driver = driver
        if eventLoop.inEventLoop {
            driver.value.observe(observer)
        } else {
            eventLoop.execute { driver.value.observe(observer) }
        }
    }

    /// The ledger as it is now. Only on the host's event loop.
    package var ledger: Ledger { driver.value.ledger }

    /// Every connected peer. Only on the host's event loop.
    package var members: [Member] { driver.value.members }

    /// What `status` shows.
    package func status() -> EventLoopFuture<MeshStatus> {
        onLoop { self.eventLoop.makeSucceededFuture($0.status) }
    }

    /// The value that readers see under `id`.
    package func value(_ id: EntryID) -> EventLoopFuture<LedgerText?> {
        onLoop { self.eventLoop.makeSucceededFuture($0.ledger.value(id)) }
    }

    /// Completes when everything that changed so far is on disk.
    package func flush() -> EventLoopFuture<Void> {
        onLoop { $0.flush() }
    }

    /// Stores what is unsaved and leaves the room. The service cannot be started again; the host stays.
    package func shutDown() -> EventLoopFuture<Void> {
        let disk = disk
        return onLoop { $0.shutDown() }.always { _ in disk.shutdownGracefully { _ in } }
    }

    private func onLoop(_ body: @escaping @Sendable (MeshDriver) -> Void) {
        let driver = driver
        if eventLoop.inEventLoop {
            body(driver.value)
        } else {
            eventLoop.execute { body(driver.value) }
        }
    }

    private func onLoop<Value: Sendable>(
        _ body: @escaping @Sendable (MeshDriver) -> EventLoopFuture<Value>
    ) -> EventLoopFuture<Value> {
        let driver = driver
        if eventLoop.inEventLoop { return body(driver.value) }
        return eventLoop.flatSubmit { body(driver.value) }
    }
}
