internal import COpenSSL
internal import Glibc
internal import LibP2P

/// A connection to this node's API server as K3s' administrator, over the libssl that is linked already: an HTTP
/// client library would cost more resident memory than the rest of this feature. It blocks; one thread has it.
final class ReadyConnection {
    struct Failure: Error {
        let what: String
        /// The server closed a connection that was at rest before it said anything: another one may do.
        var isStale = false
    }

    /// Answers are not read beyond this.
    private static let longestAnswer = 4096

    /// libssl writes to sockets with write(2): a server that has gone is an error here, and no signal.
    private static let ignoresBrokenPipes: Void = { _ = signal(SIGPIPE, SIG_IGN) }()

    private let descriptor: Int32
    private let tls: OpaquePointer
    private let host: String
    /// Whether another request may follow the last answer.
    private(set) var isKept = true

    /// Connects and proves who asks, and has the server prove who answers, until `deadline`.
    init(_ credentials: AdminCredentials, until deadline: Deadline) throws(Failure) {
        _ = Self.ignoresBrokenPipes
        host = credentials.host
        descriptor = try Self.connect(to: credentials, until: deadline)
        do throws(Failure) {
            tls = try Self.handshake(credentials, descriptor, until: deadline)
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit {
        SSL_free(tls)
        close(descriptor)
    }

    /// Asks for `path` and returns the status of the answer, `200` when all is well.
    func get(_ path: String, until deadline: Deadline) throws(Failure) -> String {
        isKept = false
        let request = Array("GET \(path) HTTP/1.1\r\nHost: \(host)\r\n\r\n".utf8)
        var answer: [UInt8] = []
        do throws(Failure) {
            try Self.drive(tls, descriptor, until: deadline, "sending \(path)") {
                SSL_write(tls, request, Int32(request.count))
            }
            while answer.count < Self.longestAnswer {
                var part = [UInt8](repeating: 0, count: 512)
                let count = try Self.drive(tls, descriptor, until: deadline, "the answer of \(path)") {
                    SSL_read(tls, &part, Int32(part.count))
                }
                answer += part.prefix(Int(count))
                guard let head = HTTPAnswer(answer) else { continue }
                guard let rest = head.bodyLength else { return head.status }
                if answer.count >= head.length + rest {
                    isKept = head.isKept
                    return head.status
                }
            }
        } catch {
            throw Failure(what: error.what, isStale: error.isStale && answer.isEmpty)
        }
        throw Failure(what: "the answer of \(path) is too long")
    }

    // MARK: TLS

    private static func handshake(
        _ credentials: AdminCredentials, _ descriptor: Int32, until deadline: Deadline
    ) throws(Failure) -> OpaquePointer {
        guard let context = SSL_CTX_new(TLS_client_method()) else {
            throw Failure(what: "libssl has no memory")
        }
        defer { SSL_CTX_free(context) }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        guard trust(credentials.authority, in: context), present(credentials, in: context) else {
            throw Failure(what: "the certificates in k3s.yaml are damaged")
        }
        guard let tls = SSL_new(context) else { throw Failure(what: "libssl has no memory") }
        do throws(Failure) {
            guard
                X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), credentials.host) == 1
                    || SSL_set1_host(tls, credentials.host) == 1
            else { throw Failure(what: "the server in k3s.yaml is no address") }
            SSL_set_fd(tls, descriptor)
            try drive(tls, descriptor, until: deadline, "the TLS handshake") { SSL_connect(tls) }
        } catch {
            SSL_free(tls)
            // A server that does not speak TLS at all, or hangs up, is no news about an older connection.
            throw Failure(what: error.what)
        }
        // The administrator's key is not kept with the connection.
        SSL_certs_clear(tls)
        return tls
    }

    private static func trust(_ authority: [UInt8], in context: OpaquePointer) -> Bool {
        guard let store = SSL_CTX_get_cert_store(context) else { return false }
        return withMemory(authority) { memory in
            var count = 0
            while count < 16, let certificate = PEM_read_bio_X509(memory, nil, nil, nil) {
                X509_STORE_add_cert(store, certificate)
                X509_free(certificate)
                count += 1
            }
            // The end of the list is an error to libcrypto.
            ERR_clear_error()
            return count > 0
        }
    }

    private static func present(_ credentials: AdminCredentials, in context: OpaquePointer) -> Bool {
        let isCertificateRead = withMemory(credentials.certificate) { memory in
            guard let certificate = PEM_read_bio_X509(memory, nil, nil, nil) else { return false }
            defer { X509_free(certificate) }
            return SSL_CTX_use_certificate(context, certificate) == 1
        }
        let isKeyRead = credentials.key.withUnsafeBytes { bytes in
            withMemory(bytes) { memory in
                // libcrypto overwrites its own copies when they are freed.
                guard let key = PEM_read_bio_PrivateKey(memory, nil, nil, nil) else { return false }
                defer { EVP_PKEY_free(key) }
                return SSL_CTX_use_PrivateKey(context, key) == 1
            }
        }
        ERR_clear_error()
        return isCertificateRead && isKeyRead && SSL_CTX_check_private_key(context) == 1
    }

    private static func withMemory(_ bytes: [UInt8], _ body: (OpaquePointer) -> Bool) -> Bool {
        bytes.withUnsafeBytes { withMemory($0, body) }
    }

    private static func withMemory(_ bytes: UnsafeRawBufferPointer, _ body: (OpaquePointer) -> Bool) -> Bool {
        guard let memory = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else {
            return false
        }
        defer { BIO_free(memory) }
        return body(memory)
    }

    /// Repeats one step of TLS until it is done, waiting for the socket in between.
    @discardableResult
    private static func drive(
        _ tls: OpaquePointer, _ descriptor: Int32, until deadline: Deadline, _ what: String,
        _ step: () -> Int32
    ) throws(Failure) -> Int32 {
        while true {
            ERR_clear_error()
            let result = step()
            if result > 0 { return result }
            let events: Int32
            switch SSL_get_error(tls, result) {
            case SSL_ERROR_WANT_READ: events = POLLIN
            case SSL_ERROR_WANT_WRITE: events = POLLOUT
            default: throw Failure(what: "\(what) fails", isStale: true)
            }
            try wait(descriptor, events, until: deadline, what)
        }
    }

    // MARK: the socket

    private static func connect(
        to credentials: AdminCredentials, until deadline: Deadline
    ) throws(Failure) -> Int32 {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(credentials.host, String(credentials.port), &hints, &found) == 0, let found else {
            throw Failure(what: "the server in k3s.yaml is no address: \(credentials.host)")
        }
        defer { freeaddrinfo(found) }
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(found.pointee.ai_family, kind, 0)
        guard descriptor >= 0 else { throw Failure(what: "there is no socket to be had") }
        let what = "connecting to \(credentials.host):\(credentials.port)"
        do throws(Failure) {
            if Glibc.connect(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) != 0 {
                guard errno == EINPROGRESS else { throw Failure(what: "\(what) fails") }
                try wait(descriptor, POLLOUT, until: deadline, what)
                var failure: Int32 = 0
                var length = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length)
                guard failure == 0 else { throw Failure(what: "\(what) fails") }
            }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func wait(
        _ descriptor: Int32, _ events: Int32, until deadline: Deadline, _ what: String
    ) throws(Failure) {
        while true {
            let rest = deadline.milliseconds
            guard rest > 0 else { throw Failure(what: "\(what) takes longer than \(deadline.limit) ms") }
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            if poll(&entry, 1, Int32(clamping: rest)) > 0 { return }
        }
    }
}
