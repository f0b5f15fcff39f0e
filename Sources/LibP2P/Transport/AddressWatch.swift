package import NIOCore
internal import NIOPosix

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Says when an address of an interface comes or goes, as the kernel tells it on a netlink socket;
/// where that cannot be had, guesses so at intervals. Idle, it costs nothing.
package final class AddressWatch {
    private let onChange: @Sendable () -> Void
    private var channel: (any Channel)?
    private var poll: RepeatedTask?
    private var isStopped = false

    /// Calls `onChange` on `eventLoop` for every batch of changes until `stop`.
    package init(eventLoop: any EventLoop, onChange: @escaping @Sendable () -> Void) {
        self.onChange = onChange
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        guard let descriptor = Self.openNetlink() else {
            startPolling(eventLoop)
            return
        }
        NIOPipeBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NetlinkNewsHandler(onChange: onChange))
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .flatMap { channel in
                bound.value.opened(channel)
                return channel.closeFuture
            }
            .whenComplete { _ in
                // The kernel ends it when news come faster than they are read.
                if !bound.value.isStopped { bound.value.startPolling(eventLoop) }
            }
    }

    /// Ends the watch. On its loop.
    package func stop() {
        isStopped = true
        poll?.cancel()
        channel?.close(promise: nil)
    }

    private func opened(_ channel: any Channel) {
        self.channel = channel
        if isStopped { channel.close(promise: nil) }
    }

    private func startPolling(_ eventLoop: any EventLoop) {
        let onChange = onChange
        poll = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(15), delay: .seconds(15)) { _ in
            onChange()
        }
    }

    /// A NETLINK_ROUTE socket that is told of IPv4 and IPv6 addresses.
    private static func openNetlink() -> CInt? {
        let family: UInt16 = 16  // AF_NETLINK
        let type = CInt(SOCK_RAW.rawValue) | CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let descriptor = makeSocket(CInt(family), type, 0)
        guard descriptor >= 0 else { return nil }
        // struct sockaddr_nl: family, padding, port (chosen by the kernel), groups: IPv4 and IPv6
        // addresses are RTMGRP_IPV4_IFADDR 0x10 and RTMGRP_IPV6_IFADDR 0x100.
        var address: (family: UInt16, padding: UInt16, port: UInt32, groups: UInt32) = (family, 0, 0, 0x110)
        let result = withUnsafeBytes(of: &address) { bytes in
            bytes.baseAddress.map { bind(descriptor, $0.assumingMemoryBound(to: sockaddr.self), 12) } ?? -1
        }
        guard result == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }
}

/// The system call, under a name that no member hides.
private func makeSocket(_ family: CInt, _ type: CInt, _ number: CInt) -> CInt {
    socket(family, type, number)
}

/// Turns any netlink message into one call a batch; what it says is looked up afresh.
private final class NetlinkNewsHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let onChange: @Sendable () -> Void
    private var isScheduled = false

    init(onChange: @escaping @Sendable () -> Void) {
        self.onChange = onChange
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isScheduled else { return }
        isScheduled = true
        // An interface that comes up brings several addresses within moments.
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: .milliseconds(250)) {
            bound.value.isScheduled = false
            bound.value.onChange()
        }
    }

    /// The kernel drops news that nobody reads in time (ENOBUFS); that is news as well.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        onChange()
    }
}
