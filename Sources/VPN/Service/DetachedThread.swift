internal import CLinuxNet
internal import Glibc

/// Threads that end by themselves.
enum DetachedThread {
    private final class Body: Sendable {
        let name: StaticString
        let run: @Sendable () -> Void

        init(name: StaticString, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Runs `body` on a new thread named `name` (at most 15 bytes). Returns 0 or the error number.
    static func start(name: StaticString, _ body: @escaping @Sendable () -> Void) -> Int32 {
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        let retained = Unmanaged.passRetained(Body(name: name, run: body))
        let result = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                body.name.withUTF8Buffer { name in
                    name.withMemoryRebound(to: CChar.self) { clinuxnet_name_thread($0.baseAddress) }
                }
                body.run()
                return nil
            }, retained.toOpaque())
        if result != 0 { retained.release() }
        return result
    }
}
