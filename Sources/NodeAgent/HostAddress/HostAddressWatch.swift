internal import K3s
internal import LibP2P
internal import NIOCore
internal import VPN

/// Tells of the node's address outside the VPN: at once, and whenever the interfaces' addresses change. What
/// that is `HostAddressChoice` decides.
final class HostAddressWatch: Sendable {
    private struct State {
        var choice: HostAddressChoice
        var told: HostAddress?
        var watch: AddressWatch?
        var poll: RepeatedTask?
    }

    /// The kernel says when addresses change; of routes it is asked.
    private static let interval = TimeAmount.seconds(15)

    private let state: NIOLoopBoundBox<State>
    private let eventLoop: any EventLoop
    private let tell: @Sendable (HostAddress?) -> Void
    private let dropIn: String

    private init(
        choice: HostAddressChoice, dropIn: String, eventLoop: any EventLoop,
        tell: @escaping @Sendable (HostAddress?) -> Void
    ) {
        self.dropIn = dropIn
        state = NIOLoopBoundBox(State(choice: choice), eventLoop: eventLoop)
        self.eventLoop = eventLoop
        self.tell = tell
    }

    /// Begins on `eventLoop`, where `tell` is called too. `dropIn` is the file by which K3s is configured.
    static func start(
        choice: HostAddressChoice, dropIn: String, eventLoop: any EventLoop,
        tell: @escaping @Sendable (HostAddress?) -> Void
    ) -> EventLoopFuture<HostAddressWatch> {
        eventLoop.submit {
            let watch = HostAddressWatch(
                choice: choice, dropIn: dropIn, eventLoop: eventLoop, tell: tell)
            watch.look()
            watch.state.value.watch = AddressWatch(eventLoop: eventLoop) { [weak watch] in watch?.look() }
            watch.state.value.poll = eventLoop.scheduleRepeatedTask(
                initialDelay: interval, delay: interval
            ) { [weak watch] _ in watch?.look() }
            return watch
        }
    }

    /// Ends it.
    func stop() -> EventLoopFuture<Void> {
        eventLoop.submit { [self] in
            state.value.watch?.stop()
            state.value.poll?.cancel()
        }
    }

    private func look() {
        let routes = DefaultRoutes.interfaces(in: FileSystem.content(of: "/proc/net/route") ?? "")
        let configured = FileSystem.content(of: dropIn).flatMap { WrittenConfig($0).list("node-ip")?.first }
        let chosen = state.value.choice.choose(
            among: Self.addresses(), defaultRoutes: routes,
            configured: configured.flatMap { VirtualAddress($0) })
        guard chosen != state.value.told else { return }
        state.value.told = chosen
        tell(chosen)
    }

    /// The host's IPv4 addresses in the kernel's order.
    private static func addresses() -> [HostAddress] {
        guard let devices = try? System.enumerateDevices() else { return [] }
        return devices.compactMap { device in
            device.address?.ipAddress.flatMap { VirtualAddress($0) }.map {
                HostAddress(address: $0, interface: device.name)
            }
        }
    }
}
