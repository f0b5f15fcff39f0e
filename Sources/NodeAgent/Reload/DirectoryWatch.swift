internal import Glibc
internal import Logging
internal import NIOCore
internal import NIOPosix

/// Tells when something changes in folders and below them, by inotify. What it cannot watch is found by the
/// slow look that its user takes anyway, so nothing here is fatal.
final class DirectoryWatch: Sendable {
    /// The kernel's names are numbers of one type or another; these are of its `struct inotify_event`.
    private static let mask =
        UInt32(IN_CLOSE_WRITE) | UInt32(IN_CREATE) | UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM)
        | UInt32(IN_MOVED_TO) | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF) | UInt32(IN_ONLYDIR)
    /// A cloud-config has a handful of folders; a tree of more is looked at slowly.
    static let mostFolders = 128
    private static let deepest = 8

    private let descriptor: Int32
    private let channel: any Channel

    /// Begins to listen; nil where the kernel has no more watches to give. `touched` is called on a thread of
    /// `group`, once for many changes that come together.
    static func start(
        on group: any EventLoopGroup, logger: Logger, touched: @escaping @Sendable () -> Void
    ) async -> DirectoryWatch? {
        let descriptor = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        guard descriptor >= 0 else {
            logger.warning(
                "changes of the cloud-config are seen once a minute only",
                metadata: ["reason": "\(String(cString: strerror(errno)))"])
            return nil
        }
        do {
            let channel = try await NIOPipeBootstrap(group: group)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(Handler(touched: touched))
                    }
                }
                .takingOwnershipOfDescriptor(input: descriptor).get()
            return DirectoryWatch(descriptor: descriptor, channel: channel)
        } catch {
            close(descriptor)
            logger.warning(
                "changes of the cloud-config are seen once a minute only", metadata: ["reason": "\(error)"])
            return nil
        }
    }

    private init(descriptor: Int32, channel: any Channel) {
        self.descriptor = descriptor
        self.channel = channel
    }

    /// Watches `folders` and what is below them, as they are now. Blocks; may be repeated: what is watched
    /// already stays so, and what is gone is no longer watched by the kernel's own doing.
    func watch(_ folders: [String]) {
        var left = Self.mostFolders
        for folder in folders { watch(folder, depth: 0, left: &left) }
    }

    private func watch(_ folder: String, depth: Int, left: inout Int) {
        guard depth < Self.deepest, left > 0, channel.isActive else { return }
        guard inotify_add_watch(descriptor, folder, Self.mask) >= 0, let stream = opendir(folder) else {
            return
        }
        left -= 1
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name != ".", name != ".." else { continue }
            let path = folder + "/" + name
            // A file system that does not say what an entry is leaves it to the watch, which takes folders only.
            guard [UInt8(DT_DIR), UInt8(DT_UNKNOWN)].contains(entry.pointee.d_type) else { continue }
            watch(path, depth: depth + 1, left: &left)
        }
    }

    func stop() async {
        try? await channel.close()
    }

    /// What the events are does not matter: everything is read anew.
    private final class Handler: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        private let touched: @Sendable () -> Void

        init(touched: @escaping @Sendable () -> Void) { self.touched = touched }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

        func channelReadComplete(context: ChannelHandlerContext) {
            touched()
            context.fireChannelReadComplete()
        }
    }
}
