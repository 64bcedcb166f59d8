//! The rules of the guard, each with its word, the answer to who breaks it, and the clause behind it.
//!
//! One table, from which the code, the access log and `docs/guard.md` (compared by a test) take their words. Knows nothing of messages.

use http::StatusCode;

/// Writes the enum and its tables from one list, so that no rule can lack a word, a status or a clause.
macro_rules! rules {
    ($($name:ident, $status:ident, $word:literal, $clause:literal, $text:literal;)+) => {
        /// A rule of the guard. Listed for operators in `docs/guard.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $(#[doc = concat!($text, " (", $clause, ").")] $name,)+
        }

        impl Rule {
            /// All rules, in the order in which a request meets them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What the client is told when it breaks the rule.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// One word, for the access log and counters.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The rule in a sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Where the rule comes from.
            pub const fn clause(self) -> &'static str {
                match self { $(Self::$name => $clause,)+ }
            }
        }
    };
}

rules! {
    // The lines of a head.
    HeadBytes, REQUEST_HEADER_FIELDS_TOO_LARGE, "head-bytes", "RFC 6585 §5", "A head has at most `limits.head_bytes` bytes";
    HeadFields, REQUEST_HEADER_FIELDS_TOO_LARGE, "head-fields", "RFC 6585 §5", "A head has at most `limits.head_fields` field lines";
    RequestLineBytes, URI_TOO_LONG, "request-line-bytes", "RFC 9112 §3", "A request line has at most `limits.request_line_bytes` bytes";
    EmptyLines, BAD_REQUEST, "empty-lines", "RFC 9112 §2.2", "At most one empty line precedes a request line";
    BareLf, BAD_REQUEST, "bare-lf", "RFC 9112 §2.2", "A line ends in CR LF, not in LF alone";
    BareCr, BAD_REQUEST, "bare-cr", "RFC 9112 §2.2", "CR stands only before LF";
    HeadEnd, BAD_REQUEST, "head-end", "RFC 9112 §2.1", "A head ends in an empty line, and nothing follows it";
    RequestLine, BAD_REQUEST, "request-line", "RFC 9112 §3", "A request line is a method, a target and `HTTP/` with two digits, parted by one space each";
    Version, HTTP_VERSION_NOT_SUPPORTED, "version", "RFC 9112 §2.3", "The version is HTTP/1.0 or HTTP/1.1 (or HTTP/2 by its own protocol)";

    // The method.
    Method, BAD_REQUEST, "method", "RFC 9110 §9.1", "A method is a token";
    MethodConnect, NOT_IMPLEMENTED, "method-connect", "RFC 9110 §9.3.6", "CONNECT asks for a tunnel, which a gateway does not give";
    MethodTrace, NOT_IMPLEMENTED, "method-trace", "RFC 9110 §9.3.8", "TRACE would show the client what the edge tells the origin";

    // The target.
    TargetForm, BAD_REQUEST, "target-form", "RFC 9112 §3.2", "A target is a path with its query, an absolute http or https URI, or `*` with OPTIONS";
    TargetByte, BAD_REQUEST, "target-byte", "RFC 3986 §3.3, §3.4", "A target has only the bytes that URIs and browsers use";
    TargetFragment, BAD_REQUEST, "target-fragment", "RFC 9110 §7.1", "A target has no fragment";
    TargetPercent, BAD_REQUEST, "target-percent", "RFC 3986 §2.1", "In a path, `%` begins two hexadecimal digits, and not `%00`";
    TargetScheme, MISDIRECTED_REQUEST, "target-scheme", "RFC 9110 §7.4", "The scheme of a target is that of the connection";

    // The host.
    HostMissing, BAD_REQUEST, "host-missing", "RFC 9112 §3.2", "A request names its host";
    HostRepeated, BAD_REQUEST, "host-repeated", "RFC 9112 §3.2", "Host stands once";
    HostInvalid, BAD_REQUEST, "host-invalid", "RFC 9110 §7.2", "A host is one DNS name or IP literal, without user, path, query or list";
    HostPort, BAD_REQUEST, "host-port", "RFC 9110 §7.2", "A port is one decimal number from 1 to 65535";
    HostMismatch, BAD_REQUEST, "host-mismatch", "RFC 9112 §3.2.2, RFC 9113 §8.3.1", "Host and the authority of the target agree";

    // Field lines.
    FieldLine, BAD_REQUEST, "field-line", "RFC 9112 §5", "A field line has a colon";
    FieldFolded, BAD_REQUEST, "field-folded", "RFC 9112 §5.2", "A field line does not begin with white space: no folding";
    FieldSpace, BAD_REQUEST, "field-space", "RFC 9112 §5.1", "No white space stands between a field's name and its colon";
    FieldName, BAD_REQUEST, "field-name", "RFC 9110 §5.1", "A field's name is a token";
    FieldValue, BAD_REQUEST, "field-value", "RFC 9110 §5.5", "A field's value has no control bytes but tabs, and on HTTP/2 no white space at its ends";

    // Framing.
    ContentLength, BAD_REQUEST, "content-length", "RFC 9110 §8.6", "Content-Length is one decimal number below 2^63";
    ContentLengthRepeated, BAD_REQUEST, "content-length-repeated", "RFC 9112 §6.3", "Content-Length stands once, even when both say the same";
    ContentLengthMismatch, BAD_REQUEST, "content-length-mismatch", "RFC 9113 §8.1.1", "Content-Length is the length of the content";
    TransferEncoding, BAD_REQUEST, "transfer-encoding", "RFC 9112 §6.1, §6.3", "Transfer-Encoding is the word `chunked`, once";
    TransferCoding, NOT_IMPLEMENTED, "transfer-coding", "RFC 9112 §6.1", "No other transfer coding precedes `chunked`";
    TransferEncodingVersion, BAD_REQUEST, "transfer-encoding-version", "RFC 9112 §6.1", "HTTP/1.0 has no Transfer-Encoding";
    FramedTwice, BAD_REQUEST, "framed-twice", "RFC 9112 §6.3", "Content-Length and Transfer-Encoding do not stand together";

    // Options of the connection.
    Connection, BAD_REQUEST, "connection", "RFC 9110 §7.6.1", "Connection is a list of tokens";
    ConnectionNames, BAD_REQUEST, "connection-names", "RFC 9110 §7.6.1", "Connection names no field that is meant for all recipients";
    ConnectionSpecific, BAD_REQUEST, "connection-specific", "RFC 9113 §8.2.2", "HTTP/2 has no fields about the connection, and in TE only `trailers`";
    Expectation, EXPECTATION_FAILED, "expectation", "RFC 9110 §10.1.1", "The only expectation is `100-continue`";
    UpgradeContent, BAD_REQUEST, "upgrade-content", "RFC 6455 §4.1", "A request to change to WebSocket has no content";

    // Chunked content.
    ChunkSize, BAD_REQUEST, "chunk-size", "RFC 9112 §7.1", "A chunk's size is a hexadecimal number below 2^63";
    ChunkLineBytes, BAD_REQUEST, "chunk-line-bytes", "RFC 9112 §7.1", "A chunk-size line has at most `limits.chunk_line_bytes` bytes";
    ChunkExtension, BAD_REQUEST, "chunk-extension", "RFC 9112 §7.1.1", "A chunk has no extensions";
    ChunkLineEnd, BAD_REQUEST, "chunk-line-end", "RFC 9112 §7.1", "A chunk-size line and a chunk end in CR LF";
    Trailer, BAD_REQUEST, "trailer", "RFC 9112 §7.1.2", "A trailer line is a field line";
    TrailerBytes, REQUEST_HEADER_FIELDS_TOO_LARGE, "trailer-bytes", "RFC 6585 §5", "A trailer section is no larger than a head may be";
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}
