internal import COpenSSL
internal import Glibc
internal import K3s
internal import LibP2P
internal import Timing

/// Asks this node's own API server for `/readyz`, as K3s' administrator.
///
/// `/readyz` is the only answer that tells of the API server and its datastore: `/ping` and
/// `/v1-k3s/readyz` tell of the supervisor (contract/k3s.md §9), and anonymous requests get 401. So the
/// client certificate of K3s' kubeconfig is shown, over the libssl that is linked already: an HTTP
/// client library would cost more resident memory than the rest of this feature.
struct ReadyProbe: Sendable {
    /// The most that an answer may take, connecting included, in milliseconds.
    static let timeout: Int32 = 1000
    /// Answers are not read beyond this.
    private static let longestAnswer = 4096

    let layout: K3sLayout

    /// Nil when the API server is ready, else what is wrong. Blocks for little more than `timeout`.
    func ask() -> String? {
        let path = layout.kubeconfig
        let credentials: AdminCredentials
        do throws(Kubeconfig.Failure) {
            guard let read = AdminCredentials(try Kubeconfig(reading: path)) else {
                return "\(path) holds no client certificate"
            }
            credentials = read
        } catch {
            switch error {
            case .missing: return "there is no \(path) yet"
            case .noServer: return "\(path) holds no client certificate"
            case .unreadable: return error.description
            }
        }
        do throws(ProbeFailure) {
            let line = try Self.exchange(credentials)
            // `HTTP/1.1 200 OK`
            let status = line.split(separator: " ").dropFirst().first
            return status == "200" ? nil : "/readyz answers \(status ?? "nothing")"
        } catch {
            return error.what
        }
    }

    struct ProbeFailure: Error {
        let what: String
    }

    private static func exchange(_ credentials: AdminCredentials) throws(ProbeFailure) -> String {
        let deadline = milliseconds() + Int64(timeout)
        let descriptor = try connect(to: credentials, deadline: deadline)
        defer { close(descriptor) }
        guard let context = SSL_CTX_new(TLS_client_method()) else {
            throw ProbeFailure(what: "libssl has no memory")
        }
        defer { SSL_CTX_free(context) }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        guard trust(credentials.authority, in: context), present(credentials, in: context) else {
            throw ProbeFailure(what: "the certificates in k3s.yaml are damaged")
        }
        guard let tls = SSL_new(context) else { throw ProbeFailure(what: "libssl has no memory") }
        defer { SSL_free(tls) }
        guard
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), credentials.host) == 1
                || SSL_set1_host(tls, credentials.host) == 1
        else { throw ProbeFailure(what: "the server in k3s.yaml is no address") }
        SSL_set_fd(tls, descriptor)
        try drive(tls, descriptor, deadline, "the TLS handshake") { SSL_connect(tls) }
        let request = Array(
            "GET /readyz HTTP/1.1\r\nHost: \(credentials.host)\r\nConnection: close\r\n\r\n".utf8)
        try drive(tls, descriptor, deadline, "sending /readyz") {
            SSL_write(tls, request, Int32(request.count))
        }
        var answer: [UInt8] = []
        while answer.count < longestAnswer, !answer.contains(UInt8(ascii: "\n")) {
            var part = [UInt8](repeating: 0, count: 512)
            let count = try drive(tls, descriptor, deadline, "the answer of /readyz") {
                SSL_read(tls, &part, Int32(part.count))
            }
            answer += part.prefix(Int(count))
        }
        return String(
            decoding: answer.prefix { $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    // MARK: TLS

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
        _ tls: OpaquePointer, _ descriptor: Int32, _ deadline: Int64, _ what: String, _ step: () -> Int32
    ) throws(ProbeFailure) -> Int32 {
        while true {
            ERR_clear_error()
            let result = step()
            if result > 0 { return result }
            let events: Int32
            switch SSL_get_error(tls, result) {
            case SSL_ERROR_WANT_READ: events = POLLIN
            case SSL_ERROR_WANT_WRITE: events = POLLOUT
            default: throw ProbeFailure(what: "\(what) fails")
            }
            try wait(descriptor, events, deadline, what)
        }
    }

    // MARK: the socket

    private static func connect(
        to credentials: AdminCredentials, deadline: Int64
    ) throws(ProbeFailure) -> Int32 {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(credentials.host, String(credentials.port), &hints, &found) == 0, let found else {
            throw ProbeFailure(what: "the server in k3s.yaml is no address: \(credentials.host)")
        }
        defer { freeaddrinfo(found) }
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(found.pointee.ai_family, kind, 0)
        guard descriptor >= 0 else { throw ProbeFailure(what: "there is no socket to be had") }
        let what = "connecting to \(credentials.host):\(credentials.port)"
        do throws(ProbeFailure) {
            if Glibc.connect(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) != 0 {
                guard errno == EINPROGRESS else { throw ProbeFailure(what: "\(what) fails") }
                try wait(descriptor, POLLOUT, deadline, what)
                var failure: Int32 = 0
                var length = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length)
                guard failure == 0 else { throw ProbeFailure(what: "\(what) fails") }
            }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func wait(
        _ descriptor: Int32, _ events: Int32, _ deadline: Int64, _ what: String
    ) throws(ProbeFailure) {
        while true {
            let rest = deadline - milliseconds()
            guard rest > 0 else { throw ProbeFailure(what: "\(what) takes longer than \(timeout) ms") }
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            if poll(&entry, 1, Int32(clamping: rest)) > 0 { return }
        }
    }

    private static func milliseconds() -> Int64 {
        Int64(clamping: SystemTime().now().nanoseconds / 1_000_000)
    }
}
