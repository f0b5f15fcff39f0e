internal import CProcess
internal import NIOConcurrencyHelpers

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// What a `PollThread` runs: a thing that waits for descriptors and deadlines, used by that thread alone.
package protocol PollLoop: AnyObject, SendableMetatype {
    /// The descriptors to wait for, each with the events of poll(2).
    func descriptors() -> [(descriptor: Int32, events: Int16)]
    /// How long to wait at most, in milliseconds; -1 for ever.
    func timeout() -> Int32
    /// Does what has become possible; called after every wait, whatever ended it.
    func proceed()
    /// Gives everything back; the thread ends after it.
    func finish()
}

/// A thread of its own for libraries and system calls that block or that belong to one thread, such
/// as sd-bus and the supervision of children, so that they hold up neither Swift tasks nor event loops.
package final class PollThread<Loop: PollLoop>: Sendable {
    private struct Mailbox {
        var jobs: [@Sendable (Loop) -> Void] = []
        var isFinished = false
    }

    private let mailbox = NIOLockedValueBox(Mailbox())
    private let wake: Int32
    /// Jobs that wait at most; more would mean that the thread hangs.
    private static var capacity: Int { 1024 }

    /// Starts a thread called `name` (15 bytes at most) whose loop `make` makes on it.
    ///
    /// - Throws: `PollThreadError` when the machine has no descriptor or thread left.
    package init(name: String, _ make: @escaping @Sendable () -> Loop) throws(PollThreadError) {
        self.wake = cprocess_wake_descriptor()
        guard wake >= 0 else { throw PollThreadError(code: -wake) }
        let body = ThreadBody(name: name) { [mailbox, wake] in
            Self.run(loop: make(), mailbox: mailbox, wake: wake)
        }
        let argument = Unmanaged.passRetained(body)
        // The thread is not for signals: whoever handles them does so elsewhere.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, argument.toOpaque())
        guard result == 0 else {
            argument.release()
            close(wake)
            throw PollThreadError(code: result)
        }
        pthread_detach(thread)
    }

    deinit {
        finish()
    }

    /// Has the thread run `job`. False when it has ended or is too far behind; the job is dropped then.
    package func run(_ job: @escaping @Sendable (Loop) -> Void) -> Bool {
        let accepted = mailbox.withLockedValue { mailbox in
            guard !mailbox.isFinished, mailbox.jobs.count < Self.capacity else { return false }
            mailbox.jobs.append(job)
            // Within the lock: the thread closes the descriptor under it.
            Self.signal(wake)
            return true
        }
        return accepted
    }

    /// Ends the thread after the jobs it has.
    package func finish() {
        mailbox.withLockedValue { mailbox in
            guard !mailbox.isFinished else { return }
            mailbox.isFinished = true
            Self.signal(wake)
        }
    }

    private static func signal(_ descriptor: Int32) {
        var one: UInt64 = 1
        // Fails only when the counter is at its end, in which case the thread is awake already.
        _ = write(descriptor, &one, 8)
    }

    private static func run(loop: Loop, mailbox: NIOLockedValueBox<Mailbox>, wake: Int32) {
        var isFinished = false
        while !isFinished {
            let jobs = mailbox.withLockedValue { mailbox in
                isFinished = mailbox.isFinished
                defer { mailbox.jobs.removeAll(keepingCapacity: true) }
                return mailbox.jobs
            }
            for job in jobs { job(loop) }
            if isFinished { break }
            loop.proceed()
            var polled = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
            for (descriptor, events) in loop.descriptors() {
                polled.append(pollfd(fd: descriptor, events: events, revents: 0))
            }
            _ = poll(&polled, nfds_t(polled.count), loop.timeout())
            if polled[0].revents != 0 {
                var count: UInt64 = 0
                _ = read(wake, &count, 8)
            }
            loop.proceed()
        }
        loop.finish()
        mailbox.withLockedValue { _ in _ = close(wake) }
    }
}

/// The machine has no descriptor or thread left.
package struct PollThreadError: Error, Hashable, Sendable {
    /// The errno(3).
    package let code: Int32
}

/// Carries a thread's work through pthread_create's pointer.
private final class ThreadBody: Sendable {
    private let name: String
    private let work: @Sendable () -> Void

    init(name: String, _ work: @escaping @Sendable () -> Void) {
        self.name = name
        self.work = work
    }

    func run() {
        cprocess_name_thread(name)
        work()
    }
}
